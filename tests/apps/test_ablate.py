"""``geopix ablate``: what it hands on, the table it prints, and what it says when it can't."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from geopix.ablation.results import Result
from geopix.apps.cli import app
from tests.tiny_ablation import plan_of

ROW = {
    "name": "default", "says": "conv3d", "table": "IX", "miou": [0.5, 0.4, 0.6], "ciou": [0.6, 0.5, 0.7], "seeds": [0],
    "minutes": 2.0, "fusion_parameters": 2723, "paper": (84.25, 89.82),
}  # fmt: skip


class Ablation:
    """A stand-in for `geopix.ablation.run.run` that remembers its calls and may fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], int, str]] = []
        self.trouble: BaseException | None = None

    def __call__(
        self, plan: Any, rows: Sequence[str], seeds: int, data: Path, runs: Path, model: str, watch: Any,
        done: Callable[[Result], None],
    ) -> dict[str, Any]:  # fmt: skip
        self.calls.append((list(rows), seeds, model))
        if self.trouble is not None:
            raise self.trouble
        watch("rows", 0, 1)
        watch("default, seed 0: training IoU 0.4", 1, 4)
        done(Result("default", 0, "k", 4, 1.5, 0.5, 2723, [[0.5, 1, 2]]))
        return {"rows": [ROW], "footer": ["TF, teacher-forced"]}


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch) -> Ablation:
    stand_in = Ablation()
    monkeypatch.setattr("geopix.ablation.run.run", stand_in)
    return stand_in


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "data" / "nwpu_vhr10").mkdir(parents=True)
    for name in ("annotations.json", "split.json"):
        (tmp_path / "data" / "nwpu_vhr10" / name).write_text("{}")
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan_of().model_dump(mode="json")))
    folders = ["--data", str(tmp_path / "data"), "--runs", str(tmp_path / "runs")]
    return ["ablate", str(tmp_path / "plan.yaml"), *folders]


def fails(words: list[str], code: int = 1) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code, result.output
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("geopix: "))
    assert "Traceback" not in result.stderr
    return line


def test_it_hands_on_and_prints(ablation: Ablation, words: list[str]) -> None:
    result = CliRunner().invoke(app, [*words, "--rows", "lisa, default", "--seeds", "2", "--model", "m"])
    assert result.exit_code == 0, result.output
    assert ablation.calls == [(["lisa", "default"], 2, "m")]
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["row", "mIoU", "cIoU"]
    assert lines[1].split()[:3] == ["default", "50.00", "60.00"]
    assert lines[-1] == "TF, teacher-forced"
    assert "default, seed 0: mIoU 50.00, 2.0 minutes" in result.stderr


def test_what_is_wrong_is_told(ablation: Ablation, words: list[str], tmp_path: Path) -> None:
    assert "no row 'moon'" in fails([*words, "--rows", "moon"])
    assert "seed" in fails([*words, "seed=none"])
    (tmp_path / "file").write_text("")
    assert "is a file" in fails([*words, "--runs", str(tmp_path / "file")])
    assert "annotations.json is missing" in fails([*words, "--data", str(tmp_path)])
    (tmp_path / "plan.yaml").unlink()
    assert "there is no settings file" in fails(words)
    assert ablation.calls == []


@pytest.mark.parametrize(
    ("trouble", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "run the same command again to continue"),
        (FloatingPointError("the loss of step 7 is nan"), 1, "lower stage.learning_rate"),
    ],
)
def test_trouble_is_one_sentence(
    trouble: BaseException, code: int, said: str, ablation: Ablation, words: list[str]
) -> None:
    ablation.trouble = trouble
    assert said in fails(words, code)


def test_help_teaches_by_example() -> None:
    result = CliRunner().invoke(app, ["ablate", "--help"], env={**os.environ, "COLUMNS": "200"})
    assert "geopix ablate configs/ablation.yaml --data data --runs out/nano" in result.stdout
