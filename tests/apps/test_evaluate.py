"""``geopix evaluate``: the table, the report, and what it says when it can't."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from geopix.apps.cli import app
from geopix.evaluate.vhr10 import Question
from geopix.records import Sample, Turn

SCORES = {"n": 1200, "mean_iou": 0.5, "mean_iou_95": [0.45, 0.55], "ciou": 0.6, "ciou_95": [0.5, 0.7]}
REPORT = {
    "protocol": "AR-H",
    "overall": SCORES,
    "referred": SCORES,
    "all of a class": SCORES,
    "shares": {"absent refused": {"n": 400, "value": 0.9}, "box A@0.5": {"n": 0, "value": None}},
}


class Evaluation:
    """A stand-in for the evaluation that remembers what was asked and may fail."""

    def __init__(self) -> None:
        self.asked: Sequence[Question] = ()
        self.batch_size = 0
        self.trouble: BaseException | None = None

    def questions(self, data: Path) -> list[Question]:
        window = Sample("a", np.zeros((8, 8, 3), np.uint8))
        kinds = ("referred", "all", "absent", "box")
        return [Question(kinds[index % 4], window, f"image {index // 4}", Turn("q", "a")) for index in range(80)]

    def evaluate(
        self, guide: Any, asked: Sequence[Question], batch_size: int, progress: Callable[[int], None]
    ) -> dict[str, Any]:
        self.asked, self.batch_size = asked, batch_size
        if self.trouble is not None:
            raise self.trouble
        progress(len(asked))
        return dict(REPORT)


@pytest.fixture
def evaluation(loads: Any, monkeypatch: pytest.MonkeyPatch) -> Evaluation:
    stand_in = Evaluation()
    monkeypatch.setattr("geopix.evaluate.vhr10.questions", stand_in.questions)
    monkeypatch.setattr("geopix.evaluate.vhr10.evaluate", stand_in.evaluate)
    return stand_in


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "nwpu_vhr10").mkdir(parents=True)
    for name in ("annotations.json", "split.json"):
        (folder / "nwpu_vhr10" / name).write_text("{}")
    return folder


def fails(words: list[str], code: int = 1) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("geopix: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]


def test_table_and_report(evaluation: Evaluation, loads: Any, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    args = ["evaluate", "--data", str(data), "--model", "some/model", "--device", "cpu", "-o", str(out)]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    assert loads.calls == [("some/model", "cpu")]
    assert (len(evaluation.asked), evaluation.batch_size) == (80, 16)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "measure n value 95 % interval"
    assert lines[1] == "overall: mean IoU 1,200 0.500 0.450 to 0.550"
    assert lines[2] == "overall: cIoU 1,200 0.600 0.500 to 0.700"
    assert lines[-2:] == ["absent refused 400 0.900 -", "box A@0.5 0 - -"]
    written = json.loads(out.read_text())
    assert written["questions"] == {"asked": 80, "of": 80}
    assert {key: written[key] for key in REPORT} == REPORT
    assert "exists already" in fails(args)
    assert CliRunner().invoke(app, [*args, "--overwrite"]).exit_code == 0


def test_a_limit_is_spread_and_told(evaluation: Evaluation, data: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "--data", str(data), "--limit", "16", "--batch-size", "4"])
    assert result.exit_code == 0, result.output
    assert evaluation.batch_size == 4
    assert sorted({question.kind for question in evaluation.asked}) == ["absent", "all", "box", "referred"]
    assert len({question.image_key for question in evaluation.asked}) == 16
    assert "asked 16 of 80 questions" in result.stderr
    assert CliRunner().invoke(app, ["evaluate", "--data", str(data), "--limit", "2"]).exit_code == 2


def test_wrong_paths_are_told_before_the_model_loads(
    evaluation: Evaluation, loads: Any, data: Path, tmp_path: Path
) -> None:
    assert "annotations.json is missing" in fails(["evaluate", "--data", str(tmp_path / "nowhere")])
    for name, said in (("report.txt", "ends in .json"), ("no/report.json", "there is no folder")):
        assert said in fails(["evaluate", "--data", str(data), "-o", str(tmp_path / name)])
    assert loads.calls == []
    assert "no-such-model" in fails(["evaluate", "--data", str(data), "--model", "no-such-model"])


def test_an_interrupt_writes_nothing(evaluation: Evaluation, data: Path, tmp_path: Path) -> None:
    evaluation.trouble = KeyboardInterrupt()
    out = tmp_path / "report.json"
    assert "nothing was written" in fails(["evaluate", "--data", str(data), "-o", str(out)], code=130)
    assert not out.exists()


def test_help_teaches_by_example() -> None:
    result = CliRunner().invoke(app, ["evaluate", "--help"], env={"COLUMNS": "200"})
    assert "geopix evaluate --data data -o report.json" in result.stdout
