"""The endpoint over a real connection: whatever it does, every object ends described once or reported."""

from __future__ import annotations

import base64
import io
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from geopix.data.describe.endpoint import Endpoint, connect
from geopix.data.describe.money import Price, Purse
from geopix.data.describe.replies import Replies
from geopix.data.describe.run import Told, describe_set
from geopix.data.describe.settle import Wish
from geopix.data.describe.task import StopError
from geopix.data.entries import Entry, SetReader
from tests.data.describe.server import Script, serving
from tests.data.describe.sets import entries, make, truth

PRICE = Price(1.0, 10.0)  # a request of 1,000 tokens in and 100 out costs $0.002


def scripted(made: list[Entry], faults: dict[int, list[str]] | None = None, **more: int) -> Script:
    script = Script({}, **more)  # type: ignore[arg-type]
    script.expect(made, truth(made))
    keys = list(script.answers)
    script.faults = {keys[number]: list(mine) for number, mine in (faults or {}).items()}
    return script


def run(
    tmp_path: Path,
    reader: SetReader,
    url: str,
    *,
    out: str = "out",
    budget: float | None = None,
    concurrency: int = 4,
    retries: int = 3,
    timeout: float = 30.0,
    wish: Wish | None = None,
) -> tuple[Told, list[Entry], Replies]:
    replies = Replies(tmp_path / "replies")
    try:
        with connect(url, retries, timeout) as client:
            endpoint = Endpoint(client, "toy", replies, Purse(PRICE, budget, replies.spent_usd))
            told = describe_set(reader, tmp_path / out, endpoint, wish or Wish(), concurrency=concurrency)
    finally:
        replies.close()
    return told, list(SetReader(tmp_path / out)), replies


def said(made: list[Entry]) -> list[dict[int, str]]:
    return [{i: one.descriptions[0] for i, one in enumerate(entry.objects) if one.descriptions} for entry in made]


def test_every_fault_is_outlived_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    made = entries(20)
    reader = make(tmp_path / "set", made)
    faults = {
        0: ["429", "429"], 1: ["500"], 2: ["hang up"], 3: ["cut body"], 4: ["cut"], 5: ["length"], 6: ["foreign"],
        7: ["missing"], 8: ["swapped"], 9: ["ambiguous"], 10: ["tokens"], 11: ["control"], 12: ["twice"],
        13: ["deep"], 14: ["prose"], 15: ["fenced"], 16: ["refusal"], 17: ["slow"],
        18: ["500", "cut", "429", "foreign"],
    }  # fmt: skip
    script = scripted(made, faults)
    with serving(script) as url:
        told, result, replies = run(tmp_path, reader, url)
    assert said(result) == truth(made)
    assert [entry.key for entry in result] == [entry.key for entry in made]
    assert {one.arrangement for entry in result for one in entry.objects} == {"isolated"}
    assert told.unanswered == 0
    assert not told.dropped
    assert told.counts["described"] == sum(len(entry.objects) for entry in made)
    assert max(Counter(script.answered).values()) == 1
    assert len(script.answered) == len(replies) == 20 + 14  # what was asked again, was asked with the reason
    assert replies.spent_usd == pytest.approx(34 * 0.002)
    assert script.busiest <= 4
    again = [text for text in script.texts if "Earlier answers had faults" in text]
    for reason in (
        "cut off or no JSON", "it became too long", "not asked about 50, 51", "nothing about",
        "is false: it is not true", "Answer 2: the answer speaks",
        "is ambiguous: it may also mean", "marks such as [SEG]", "control characters", "twice: object 0", "declines",
    ):  # fmt: skip
        assert any(reason in text for text in again), reason


def test_what_is_asked_is_the_prompt_of_the_paper_with_the_picture(tmp_path: Path) -> None:
    made = entries(1)
    reader = make(tmp_path / "set", made)
    script = scripted(made)
    with serving(script) as url:
        run(tmp_path, reader, url)
    (body,) = script.bodies
    text, picture = body["messages"][1]["content"]
    assert "120 pixels wide and 120 pixels high" in text["text"]
    assert "0: Ship, 14, 15\n1: Ship, 96, 16\n2: harbor, 60, 14\n" in text["text"]
    for word in ("isolated", "line", "cluster", "Describe all objects"):
        assert word in text["text"]
    kind, _, data = picture["image_url"]["url"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (120, 120)
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["descriptions"]["items"]["properties"]["index"]["enum"] == [0, 1, 2]


def test_a_second_run_asks_nobody(tmp_path: Path) -> None:
    made = entries(5)
    reader = make(tmp_path / "set", made)
    script = scripted(made, {0: ["cut"], 1: ["swapped"]})
    with serving(script) as url:
        _, first, _ = run(tmp_path, reader, url)
        asked = len(script.asked)
        _, second, _ = run(tmp_path, reader, url, out="again")
    assert second == first
    assert len(script.asked) == asked == 7


def test_the_same_picture_twice_is_asked_about_once(tmp_path: Path) -> None:
    from dataclasses import replace

    made = [*entries(1)] * 6
    made = [replace(entry, key=f"toy/{number}") for number, entry in enumerate(made)]
    reader = make(tmp_path / "set", made)
    script = scripted(made[:1], {0: ["slow"]})
    with serving(script) as url:
        _, result, _ = run(tmp_path, reader, url)
    assert said(result) == truth(made)
    assert len(script.asked) == 1


def test_what_never_gets_right_is_dropped_and_counted(tmp_path: Path) -> None:
    made = entries(4)
    reader = make(tmp_path / "set", made)
    script = scripted(made, {0: ["swapped"] * 9, 1: ["foreign"] * 9, 2: ["tokens"] * 9})
    with serving(script) as url:
        told, result, _ = run(tmp_path, reader, url)
    assert said(result) == [{1: "the rightmost ship"}, {}, {1: "the rightmost ship"}, truth(made)[3]]
    assert told.dropped == {
        "description false": 2,
        "answer speaks of other objects than asked": 2,
        "description refused: it holds marks such as [SEG] or <p>, which are not words": 1,
    }
    about = SetReader(tmp_path / "out").about
    assert about.skipped["not described: description false"] == 2
    assert len(script.answered) == 3 + 3 + 3 + 1


def test_an_endpoint_that_gives_no_answer_about_an_image_is_reported_and_asked_later(tmp_path: Path) -> None:
    made = entries(3)
    reader = make(tmp_path / "set", made)
    script = scripted(made, {1: ["500"] * 3, 2: ["400"]})
    with serving(script) as url:
        told, result, _ = run(tmp_path, reader, url, retries=2)
        assert told.unanswered == 2
        assert told.dropped == {"endpoint gives no answer": 2, "endpoint refuses the question": 2}
        assert said(result) == [truth(made)[0], {}, {}]
        told, result, _ = run(tmp_path, reader, url, out="later")
    assert told.unanswered == 0
    assert said(result) == truth(made)
    assert max(Counter(script.answered).values()) == 1


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [("401", "check --model, --base-url and the key"), ("quota", "wants money"), ("html", "10 questions in a row")],
)
def test_an_endpoint_that_is_no_use_ends_the_job_and_leaves_nothing(tmp_path: Path, fault: str, sentence: str) -> None:
    made = entries(30)
    reader = make(tmp_path / "set", made)
    script = scripted(made, {number: [fault] * 9 for number in range(30)})
    with serving(script) as url, pytest.raises(StopError, match=sentence):
        run(tmp_path, reader, url)
    assert not (tmp_path / "out").exists()
    assert len(script.asked) < 30


