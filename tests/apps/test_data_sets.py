"""``geopix data build`` and its neighbours, from recipe to tables: what users see, and one sentence where it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geopix.apps.cli import app
from geopix.data.entries import SetReader
from tests.data.assembly.made import entry, make_set, rectangle, ships

runner = CliRunner()
CROWD = [rectangle("ship", (left, 0, left + 4, 9), (60, 80)) for left in range(0, 60, 10)]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe beside the set that it names."""
    entries = [entry("one", ships(5)), entry("crowd", CROWD), entry("two", ships(9, 30), split="val")]
    make_set(tmp_path / "toy", entries)
    path = tmp_path / "recipe.yaml"
    path.write_text("name: Toy-T\nsets: [{path: toy, subset: TOY_T}]\n")
    return path


def run(*args: object) -> str:
    """A command that must work; what it prints on stdout."""
    result = runner.invoke(app, ["data", *map(str, args)])
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(*args: object, code: int = 1) -> str:
    """A command that must fail with one sentence; the sentence."""
    result = runner.invoke(app, ["data", *map(str, args)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.stderr.strip().splitlines()[-1]


def test_build_tells_what_was_kept_and_left_out(recipe: Path, tmp_path: Path) -> None:
    told = run("build", recipe, "-o", tmp_path / "out")
    assert "images whole" in told
    assert "image: too many of one class" in told
    assert [one.key for one in SetReader(tmp_path / "out")] == ["toy/one", "toy/two"]
    assert "exists" in fails("build", recipe, "-o", tmp_path / "out")
    run("build", recipe, "filter.max_per_class=9", "-o", tmp_path / "out", "--overwrite")
    assert len(list(SetReader(tmp_path / "out"))) == 3


def test_sets_may_lie_elsewhere(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    moved = recipe.rename(tmp_path / "configs" / "r.yaml")
    assert "is no set of annotations" in fails("build", moved, "-o", tmp_path / "out")
    run("build", moved, "--sets", tmp_path, "-o", tmp_path / "out")


def test_shards_and_fingerprints(recipe: Path, tmp_path: Path) -> None:
    assert "looked at" in run("fingerprint", tmp_path / "toy")
    for i in (1, 2):
        run("build", recipe, "-o", tmp_path / f"part{i}", "--shard", f"{i}/2")
    run("merge", tmp_path / "part1", tmp_path / "part2", "-o", tmp_path / "out")
    assert {one.key for one in SetReader(tmp_path / "out")} == {"toy/one", "toy/two"}
    assert "given are 1/2" in fails("merge", tmp_path / "part1", "-o", tmp_path / "again")


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2", "1/2/3", "²/3"])
def test_a_shard_is_a_part_of_a_whole(recipe: Path, tmp_path: Path, shard: str) -> None:
    result = runner.invoke(app, ["data", "build", str(recipe), "-o", str(tmp_path / "out"), f"--shard={shard}"])
    assert result.exit_code == 2
    assert "no part of a whole" in " ".join(result.output.split())


def test_stats_prints_tables_and_writes_the_figure(recipe: Path, tmp_path: Path) -> None:
    run("build", recipe, "-o", tmp_path / "out")
    told = run("stats", tmp_path / "out", "-o", tmp_path / "stats")
    assert "Table II" in told
    assert max(map(len, told.splitlines())) <= 80
    assert (tmp_path / "stats" / "fig4.png").read_bytes().startswith(b"\x89PNG")
    written = json.loads((tmp_path / "stats" / "stats.json").read_text())
    assert sorted(path.name for path in (tmp_path / "stats").iterdir()) == ["fig4.png", "stats.json"]
    assert written == json.loads(run("stats", tmp_path / "out", "--json"))
    assert [(row["subset"], row["split"], row["phi"]) for row in written["table 2"]] == [
        ("TOY_T", "train", 1.0),
        ("TOY_T", "val", 2.0),
    ]


def test_export_in_both_forms(recipe: Path, tmp_path: Path) -> None:
    run("build", recipe, "-o", tmp_path / "out")
    run("export", tmp_path / "out", "-o", tmp_path / "parquet", "--no-pictures")
    run("export", tmp_path / "out", "-o", tmp_path / "coco", "--format", "coco")
    assert sorted(path.name for path in (tmp_path / "parquet" / "data").iterdir()) == [
        "train.TOY_T-00000-of-00001.parquet",
        "valid.TOY_T-00000-of-00001.parquet",
    ]
    assert len(json.loads((tmp_path / "coco" / "instances.json").read_text())["annotations"]) == 3
    assert "is no set of annotations" in fails("export", tmp_path, "-o", tmp_path / "x")


def test_a_bad_recipe_is_named(recipe: Path, tmp_path: Path) -> None:
    assert "filter.max_totl" in fails("build", recipe, "filter.max_totl=3", "-o", tmp_path / "out")
    assert "can't be read as YAML" in fails("build", tmp_path / "none.yaml", "-o", tmp_path / "out")
