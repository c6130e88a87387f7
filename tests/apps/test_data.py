"""``geopix data import``: tables of what was kept and left out, sentences for what can't be done, help that teaches."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from geopix.apps.cli import app
from geopix.data.entries import SetReader
from geopix.data.sources.kinds import KINDS
from tests.data.sources.fakes import pictures, put, rle

runner = CliRunner(env={"COLUMNS": "200"})


def run(*args: object) -> Any:
    return runner.invoke(app, ["data", "import", *map(str, args)])


def fails(*args: object, code: int = 1) -> str:
    result = run(*args)
    assert result.exit_code == code, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("geopix: ")]
    assert "Traceback" not in result.output
    return str(line)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "harbors"
    pictures(root / "images", "a.png", "b.png")
    images = [{"id": n, "file_name": f"{name}.png", "height": 80, "width": 100} for n, name in enumerate("ab")]
    objects = [{"id": n, "image_id": 0, "category_id": 1, "segmentation": rle(n, n, 9, 9)} for n in range(8, 10)]
    put(
        root / "annotations.json", {"images": images, "categories": [{"id": 1, "name": "ship"}], "annotations": objects}
    )
    return root


def test_what_was_kept_and_left_out_is_told(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("coco", folder, "-o", out, "--as-split", "val", "--check", "pixels", "--incomplete")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[:5] == [["kept", "n"], ["images", "2"], ["images", "of", "val", "2"], ["objects", "1"], ["masks", "1"]]
    assert ["mask", "empty", "1", "harbors/a.png", "object", "2"] in rows
    assert f"wrote {out}" in result.stderr
    about = SetReader(out).about
    assert about.steps == (f"geopix data import coco {folder} -o {out} --as-split=val --check=pixels --incomplete",)
    assert "exists" in fails("coco", folder, "-o", out)
    assert run("coco", folder, "-o", out, "--overwrite", "--split", "train").exit_code == 0
    put(folder / "split.json", {"train": ["a.png"], "val": ["b.png"]})
    assert run("coco", folder, "-o", out, "--overwrite", "--split", "val").exit_code == 0
    assert [entry.key for entry in SetReader(out)] == ["harbors/b.png"]


def test_nothing_left_out_is_told_too(folder: Path, tmp_path: Path) -> None:
    put(folder / "annotations.json", {"images": [{"id": 1, "file_name": "a.png"}], "categories": [], "annotations": []})
    assert "nothing was left out" in run("coco", folder, "-o", tmp_path / "out").stdout


def test_what_can_not_be_done_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "'imagenet' is no kind of set: one of coco, dota, sior" in fails("imagenet", folder, "-o", out)
    assert "is no folder" in fails("coco", tmp_path / "none", "-o", out)
    assert "--check none" in fails("coco", folder, "--images", tmp_path / "none", "-o", out)
    (folder / "annotations.json").write_bytes(b"\xff\xfe{")
    assert "is not UTF-8 text" in fails("coco", folder, "-o", out)
    assert run("coco", folder).exit_code == 2
    assert run("coco", folder, "-o", out, "--split", "everything").exit_code == 2
    assert not out.exists()


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def test_a_hostile_pickle_is_a_row_of_the_table(tmp_path: Path) -> None:
    root = tmp_path / "sior"
    pictures(root / "images", "1.jpg", "2.jpg")
    (root / "ins").mkdir()
    (root / "ins" / "1.pkl").write_bytes(pickle.dumps([]))
    (root / "ins" / "2.pkl").write_bytes(pickle.dumps([Evil(tmp_path / "executed")]))
    result = run("sior", root, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "pickle that would run code" in result.stdout
    assert not (tmp_path / "executed").exists()


def test_control_characters_of_a_file_do_not_reach_the_terminal(folder: Path, tmp_path: Path) -> None:
    evil = {"id": 1, "file_name": "a\x1b[2J\u202e.png"}
    put(folder / "annotations.json", {"images": [evil, {"id": 2, "file_name": "b.png"}], "annotations": []})
    result = run("coco", folder, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "text with control characters" in result.stdout
    assert not {character for character in result.stdout if ord(character) < 32 or character == "\u202e"} - {"\n"}


def test_help_lists_every_kind_and_what_its_folder_holds() -> None:
    told = " ".join(run("--help").stdout.split())
    assert "geopix data import coco" in told
    for name, kind in KINDS.items():
        assert f"{name}: {kind.about.split(',')[0]}" in told
    assert "ins/*.pkl" in told
    assert "import" in runner.invoke(app, ["data", "--help"]).stdout
