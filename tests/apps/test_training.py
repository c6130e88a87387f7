"""What the commands about training and measuring say before they import anything; the rooms have tests of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geopix.apps.cli import app

ROOT = Path(__file__).parents[2]
runner = CliRunner()


@pytest.mark.parametrize("command", ["train", "evaluate", "table", "ablate"])
def test_help_teaches_by_example(command: str) -> None:
    result = runner.invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"geopix {command} " in result.stdout.split("Options", 1)[0].split("Usage", 1)[1].split("\n", 1)[1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["train", "a.yaml", "--data", "data"], "--runs"),
        (["train", "a.yaml", "--runs", "runs"], "--data"),
        (["train", "a.yaml", "--plan", "--devices", "0"], "--devices"),
        (["evaluate"], "--data"),
        (["evaluate", "--data", "data", "--limit", "7"], "--limit"),
        (["table", "three"], "a table's number"),
        (["table", "3", "a.json"], "a table's number"),
        (["table", "compare", "a.json"], "a table's number"),
        (["ablate", "a.yaml", "--data", "data"], "--runs"),
        (["ablate", "a.yaml", "--data", "data", "--runs", "runs", "--seeds", "0"], "--seeds"),
    ],
)
def test_wrong_usage_is_told(given: list[str], said: str) -> None:
    result = runner.invoke(app, given, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert said in result.stderr


def test_parsing_loads_nothing_heavy() -> None:
    check = "import sys; from geopix.apps import training; print({'torch', 'numpy', 'rasterio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "set()"
