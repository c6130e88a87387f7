"""geopix data review: out to people and back, on the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from geopix.apps.cli import app
from geopix.data.entries import SetReader
from geopix.data.review import exporting
from tests.tiny_review import entry, page_of, pair, saved, thing, tiny_set


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, ["data", "review", *map(str, words)])
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    lone = entry(3, thing("bridge", (5, 5, 20, 9), "the bridge", arrangement="isolated"))
    return tiny_set(tmp_path / "set", [pair(1), pair(2, split="val"), lone])


def test_out_and_back(folder: Path, tmp_path: Path) -> None:
    review, out = tmp_path / "review", tmp_path / "out"
    result = run("export", folder, "-o", review)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert ["bridge", "isolated", "1", "1"] in lines
    assert ["ship", "cluster", "1", "1"] in lines
    assert "3 texts in 2 images" in result.stdout
    assert "index.html" in result.stderr
    said = {
        ("toy/1", 0, 0): ("accepted", ""),
        ("toy/1", 1, 0): ("rewritten", "the second ship"),
        ("toy/3", 0, 0): ("rejected", ""),
    }
    file = saved(review, said, tmp_path / "c.json")
    result = run("import", file, folder, "-o", out)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert ["all", "texts", "1", "1", "1", "0"] in lines
    assert ["position", "word", "1"] in lines
    assert ["order", "1"] in lines
    assert ["images", "that", "became", "examples", "1"] in lines
    assert "finetune.jsonl" in result.stderr
    about = SetReader(out).about
    assert about.steps == ("made", f"geopix data review import {file} {folder}")


def test_options_reach_the_lot(folder: Path, tmp_path: Path) -> None:
    assert run("export", folder, "-o", tmp_path / "r", "--split", "val", "--seed", "4", "--images", "1").exit_code == 0
    assert [one["key"] for one in page_of(tmp_path / "r")["images"]] == ["toy/2"]
    assert run("export", folder, "-o", tmp_path / "r", "--split", "all", "--overwrite").exit_code == 0
    assert len(page_of(tmp_path / "r")["images"]) == 3


def test_bad_input_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"format": "\x1b[31m"}')
    for words, said in (
        (("export", tmp_path, "-o", tmp_path / "r"), "is no set of annotations"),
        (("export", folder, "-o", folder), "exists: name a new folder"),
        (("export", folder, "-o", tmp_path / "r", "--split", "test"), "no image with objects in its split test"),
        (("import", tmp_path / "none", folder, "-o", tmp_path / "o"), "there is no"),
        (("import", tmp_path / "c.json", folder, "-o", tmp_path / "o"), "c.json"),
        (("import", folder, folder, "-o", tmp_path / "o"), "neither what the page saves"),
    ):
        result = run(*words)
        assert result.exit_code == 1
        assert result.stdout == ""
        sentences = [line for line in result.stderr.splitlines() if line.startswith("geopix: ")]
        assert len(sentences) == 1
        assert said in sentences[0]
        assert "\x1b[31m" not in sentences[0]
    assert not (tmp_path / "o").exists()


def test_ctrl_c_says_how_to_go_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "_write", stops)
    result = run("export", folder, "-o", tmp_path / "r")
    assert result.exit_code == 130
    assert "run the same command again to go on" in result.stderr
    assert not (tmp_path / "r").exists()
