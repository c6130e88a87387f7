"""``geopix table`` end to end on anyone's answers: printed, written, compared, and refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from geopix.apps.cli import app
from geopix.evaluate.judge import CLAIR, MATCH
from geopix.evaluate.table import TableError, compare, read
from tests.tiny_judge import serving


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three images of UC Merced's form: one to train on, two to ask about."""
    folder = tmp_path / "data" / "ucm"
    (folder / "images").mkdir(parents=True)
    random, captions, asked = np.random.default_rng(0), [], []
    for name, split in (("a", "train"), ("b", "val"), ("c", "val")):
        image = f"images/{name}.png"
        Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / image)
        captions.append({"image": image, "split": split, "captions": ["a field with a road and two trees"]})
        asked.append({"image": image, "question": "Does this picture contain roads?", "answer": "yes"})
    (folder / "captions.json").write_text(json.dumps(captions))
    (folder / "vqa.json").write_text(json.dumps(asked))
    return tmp_path / "data"


def _table(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["table", *map(str, words)])
    return found.exit_code, " ".join((found.stdout + found.stderr).split())


def _answered(data: Path, name: str, *texts: str) -> Path:
    asked = data.parent / f"asked-{name}"
    assert _table(4, "--data", data, "--questions", asked)[0] == 0
    lines = [json.loads(line) for line in (asked / "questions.jsonl").read_text().splitlines()]
    assert all((asked / line["image"]).is_file() for line in lines)
    path = data.parent / f"{name}.jsonl"
    told = zip(lines, texts, strict=False)
    path.write_text("".join(json.dumps({"id": one["id"], "text": text, "instances": []}) + "\n" for one, text in told))
    return path


def test_answers_become_a_table_in_every_form_and_two_are_compared(data: Path) -> None:
    out = data.parent
    right, half = _answered(data, "right", "yes", "yes"), _answered(data, "half", "yes")
    code, told = _table(4, "--data", data, "--predictions", right, "-o", out / "a.json", "-o", out / "a.md")
    assert code == 0
    assert "presence" in told
    assert "100.0 [100.0, 100.0]" in (out / "a.md").read_text()
    assert "GeoPix" in (out / "a.md").read_text()
    code, told = _table(4, "--data", data, "--predictions", half, "-o", out / "b.json", "-o", out / "b.csv")
    assert code == 0
    assert "1 questions without an answer" in told
    assert "judge: nobody; name one with --judge" in told
    assert '"all, micro",all open answers wrong,2,questions,0.500000' in (out / "b.csv").read_text()
    code, told = _table("compare", out / "a.json", out / "b.json")
    assert code == 0
    assert "+50.0 [+0.0," in told.replace("\n", "")


def test_what_can_not_be_made_is_told_in_a_sentence_and_writes_nothing(data: Path) -> None:
    out = data.parent / "a.json"
    out.write_text("mine")
    code, told = _table(4, "--data", data, "-o", out)
    assert (code, out.read_text()) == (1, "mine")
    assert "--overwrite" in told
    assert _table(9, "--data", data) == (1, "geopix: table 9 is not made here; geopix ablate makes it")
    assert "is no name for a table" in _table(4, "--data", data, "-o", data.parent / "a.txt")[1]
    empty = data.parent / "empty.jsonl"
    empty.write_text("")
    code, told = _table(4, "--data", data, "--predictions", empty)
    assert code == 1
    assert "it is empty" in told
    with pytest.raises(TableError, match="no table"):
        read(out)


def test_tables_of_other_questions_are_not_compared(data: Path) -> None:
    out = data.parent / "a.json"
    assert _table(4, "--data", data, "--predictions", _answered(data, "x", "yes"), "-o", out)[0] == 0
    other = json.loads(out.read_text())
    other["footer"]["questions"] = "others"
    (data.parent / "b.json").write_text(json.dumps(other))
    with pytest.raises(TableError, match="differ in their questions"):
        compare(read(out), read(data.parent / "b.json"))