def test_nobody_there_ends_the_job(tmp_path: Path) -> None:
    reader = make(tmp_path / "set", entries(30))
    with pytest.raises(StopError, match="Connection error"):
        run(tmp_path, reader, "http://127.0.0.1:9/v1", retries=0)


def test_answers_that_are_too_slow_are_given_up(tmp_path: Path) -> None:
    made = entries(2)
    reader = make(tmp_path / "set", made)
    script = scripted(made, {0: ["too slow"]})
    with serving(script) as url:
        told, result, _ = run(tmp_path, reader, url, timeout=1.5, retries=0)
    assert told.dropped == {"endpoint gives no answer": 3}
    assert said(result)[1] == truth(made)[1]


def test_the_budget_is_kept_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    made = entries(12)
    reader = make(tmp_path / "set", made)
    script = scripted(made)
    with serving(script) as url:
        with pytest.raises(StopError, match=r"budget of \$0.01 is used up"):
            run(tmp_path, reader, url, budget=0.012, concurrency=2)
        before = len(script.answered)
        assert 0 < before * 0.002 <= 0.012
        assert not (tmp_path / "out").exists()
        _, result, replies = run(tmp_path, reader, url, budget=1.0)
    assert said(result) == truth(made)
    assert max(Counter(script.answered).values()) == 1
    assert replies.spent_usd == pytest.approx(12 * 0.002)


def test_colors_are_kept_unless_everything_must_be_proved(tmp_path: Path) -> None:
    made = entries(2)[1:]
    reader = make(tmp_path / "set", made)
    script = Script({})
    script.expect(made, [{0: "the white ship", 1: "the rightmost ship"}])
    with serving(script) as url:
        _, result, _ = run(tmp_path, reader, url)
        assert said(result) == [{0: "the white ship", 1: "the rightmost ship"}]
        told, result, _ = run(tmp_path, reader, url, out="strict", wish=Wish(strict=True))
    assert said(result) == [{1: "the rightmost ship"}]
    assert told.dropped == {"description unparsable": 1}


def test_a_missing_picture_is_reported_and_nobody_asked(tmp_path: Path) -> None:
    made = entries(2)
    reader = make(tmp_path / "set", made)
    (tmp_path / "pictures" / made[0].image).unlink()
    script = scripted(made)
    with serving(script) as url:
        told, result, _ = run(tmp_path, reader, url)
    assert told.dropped == {"image missing": 3}
    assert said(result) == [{}, truth(made)[1]]
    assert len(script.asked) == 1


def test_a_process_killed_in_the_middle_goes_on_and_nothing_answered_is_asked_twice(tmp_path: Path) -> None:
    made = entries(16)
    make(tmp_path / "set", made)
    script = scripted(made, {0: ["429"], 1: ["cut"], 3: ["swapped"], 9: ["cut"], 12: ["500"]}, hold_after=8)
    command = [sys.executable, "-m", "geopix", "data", "describe", str(tmp_path / "set"), "-o", str(tmp_path / "out")]
    command += ["--by", "endpoint", "--model", "toy", "--concurrency", "3", "--price", "1,10"]
    kept = tmp_path / "out.replies"
    with serving(script) as url:
        command += ["--base-url", url]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if kept.exists() and len(kept.read_bytes().splitlines()) == 8 and script.busy == 3:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert len(script.answered) == 8
        assert not (tmp_path / "out").exists()
        with kept.open("ab") as file:  # a line that the crash cut short
            file.write(b'{"id": "abc", "key')
        script.hold_after = None
        script.let_go.set()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "8 answers are there already, $0.0160 spent" in done.stderr
    assert said(list(SetReader(tmp_path / "out"))) == truth(made)
    assert max(Counter(script.answered).values()) == 1
    lines = [json.loads(line) for line in kept.read_bytes().splitlines()]
    assert sorted(line["id"] for line in lines) == sorted(script.answered)
    assert len(lines) == 16 + 3
