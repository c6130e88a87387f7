"""``geopix table`` about words and about a set's numbers: benchmarks, sets of ours, and a judge that may fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geopix.evaluate.forms import CLAIR, MATCH
from tests.evaluate.test_questions import rsieval, vrsbench
from tests.tiny_judge import serving
from tests.tiny_set import tiny_set
from tests.tiny_table import answered, table, ucm


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return ucm(tmp_path / "data")


def footer(path: Path) -> dict[str, str]:
    told: dict[str, Any] = json.loads(path.read_text())
    return dict(told["footer"])


def _judged(data: Path, number: int, url: str, *more: object, says: str = "judged.jsonl") -> tuple[int, str]:
    words = ("--predictions", data.parent / says, "--judge", "toy", "--base-url", url, "--retries", 0)
    return table(number, "--data", data, *words, "--replies", data.parent / "judge.replies", *more)


def test_a_judge_decides_what_the_rule_leaves_open_and_what_it_did_not_is_told(data: Path) -> None:
    out = data.parent
    themes = ("field", "forest", "harbor", "river", "beach", "runway")
    asked = [
        {"image": f"images/{image}.png", "question": "What is the theme of this picture?", "answer": theme}
        for image, theme in zip("bbbccc", themes, strict=True)
    ]
    (data / "ucm" / "vqa.json").write_text(json.dumps(asked))
    answered(data, "judged", "farm", "wood", "port", "stream", "sand", "it is a runway")
    says = {"Answer: field": "1", "Answer: forest": "0", "Answer: harbor": "They are alike.", "Answer: river": "slow",
            "Answer: beach": "refusal"}  # fmt: skip
    with serving(says) as (url, bench):
        code, _ = _judged(data, 4, url, "--timeout", 0.3, "-o", out / "a.json", "-o", out / "a.csv")
        assert code == 0
        assert len(bench.bodies) == 5
    text = (out / "a.csv").read_text()
    assert "scene,accuracy,3,questions,0.666667" in text  # the field by the judge, the runway by the rule
    assert "scene,all open answers wrong,6,questions,0.333333" in text
    assert "scene,all open answers right,6,questions,0.833333" in text
    assert "scene,not judged,6,questions,0.500000" in text
    told = footer(out / "a.json")
    assert f"Judge: toy at temperature 0, asked by {MATCH.footer}." in told["protocol"]
    assert "5 left open by it, of which 2 judged (40.0 %), 3 not judged" in told["judged"]
    for reason in ("1 answered in prose", "1 timed out", "1 declined", "4 answers asked for"):
        assert reason in told["judge"]
    with serving({"Answer: river": "1"}) as (url, bench):  # a second run asks what had no answer, and nothing else
        code, _ = _judged(data, 4, url, "-o", out / "b.json", "-o", out / "b.csv")
        assert (code, len(bench.bodies)) == (0, 1)
    assert "scene,accuracy,4,questions,0.750000" in (out / "b.csv").read_text()
    assert table("compare", out / "b.json", out / "a.json")[0] == 0
    unjudged = table(4, "--data", data, "--predictions", out / "judged.jsonl", "-o", out / "c.json")
    assert unjudged[0] == 0
    assert json.loads((out / "c.json").read_text())["rows"][0]["cells"][0] == "not judged"
    assert "differ in their protocol" in table("compare", out / "a.json", out / "c.json")[1]


def test_clair_is_asked_of_the_judge(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycocoevalcap")
    monkeypatch.setenv("PATH", str(data))  # without Java, which takes its time
    out = data.parent
    answered(data, "said", "a road in a field", "trees", number=7)
    with serving({"- a road": '{"score": 80, "reason": "both"}', "- trees": "Well."}) as (url, _):
        code, _ = _judged(data, 7, url, "-o", out / "d.json", "-o", out / "d.csv", says="said.jsonl")
    assert code == 0
    text = (out / "d.csv").read_text()
    assert "CLAIR,score,1,images,0.800000" in text
    assert '"CLAIR, all open captions 0",score,2,images,0.400000' in text
    told = footer(out / "d.json")
    assert CLAIR.footer in told["protocol"]
    assert told["judged"] == "1 of 2 captions not judged"
    assert "1 answered in prose" in told["judge"]


def test_a_judge_that_takes_nothing_ends_the_run_and_writes_nothing(data: Path) -> None:
    out = data.parent / "a.json"
    answered(data, "judged", "perhaps")
    (data / "ucm" / "vqa.json").write_text((data / "ucm" / "vqa.json").read_text().replace("yes", "field"))
    with serving({"Answer": 401}) as (url, _):
        code, told = _judged(data, 4, url, "-o", out)
    assert (code, out.exists()) == (1, False)
    assert "geopix: the judge refuses: " in told
    assert "check its name, address and key" in told
    assert "leave --judge out" in table(3, "--data", data, "--judge", "toy")[1]
    assert table(4, "--data", data, "--base-url", "http://localhost:1")[0] == 2
    (data.parent / "judge.replies").write_text("dear diary\n")
    assert "can't be kept" in _judged(data, 4, "http://127.0.0.1:9/v1")[1]


def test_a_judge_that_is_not_met_ends_the_run_before_a_model_is_asked(data: Path) -> None:
    out = data.parent
    with serving({"Predicted": 401}) as (url, bench):
        words = ("--judge", "toy", "--base-url", url, "--retries", 0, "--replies", out / "judge.replies")
        code, told = table(4, "--data", data, "--model", out / "no model", *words)
        assert (code, len(bench.bodies)) == (1, 1)
    assert "the judge refuses" in told


def test_rsieval_is_asked_for_tables_5_and_6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycocoevalcap")
    monkeypatch.setenv("PATH", str(tmp_path))  # without Java
    rsieval(tmp_path / "data" / "rsieval")
    data = tmp_path / "data"
    said = answered(data, "said", "No", "northwards", number=5)
    assert table(5, "--data", data, "--predictions", said, "-o", tmp_path / "a.csv", "-o", tmp_path / "a.md")[0] == 0
    text = (tmp_path / "a.csv").read_text()
    assert "presence,accuracy,1,questions,0.000000" in text
    assert "road direction,accuracy,1,questions,1.000000" in text
    assert "RSGPT" in (tmp_path / "a.md").read_text()
    said = answered(data, "captions", "An airport.", "A road.", number=6)
    assert table(6, "--data", data, "--predictions", said, "-o", tmp_path / "b.csv", "-o", tmp_path / "b.json")[0] == 0
    assert "BLEU-1,score,2,images,1.000000" in (tmp_path / "b.csv").read_text()
    assert "CLAIR,score,,,not judged" in (tmp_path / "b.csv").read_text()
    assert footer(tmp_path / "b.json")["judge"] == "nobody; name one with --judge"


def test_vrsbench_goes_before_uc_merced_and_its_other_kinds_are_told(data: Path) -> None:
    vrsbench(data / "vrsbench")
    said = answered(data, "said", "2", "No", "rain")
    assert table(4, "--data", data, "--predictions", said, "-o", data / "a.json", "-o", data / "a.csv")[0] == 0
    text = (data / "a.csv").read_text()
    assert "quantity,accuracy,1,questions,1.000000" in text
    assert '"all, macro",accuracy,2,questions,1.000000' in text
    assert '"all, micro",all open answers wrong,3,questions,0.666667' in text
    assert "1 questions of kinds without a row" in footer(data / "a.json")["judged"]


def test_table_2_counts_a_set_beside_the_papers_row(tmp_path: Path) -> None:
    folder = tiny_set(tmp_path / "set")
    code, told = table(2, "--data", folder, "-o", tmp_path / "a.md", "-o", tmp_path / "a.csv")
    assert code == 0
    assert "140,412" in (tmp_path / "a.md").read_text()
    assert "train.A_T,images,,,2,," in (tmp_path / "a.csv").read_text()
    assert "counted, not sampled: no interval" in told
    assert "is no set of annotations" in table(2, "--data", tmp_path)[1]
    assert "give it nothing but" in table(2, "--data", folder, "--limit", 8)[1]
