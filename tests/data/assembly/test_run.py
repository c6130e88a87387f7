"""Building a set: what comes out, the same from any number of workers and shards, and nothing half-written."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geopix.data.assembly.merge import merge
from geopix.data.assembly.pool import PoolError
from geopix.data.assembly.recipe import Recipe
from geopix.data.assembly.run import REPORT, build
from geopix.data.assembly.work import Tally
from geopix.data.entries import ENTRIES, Annotated, Entry, EntryError, SetReader
from tests.data.assembly.made import entry, make_set, noise, rectangle, ships


def recipe(**more: Any) -> Recipe:
    return Recipe.model_validate({"name": "Toy-T", "sets": [{"path": "toy", "subset": "TOY_T"}], **more})


def kept(folder: Path) -> list[str]:
    return [one.key.removeprefix("toy/") for one in SetReader(folder)]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file and link below a folder, with what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = os.fsencode(path.readlink())
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def many(count: int) -> list[Entry]:
    """Images of which every third has to be cut into windows, some of another split."""
    made = []
    for number in range(count):
        objects = ships(*range(2, 72, 10)) if number % 3 == 0 else ships(5 + number % 40)
        made.append(entry(f"{number:03}", objects, split="val" if number % 5 == 0 else "train"))
    return made


def test_the_filter_keeps_and_counts(tmp_path: Path) -> None:
    crowd = [rectangle(f"class {number}", (number, 0, number + 1, 1), (60, 80)) for number in range(12)]
    entries = [entry("four", ships(1, 11, 21, 31)), entry("five", ships(1, 11, 21, 31, 41)), entry("none")]
    make_set(tmp_path / "toy", [*entries, entry("eleven", crowd[:11]), entry("twelve", crowd)])
    built = build(recipe(), tmp_path, tmp_path / "out")
    assert kept(tmp_path / "out") == ["four", "eleven"]
    assert built.tally.skipped == {
        "image: too many of one class": 1,
        "image: no object": 1,
        "image: too many objects": 1,
    }
    about = SetReader(tmp_path / "out").about
    assert about.counts == {"images": 2, "images whole": 2, "objects": 15, "read: images": 5, "read: objects": 32}
    assert about.skipped == dict(built.tally.skipped)
    assert about.sources == {"toy": "made by script, public domain"}
    assert about.steps[0] == "make toy"
    assert "Toy-T" in about.steps[1]


def test_the_numbers_of_the_filter_are_settings(tmp_path: Path) -> None:
    van, car = (rectangle("vehicle", (left, 0, left + 9, 9), (60, 80)) for left in (0, 20))
    two = (replace(van, category="van"), replace(car, category="car"))
    make_set(tmp_path / "toy", [entry("two", two), entry("ships", ships(1, 11))])
    build(recipe(filter={"max_per_class": 1}), tmp_path, tmp_path / "a")
    assert kept(tmp_path / "a") == ["two"]  # the source calls them differently
    build(recipe(filter={"max_per_class": 2, "count_by": "class"}), tmp_path, tmp_path / "b")
    assert kept(tmp_path / "b") == ["two", "ships"]
    with pytest.raises(EntryError, match="nothing is left of Toy-T"):
        build(recipe(filter={"max_total": 1}), tmp_path, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_what_was_built_reads_with_its_pictures(tmp_path: Path) -> None:
    make_set(tmp_path / "toy", [entry("one", ships(20), captions=("A ship.",))])
    build(recipe(), tmp_path, tmp_path / "out")
    reader = SetReader(tmp_path / "out")
    (found,) = reader
    assert (found.image, found.subset, found.captions) == ("TOY_T/whole/one.png", "TOY_T", ("A ship.",))
    assert found.sample(reader.images).image.shape == (60, 80, 3)


def test_a_crowded_image_is_cut_into_windows_that_pass(tmp_path: Path) -> None:
    objects = tuple(replace(one, descriptions=("the ship",)) for one in ships(*range(2, 72, 10)))
    make_set(tmp_path / "toy", [entry("row", objects, captions=("Seven ships.",))])
    built = build(recipe(windows={"sides": [40], "overlap": 0.5}), tmp_path, tmp_path / "out")
    reader = SetReader(tmp_path / "out")
    windows = list(reader)
    assert [one.key for one in windows] == ["toy/row#0,0,40,40", "toy/row#40,0,40,40"]  # 20,0 adds less
    assert [[one.box_xyxy_px for one in window.objects] for window in windows] == [
        [(2.0, 10.0, 10.0, 30.0), (12.0, 10.0, 20.0, 30.0), (22.0, 10.0, 30.0, 30.0), (32.0, 10.0, 40.0, 30.0)],
        [(2.0, 10.0, 10.0, 30.0), (12.0, 10.0, 20.0, 30.0), (22.0, 10.0, 30.0, 30.0)],
    ]
    assert all(one.descriptions == () for window in windows for one in window.objects)
    assert windows[0].captions == ()
    with Image.open(tmp_path / "toy-images" / "row.png") as whole:
        expected = np.asarray(whole)[:40, 40:]
    assert np.array_equal(windows[1].sample(reader.images).image, expected)
    assert built.tally.counts["images cut into windows"] == 1
    assert built.tally.counts["windows"] == 2
    assert built.tally.counts["descriptions lost to windows"] == 7


def test_large_images_are_never_whole(tmp_path: Path) -> None:
    make_set(tmp_path / "toy", [entry("one", ships(50))])
    windows = {"sides": [40], "larger_than": 70, "crowded": False}
    build(recipe(windows=windows), tmp_path, tmp_path / "out")
    assert kept(tmp_path / "out") == ["one#20,0,40,40"]


def test_the_files_are_the_same_from_any_number_of_workers(tmp_path: Path) -> None:
    make_set(tmp_path / "toy", many(150))
    chosen = recipe(windows={"sides": [40, 32]})
    for workers in (1, 2, 3):
        build(chosen, tmp_path, tmp_path / f"out{workers}", workers=workers)
    trees = [tree(tmp_path / f"out{workers}") for workers in (1, 2, 3)]
    assert trees[0] == trees[1] == trees[2]
    assert len(trees[0]) > 100


def test_shards_together_are_the_whole_set(tmp_path: Path) -> None:
    make_set(tmp_path / "toy", many(60))
    for number in (7, 8):
        noise(number).save(tmp_path / "toy-images" / f"{number + 20:03}.png")
    chosen = recipe(windows={"sides": [40]})
    whole = build(chosen, tmp_path, tmp_path / "whole")
    shards = [tmp_path / f"shard{i}" for i in (1, 2, 3)]
    parts = [build(chosen, tmp_path, shard, shard=(i, 3)) for i, shard in enumerate(shards, start=1)]
    keys = [set(kept(shard)) for shard in shards]
    assert all(keys)
    assert not keys[0] & keys[1]
    assert keys[0] | keys[1] | keys[2] == set(kept(tmp_path / "whole"))
    assert sum(part.n_pairs for part in parts) == whole.n_pairs == 2
    about = merge(shards[::-1], tmp_path / "merged")
    assert about == SetReader(tmp_path / "whole").about
    for file in (ENTRIES, REPORT):
        ours, theirs = ((tmp_path / name / file).read_bytes().splitlines() for name in ("merged", "whole"))
        assert sorted(ours) == sorted(theirs)
    assert tree(tmp_path / "merged" / "images") == tree(tmp_path / "whole" / "images")


def test_only_all_shards_of_one_recipe_are_merged(tmp_path: Path) -> None:
    make_set(tmp_path / "toy", many(20))
    for i in (1, 2):
        build(recipe(), tmp_path, tmp_path / f"shard{i}", shard=(i, 2))
    build(recipe(filter={"max_total": 9}), tmp_path, tmp_path / "other", shard=(2, 2))
    build(recipe(), tmp_path, tmp_path / "whole")
    for wrong, complaint in (
        (["shard1"], "given are 1/2"),
        (["shard1", "shard1"], "given are 1/2, 1/2"),
        (["whole"], "given are 0/0"),
        ([], "given are none"),
        (["shard1", "other"], "built otherwise"),
    ):
        with pytest.raises(EntryError, match=complaint):
            merge([tmp_path / name for name in wrong], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def noted(one: Entry, tally: Tally) -> Entry | None:
    """A step of the kind that describes or verifies."""
    if len(one.objects) > 1:
        tally.skipped["image: more than one"] += 1
        return None
    tally.counts["noted"] += 1
    return replace(one, objects=tuple(replace(thing, arrangement="isolated") for thing in one.objects))


@pytest.mark.parametrize("workers", [1, 2])
def test_steps_finish_what_stays(tmp_path: Path, workers: int) -> None:
    make_set(tmp_path / "toy", [entry("one", ships(3)), entry("two", ships(3, 20)), entry("none")])
    built = build(recipe(), tmp_path, tmp_path / "out", steps=(noted,), workers=workers)
    assert [thing.arrangement for one in SetReader(tmp_path / "out") for thing in one.objects] == ["isolated"]
    assert built.tally.counts["noted"] == 1
    assert built.tally.skipped == {"image: more than one": 1, "image: no object": 1}


@pytest.mark.parametrize("verify", ["off", "count", "drop"])
def test_descriptions_are_held_against_their_image(tmp_path: Path, verify: str) -> None:
    left = rectangle("ship", (3, 10, 11, 30), (60, 80), "the leftmost ship", "the ship")
    right = rectangle("ship", (60, 10, 68, 30), (60, 80), "the leftmost ship", "the ship of my uncle")
    make_set(tmp_path / "toy", [entry("one", [left, right])])
    built = build(recipe(verify=verify), tmp_path, tmp_path / "out")
    told = [list(thing.descriptions) for one in SetReader(tmp_path / "out") for thing in one.objects]
    outcomes = {name: n for name, n in built.tally.counts.items() if name.startswith("descriptions")}
    if verify == "drop":
        assert told == [["the leftmost ship"], ["the ship of my uncle"]]
        assert built.tally.skipped == {"description: ambiguous": 1, "description: false": 1}
    else:
        assert told == [list(left.descriptions), list(right.descriptions)]
        assert not built.tally.skipped
    found = {"unique": 1, "ambiguous": 1, "false": 1, "unparsable": 1}
    assert outcomes == ({} if verify == "off" else {f"descriptions: {name}": n for name, n in found.items()})


def test_bad_objects_and_images_are_counted(tmp_path: Path) -> None:
    flat = Annotated("ship", (4.0, 4.0, 4.0, 9.0))
    wide = replace(ships(5)[0], counts=rectangle("ship", (1, 1, 2, 2), (60, 81)).counts)
    good = ships(5)
    names = ("bad objects", "missing", "broken", "resized", "good")
    entries = [entry(name, (*good, flat, wide) if name == "bad objects" else good) for name in names]
    make_set(tmp_path / "toy", [*entries, replace(entries[-1], image="elsewhere.png")])
    images = tmp_path / "toy-images"
    (images / "missing.png").unlink()
    (images / "broken.png").write_bytes((images / "good.png").read_bytes()[:200])
    noise(9, (61, 80)).save(images / "resized.png")
    built = build(recipe(), tmp_path, tmp_path / "out")
    assert kept(tmp_path / "out") == ["bad objects", "good"]
    assert built.tally.skipped == {
        "object: box degenerate": 1,
        "object: mask of the wrong size": 1,
        "image: missing": 1,
        "image: unreadable": 1,
        "image: size differs from its annotation": 1,
        "image: duplicate key": 1,
    }
    first = next(iter(SetReader(tmp_path / "out")))
    assert not first.complete


def test_a_set_with_a_bad_line_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    make_set(tmp_path / "toy", [entry("good", ships(5))])
    lines = tmp_path / "toy" / ENTRIES
    lines.write_text(lines.read_text() + lines.read_text().replace("good.png", "../../secret.png"))
    with pytest.raises(EntryError, match="line 2: image path leaves its folder"):
        build(recipe(), tmp_path, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy", "toy-images"]


def test_annotations_alone_need_no_pictures(tmp_path: Path) -> None:
    make_set(tmp_path / "toy", [entry("one", ships(5)), entry("two", ships(5))])
    for picture in (tmp_path / "toy-images").iterdir():
        picture.unlink()
    build(recipe(pixels=False), tmp_path, tmp_path / "out")
    assert kept(tmp_path / "out") == ["one", "two"]


def dies(one: Entry, tally: Tally) -> Entry | None:
    os._exit(9)


def test_a_worker_that_dies_is_told_in_a_sentence(tmp_path: Path) -> None:
    make_set(tmp_path / "toy", [entry("one", ships(5))])
    with pytest.raises(PoolError, match="fewer --workers"):
        build(recipe(), tmp_path, tmp_path / "out", steps=(dies,), workers=2)
    assert not (tmp_path / "out").exists()


def test_several_sets_keep_apart(tmp_path: Path) -> None:
    make_set(tmp_path / "toy", [entry("one", ships(5))])
    make_set(tmp_path / "more", [entry("two", ships(5)), entry("one", ships(5))], seed=1)
    sets = [{"path": "toy", "subset": "A"}, {"path": "more", "subset": "B"}]
    built = build(recipe(sets=sets), tmp_path, tmp_path / "out")
    assert [(one.subset, one.image) for one in SetReader(tmp_path / "out")] == [
        ("A", "A/whole/one.png"),
        ("B", "B/whole/two.png"),
    ]
    assert built.tally.skipped == {"image: duplicate key": 1}
    assert set(SetReader(tmp_path / "out").about.sources) == {"toy", "more"}
