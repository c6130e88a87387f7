"""A judge on localhost: asked once, kept for good, and what it does not say is told and never guessed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geopix.data.describe.money import Price
from geopix.evaluate import judge as module
from geopix.evaluate.forms import CLAIR, MATCH, read_clair, read_match
from geopix.evaluate.judge import Judge, JudgeError, connect, open_replies, request_id
from tests.tiny_judge import Bench, serving


@contextmanager
def judging(
    tmp_path: Path, says: dict[str, Any], *, retries: int = 0, timeout: float = 30.0, model: str = "toy"
) -> Iterator[tuple[Judge, Bench]]:
    replies = open_replies(tmp_path / "judge.jsonl")
    try:
        with serving(says) as (url, bench), connect(url, retries, timeout) as client:
            yield Judge(client, model, replies, Price(1.0, 2.0)), bench
    finally:
        replies.close()


def pairs(*predicted: str) -> list[tuple[str, str, str]]:
    return [("What?", "pond", one) for one in predicted]


def test_it_decides_and_everything_else_is_told(tmp_path: Path) -> None:
    says = {
        "Answer: pool": "1", "Answer: road": " 0.\n", "Answer: prose": "I think that 1 of them matches.",
        "Answer: refused": "refusal", "Answer: empty": "", "Answer: bad": 400, "Answer: html": "html",
        "Answer: broken": 500, "Answer: busy": 429,
    }  # fmt: skip
    with judging(tmp_path, says) as (judge, bench):
        asked = pairs("pool", "road", "prose", "refused", "empty", "bad", "html", "broken", "busy", "pool")
        done: list[int] = []
        assert judge.match(asked, done.append) == [True, False, *[None] * 7, True]
        assert done == sorted(done)
        assert done[-1] == len(asked)
        assert judge.tally.not_judged == {
            "answered in prose": 1, "declined": 1, "answered empty": 1, "question refused": 1, "no answer": 2,
            "too busy": 1,
        }  # fmt: skip
        assert len(bench.bodies) == 9  # the pool was asked about once
        assert all(body["temperature"] == 0 and body["model"] == "toy" for body in bench.bodies)
        text = MATCH.template.format(question="What?", true="pond", predicted="pool")
        assert [{"role": "user", "content": text}] in [body["messages"] for body in bench.bodies]
        assert judge.tally.asked == 5
        assert judge.tally.usd == pytest.approx(5 * 102e-6)
        assert "5 answers asked for (500 tokens in, 5 out, $0.0005" in str(judge.tally)
        assert "answered in prose" in str(judge.tally)


def test_a_second_run_asks_only_what_had_no_answer(tmp_path: Path) -> None:
    asked = pairs("pool", "prose", "refused", "broken")
    says: dict[str, Any] = {
        "Answer: pool": "1", "Answer: prose": "Well.", "Answer: refused": "refusal", "Answer: broken": 500,
    }  # fmt: skip
    with judging(tmp_path, says) as (judge, _):
        assert judge.match(asked) == [True, None, None, None]
    with judging(tmp_path, {"Answer: broken": "0"}) as (judge, bench):
        assert judge.match(asked) == [True, None, None, False]
        assert len(bench.bodies) == 1
        assert judge.tally.kept == 3
        assert judge.tally.not_judged == {"answered in prose": 1, "declined": 1}
    with judging(tmp_path, {"Answer: pool": "0"}, model="another") as (judge, bench):
        assert judge.match(pairs("pool")) == [False]


def test_a_judge_that_is_late_is_told_and_not_waited_for(tmp_path: Path) -> None:
    with judging(tmp_path, {"Answer: late": "slow", "Answer: pool": "1"}, timeout=0.2) as (judge, _):
        assert judge.match(pairs("late", "pool")) == [None, True]
        assert judge.tally.not_judged == {"timed out": 1}


def test_a_judge_that_is_gone_is_left_alone(tmp_path: Path) -> None:
    with judging(tmp_path, {"Answer": 500}) as (judge, bench):
        assert judge.match(pairs(*map(str, range(100)))) == [None] * 100
        assert len(bench.bodies) <= module.PATIENCE + 8
        assert judge.tally.not_judged.total() == 100
        assert judge.tally.not_judged["not asked, because 10 in a row had no answer"] >= 80


def test_it_asks_again_where_that_helps(tmp_path: Path) -> None:
    with judging(tmp_path, {"Answer: pool": 500}, retries=2) as (judge, bench):
        assert judge.match(pairs("pool")) == [None]
        assert len(bench.bodies) == 3


@pytest.mark.parametrize(("status", "told"), [(401, "the judge refuses: .*fault 401"), (404, "check its name")])
def test_a_judge_that_takes_nothing_from_us_is_one_sentence(tmp_path: Path, status: int, told: str) -> None:
    with judging(tmp_path, {"Answer": status}) as (judge, _), pytest.raises(JudgeError, match=told):
        judge.match(pairs("pool", "lake"))


@pytest.mark.parametrize("status", [401, 402, 404])
def test_a_judge_that_stops_taking_questions_leaves_the_rest_open(tmp_path: Path, status: int) -> None:
    with judging(tmp_path, {"Answer: pool": "1", "Answer": status}) as (judge, bench):
        assert judge.match(pairs("pool")) == [True]
        assert judge.match([*pairs("pool"), *pairs(*map(str, range(50)))]) == [True, *[None] * 50]
        (reason,) = judge.tally.not_judged
        assert judge.tally.not_judged[reason] == 50
        assert len(bench.bodies) <= 10
        assert "not asked any more (the judge " in reason


def test_clair_lists_its_captions(tmp_path: Path) -> None:
    says = {"- a boat": '{"score": 40, "reason": "no ships"}', "- a cut": "cut", "- a word": "They are alike."}
    with judging(tmp_path, says) as (judge, bench):
        found = judge.clair([(["a boat\n"], ["a ship", "two ships"]), (["a cut"], ["x"]), (["a word"], ["x"])])
        assert found == [0.4, 0.85, None]
        text = next(b["messages"][0]["content"] for b in bench.bodies if "- a boat" in b["messages"][0]["content"])
        assert "Candidate set:\n- a boat\n\nReference set:\n- a ship\n- two ships\n\nOn a precise" in text


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ('{"score": 85, "reason": "alike"}', 0.85),
        ('Here you are: {"score": "85.5", "reason": "a"} and {"score": 1}', 0.855),
        ('{"score": 0.5, "reason": "half a percent"}', 0.005),
        ('```json\n{\n "score": 100,\n "reason": "same"\n}\n```', 1.0),
        ('{"score": 85, "reason": "it was cut', 0.85),
        ("{'score': 85, 'reason': 'quoted'}", 0.85),
        ("85", 0.85),
        ("Score: 85/100.", 0.85),
        ("0.85", 0.85),
        ("0", 0.0),
        ("I see 2 ships in both, so they are alike.", None),
        ('{"score": 101, "reason": ""}', None),
        ('{"score": -1, "reason": ""}', None),
        ('{"score": NaN, "reason": ""}', None),
        ('{"score": true, "reason": ""}', None),
        ('{"score": 1e999}', None),
        ('{"score": 1' + "0" * 400 + "}", None),
        ('{"reason": "first 5 of them", "sc', None),
        ('{"score": null}', None),
        ("150", None),
        ("", None),
        ("{" * 100_000, None),
    ],
)
def test_reading_clair(said: str, score: float | None) -> None:
    assert read_clair(said) == (None if score is None else pytest.approx(score))


@given(st.text())
def test_no_answer_breaks_the_readers(said: str) -> None:
    assert read_match(said) in (True, False, None)
    score = read_clair(said)
    assert score is None or 0 <= score <= 1


@pytest.mark.parametrize(
    ("said", "match"),
    [("1", True), ('"1"', True), ("0.", False), ("10", None), ("yes", None), ("1 because", None), ("", None)],
)
def test_reading_a_match(said: str, match: bool | None) -> None:
    assert read_match(said) is match


def test_another_wording_is_another_protocol() -> None:
    from dataclasses import replace

    assert MATCH.footer == f"vqa-match 1 ({MATCH.sha256[:12]})"
    other = replace(MATCH, template=MATCH.template + " ")
    assert other.sha256 != MATCH.sha256 != CLAIR.sha256
    assert request_id("a", MATCH, "x") != request_id("b", MATCH, "x") != request_id("b", other, "x")


def test_a_judge_is_met_before_long_work_and_that_counts_nowhere(tmp_path: Path) -> None:
    with judging(tmp_path, {"there is one": "1"}) as (judge, bench):
        judge.meet()
        judge.meet()
        assert len(bench.bodies) == 2  # what was kept says nothing of a key
        assert (judge.tally.asked, judge.tally.kept) == (0, 0)
        assert judge.footer(MATCH) == f"toy at temperature 0, asked by vqa-match 1 ({MATCH.sha256[:12]})"
    with judging(tmp_path / "other", {"there": 401}) as (judge, _), pytest.raises(JudgeError, match="key"):
        judge.meet()


@pytest.mark.parametrize(("said", "told"), [(500, "no answer"), ("slow", "timed out"), (400, "question refused")])
def test_meeting_a_judge_that_gives_no_answer_is_told_at_once(tmp_path: Path, said: Any, told: str) -> None:
    match = rf"gives no answer \({told}\); check --base-url"
    with judging(tmp_path, {"Answer": said}, timeout=0.2) as (judge, _), pytest.raises(JudgeError, match=match):
        judge.meet()


def test_an_address_where_nobody_listens_is_told_at_once(tmp_path: Path) -> None:
    replies = open_replies(tmp_path / "other.jsonl")
    with connect("http://127.0.0.1:9/v1", 0, 5.0) as client, pytest.raises(JudgeError, match="check --base-url"):
        Judge(client, "toy", replies).meet()
    replies.close()


def test_without_key_or_client_there_is_no_judge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(JudgeError, match="OPENAI_API_KEY"):
        connect(None)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(JudgeError, match="pip install"):
        connect("http://localhost:1/v1")
    (tmp_path / "notes.txt").write_text("dear diary\n")
    with pytest.raises(JudgeError, match=r"notes\.txt is no file of answers"):
        open_replies(tmp_path / "notes.txt")
