"""runs/nano.sh, with commands that only write down what they were asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from geopix import config

ROOT = Path(__file__).parents[2]
SETTINGS = {path.stem: config.load(path) for path in sorted((ROOT / "configs").glob("nano_*.yaml"))}


def play(folder: Path, *arguments: str) -> list[list[str]]:
    """The commands that the script runs, each without DATA and RUNS."""
    bin_ = folder / "venv" / "bin"
    bin_.mkdir(parents=True)
    for name in ("geopix", "python"):
        (bin_ / name).write_text(f'#!/usr/bin/env bash\necho "{name} $*" >> "{folder}/played"\n')
        (bin_ / name).chmod(0o755)
    data = folder / "data"
    data.mkdir()
    given: list[str | Path] = ["bash", ROOT / "runs" / "nano.sh", data, folder / "runs", *arguments]
    environment = {**os.environ, "VENV": str(folder / "venv")}
    done = subprocess.run(given, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = (folder / "played").read_text().replace(f" --data {data}", "").replace(f" --runs {folder / 'runs'}", "")
    return [line.replace(str(folder), "HERE").split() for line in told.splitlines()]


def stages(commands: list[list[str]]) -> list[str]:
    """The stages that train, in order, each after those it starts from."""
    order = [Path(command[2]).stem for command in commands if command[1] == "train"]
    for place, name in enumerate(order):
        assert SETTINGS[name].name == name
        assert set(SETTINGS[name].start_from) <= set(order[:place]), f"{name} runs too early"
    return order


def test_nano_from_its_stages_to_its_curve(tmp_path: Path) -> None:
    commands = play(tmp_path)
    order = stages(commands)
    assert order[-1] == "nano_trust"
    assert commands[len(order) - 1][-2:] == ["--export", "geopix/weights/nano"]
    assert all("--export" not in command for command in commands[: len(order) - 1])
    assert commands[-2] == "geopix evaluate --model nano -o HERE/runs/report.json --overwrite".split()
    assert commands[-1][2:-2] == [f"HERE/runs/{name}" for name in order]


@pytest.mark.parametrize(
    ("kind", "last"),
    [("two-stages", ["nano_texts", "nano_stage1", "nano_stage2"]), ("single-stage", ["nano_texts", "nano_single"])],
)
def test_what_table_11_compares_leaves_the_embedded_model_alone(tmp_path: Path, kind: str, last: list[str]) -> None:
    commands = play(tmp_path, kind)
    assert stages(commands)[-len(last) :] == last
    assert commands[-2][-2:] == ["--export", "HERE/runs/nano"]
    assert commands[-1] == "geopix evaluate --model HERE/runs/nano -o HERE/runs/report.json --overwrite".split()
    assert all("geopix/weights" not in word and "docs/" not in word for command in commands for word in command)


def test_every_stage_of_nano_is_run(tmp_path: Path) -> None:
    kinds = [[], ["two-stages"], ["single-stage"]]
    run = set().union(*(stages(play(tmp_path / str(number), *kind)) for number, kind in enumerate(kinds)))
    assert run == set(SETTINGS)


@pytest.mark.parametrize("given", [[], ["."], ["none", "runs"], [".", "runs", "two"], [".", "runs", "two-stages", "x"]])
def test_wrong_usage_runs_nothing(given: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", ROOT / "runs" / "nano.sh", *given], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: runs/nano.sh DATA RUNS [two-stages|single-stage]")
    assert not list(tmp_path.iterdir())