def _judged(data: Path, number: int, url: str, *more: object, says: str = "judged.jsonl") -> tuple[int, str]:
    words = ("--predictions", data.parent / says, "--judge", "toy", "--base-url", url, "--retries", 0)
    return _table(number, "--data", data, *words, "--replies", data.parent / "judge.replies", *more)


def test_a_judge_decides_what_the_rule_leaves_open_and_what_it_did_not_is_told(data: Path) -> None:
    out = data.parent
    themes = ("field", "forest", "harbor", "river", "beach", "runway")
    asked = [
        {"image": f"images/{image}.png", "question": "What is the theme of this picture?", "answer": theme}
        for image, theme in zip("bbbccc", themes, strict=True)
    ]
    (data / "ucm" / "vqa.json").write_text(json.dumps(asked))
    _answered(data, "judged", "farm", "wood", "port", "stream", "sand", "it is a runway")
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
    footer = json.loads((out / "a.json").read_text())["footer"]
    assert f"Judge: toy at temperature 0, asked by {MATCH.footer}." in footer["protocol"]
    assert "5 left open by it, of which 2 judged (40.0 %), 3 not judged" in footer["judged"]
    for reason in ("1 answered in prose", "1 timed out", "1 declined", "4 answers asked for"):
        assert reason in footer["judge"]
    with serving({"Answer: river": "1"}) as (url, bench):  # a second run asks what had no answer, and nothing else
        code, _ = _judged(data, 4, url, "-o", out / "b.json", "-o", out / "b.csv")
        assert (code, len(bench.bodies)) == (0, 1)
    assert "scene,accuracy,4,questions,0.750000" in (out / "b.csv").read_text()
    assert _table("compare", out / "b.json", out / "a.json")[0] == 0
    unjudged = _table(4, "--data", data, "--predictions", out / "judged.jsonl", "-o", out / "c.json")
    assert unjudged[0] == 0
    assert json.loads((out / "c.json").read_text())["rows"][0]["cells"][0] == "not judged"
    assert "differ in their protocol" in _table("compare", out / "a.json", out / "c.json")[1]


def test_clair_is_asked_of_the_judge(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycocoevalcap")
    monkeypatch.setenv("PATH", str(data))  # without Java, which takes its time
    out = data.parent
    asked = out / "captions"
    assert _table(7, "--data", data, "--questions", asked)[0] == 0
    lines = [json.loads(line) for line in (asked / "questions.jsonl").read_text().splitlines()]
    told = zip(lines, ("a road in a field", "trees"), strict=True)
    (out / "said.jsonl").write_text("".join(json.dumps({"id": one["id"], "text": text}) + "\n" for one, text in told))
    with serving({"- a road": '{"score": 80, "reason": "both"}', "- trees": "Well."}) as (url, _):
        code, _ = _judged(data, 7, url, "-o", out / "d.json", "-o", out / "d.csv", says="said.jsonl")
    assert code == 0
    text = (out / "d.csv").read_text()
    assert "CLAIR,score,1,images,0.800000" in text
    assert '"CLAIR, all open captions 0",score,2,images,0.400000' in text
    footer = json.loads((out / "d.json").read_text())["footer"]
    assert CLAIR.footer in footer["protocol"]
    assert footer["judged"] == "1 of 2 captions not judged"
    assert "1 answered in prose" in footer["judge"]


def test_a_judge_that_takes_nothing_ends_the_run_and_writes_nothing(data: Path) -> None:
    out = data.parent / "a.json"
    _answered(data, "judged", "perhaps")
    (data / "ucm" / "vqa.json").write_text((data / "ucm" / "vqa.json").read_text().replace("yes", "field"))
    with serving({"Answer": 401}) as (url, _):
        code, told = _judged(data, 4, url, "-o", out)
    assert (code, out.exists()) == (1, False)
    assert "geopix: the judge refuses: " in told
    assert "check its name, address and key" in told
    assert "leave --judge out" in _table(3, "--data", data, "--judge", "toy")[1]
    assert _table(4, "--data", data, "--base-url", "http://localhost:1")[0] == 2
    (data.parent / "judge.replies").write_text("dear diary\n")
    assert "can't be kept" in _judged(data, 4, "http://127.0.0.1:9/v1")[1]
