"""``geopix table 1, 9, 10, 11`` by the command line: printed, written, and refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from geopix.apps.cli import app
from geopix.evaluate.measures import mean_of
from geopix.evaluate.table import Row, Table, write


def _table(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["table", *map(str, words)])
    return found.exit_code, " ".join((found.stdout + found.stderr).split())


def test_the_field_and_trained_models_become_tables(tmp_path: Path) -> None:
    assert _table(1, "-o", tmp_path / "one.md")[0] == 0
    assert "PixelLM" in (tmp_path / "one.md").read_text()
    measure = mean_of("cIoU", ["q"], ["q"], [0.25])
    write(Table(3, "made up", ("AR-H",), (Row("cIoU", (measure,)),), {}), tmp_path / "three.json")
    code, told = _table(11, f"one stage={tmp_path / 'three.json'}", "-o", tmp_path / "eleven.csv")
    assert code == 0
    assert "A800" in told
    assert "one stage,cIoU,1,questions,0.250000" in (tmp_path / "eleven.csv").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((9,), "table 9 is made of results; give the folder of geopix ablate's with --runs"),
        ((11,), "or name the tables of trained models"),
        ((10, "a=b.json"), "table 10 takes no a=b.json"),
        ((1, "--runs", "x"), "takes no --runs"),
        ((9, "--runs", "nowhere"), "is missing; give the folder"),
    ],
)
def test_too_much_or_too_little_is_told(words: tuple[object, ...], sentence: str) -> None:
    code, told = _table(*words)
    assert code == 1
    assert sentence in told


@pytest.mark.parametrize("number", ["compare", 1, 9, 10, 11])
@pytest.mark.parametrize(
    "words", [("--judge", "toy"), ("--predictions", "a.jsonl"), ("--questions", "new"), ("--limit", 8)]
)
def test_options_of_asking_are_refused_where_nobody_is_asked(number: object, words: tuple[object, ...]) -> None:
    files = ("a.json", "b.json") if number == "compare" else ()
    code, told = _table(number, *files, *words)
    assert code == 2
    assert f"Invalid value for {words[0]}: nobody is asked here" in told.replace("│ ", "")


@pytest.mark.parametrize("words", [("compare", "a.json", "b.json"), (2,), (3,), (8,)])
def test_results_of_ablations_are_refused_by_other_tables(words: tuple[object, ...]) -> None:
    code, told = _table(*words, "--runs", "out")
    assert code == 2
    assert "Invalid value for --runs: results of geopix ablate become tables 9 to 11" in told.replace("│ ", "")
