"""The leak check: what is alike is found, and who goes is decided the same way everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from geopix.data.assembly import twins
from geopix.data.assembly.fingerprints import fingerprint
from geopix.data.assembly.recipe import Recipe, Twins
from geopix.data.assembly.run import REPORT, build
from geopix.data.assembly.twins import Pair, left_out, near
from geopix.data.entries import EntryError, SetReader
from tests.data.assembly.made import entry, make_set, ships

EXAMPLES = Path(__file__).parents[3] / "examples"
TRAIN, VAL, TEST, EVALUATION = range(4)


def bits_apart(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 30))
def test_pairs_are_those_of_a_plain_comparison(seed: int, count: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (4, 8), dtype=np.uint8)
    flips = (rng.random((count, 64)) < rng.choice([0.0, 0.05, 0.2], (count, 1))).astype(np.uint8)
    hashes = centres[rng.integers(0, 4, count)] ^ np.packbits(flips, axis=1)
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2, dtype=int)
    first_alike = [int(np.flatnonzero(apart[index] == 0)[0]) for index in range(count)]
    expected = [
        (i, j, int(apart[i, j]))
        for i in range(count)
        for j in range(i + 1, count)
        if apart[i, j] <= bits
        and (first_alike[j] == i if apart[i, j] == 0 else first_alike[i] == i and first_alike[j] == j)
    ]
    assert near(hashes, bits) == expected


def test_copies_of_a_picture_are_near_and_others_are_not(tmp_path: Path) -> None:
    with Image.open(EXAMPLES / "airport.jpg") as picture:
        original = picture.convert("RGB")
    width, height = original.size
    with Image.open(EXAMPLES / "ucmerced_baseballdiamond.jpg") as picture:
        other = picture.convert("RGB").resize(original.size)
    copies: dict[str, Image.Image] = {
        "copy.png": original,
        "poor.jpg": original,
        "half.png": original.resize((width // 2, height // 2)),
        "bright.png": ImageEnhance.Brightness(original).enhance(1.2),
        "cropped.png": original.crop((width // 100, height // 100, width * 99 // 100, height * 99 // 100)),
        "grey.png": original.convert("L"),
        "other.png": other,
    }
    for name, copy in copies.items():
        copy.save(tmp_path / name, quality=40)  # what is no JPEG takes no notice
    found = {name: fingerprint(name, tmp_path / name, None) for name in copies}
    first = found["copy.png"]
    assert not any(one.problem for one in found.values())
    for name, one in found.items():
        apart = bits_apart(first.perceptual, one.perceptual)
        assert apart > 76 if name == "other.png" else apart <= 48, f"{name} differs in {apart} bits"
    assert len({one.sha256 for one in found.values()}) == len(found)


def test_a_large_picture_is_seen_without_being_decoded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    with Image.open(EXAMPLES / "airport.jpg") as picture:
        picture.save(path)
        size_hw = (picture.height, picture.width)
    small = fingerprint("k", path, size_hw)
    for limit in (size_hw[0] * size_hw[1] - 1, 1000):  # where Pillow warns, and where it refuses
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        large = fingerprint("k", path, size_hw)
        assert large.sha256 == small.sha256
        assert bits_apart(large.perceptual, small.perceptual) <= 16
        assert fingerprint("k", path, (9, 9)).problem == "image size differs from its annotation"
    path.write_bytes(path.read_bytes()[:30])
    assert fingerprint("k", path, size_hw).problem == "image unreadable"


def test_too_many_pairs_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twins, "MOST_PAIRS", 2)
    hashes = np.array([[0], [1], [2], [3]], dtype=np.uint8)
    with pytest.raises(EntryError, match=r"more than 2 pairs .* lower twins.bits"):
        near(hashes, 2)


def pairs(*edges: tuple[int, int]) -> list[Pair]:
    return [Pair(first, second, 0, False, "leak") for first, second in edges]


def test_who_goes() -> None:
    ranks = np.array([TRAIN, TRAIN, VAL, TEST, EVALUATION, TRAIN, EVALUATION, TRAIN], dtype=np.uint8)
    both = Twins()
    assert left_out([], ranks, both) == {}
    assert left_out(pairs((0, 1)), ranks, both) == {1: "duplicate"}
    assert left_out(pairs((0, 2)), ranks, both) == {0: "leak"}
    assert left_out(pairs((0, 1), (1, 2)), ranks, both) == {0: "leak", 1: "leak"}  # all that hang together
    assert left_out(pairs((2, 3)), ranks, both) == {2: "leak"}
    assert left_out(pairs((3, 4)), ranks, both) == {3: "leak"}
    assert left_out(pairs((0, 4), (4, 6)), ranks, both) == {0: "leak"}  # evaluation sets are not ours to thin out
    assert left_out(pairs((0, 5), (0, 2), (1, 7)), ranks, Twins(leaks="report")) == {5: "duplicate", 7: "duplicate"}
    assert left_out(pairs((0, 5), (0, 2), (1, 7)), ranks, Twins(duplicates="report")) == {0: "leak", 5: "leak"}


def recipe(**more: Any) -> Recipe:
    return Recipe.model_validate({"name": "Toy-T", "sets": [{"path": "toy", "subset": "TOY_T"}], **more})


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """Six images: c is a in another split, d is b again, e is in the evaluation folder, f is like nothing."""
    splits = {"a": "train", "b": "train", "c": "val", "d": "train", "e": "train", "f": "train"}
    make_set(tmp_path / "toy", [entry(name, ships(5), split=split) for name, split in splits.items()])
    images = tmp_path / "toy-images"
    with Image.open(images / "a.png") as picture:
        picture.resize((40, 30)).resize((80, 60)).save(images / "c.png")
    (images / "d.png").write_bytes((images / "b.png").read_bytes())
    (tmp_path / "bench" / "deep").mkdir(parents=True)
    with Image.open(images / "e.png") as picture:
        picture.save(tmp_path / "bench" / "deep" / "e.jpg", quality=60)
    (tmp_path / "bench" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "bench" / "readme.txt").write_text("no picture either")
    return tmp_path


def report(folder: Path) -> list[tuple[str, str, str, bool, bool]]:
    rows = [json.loads(line) for line in (folder / REPORT).read_text().splitlines()]
    return [
        (row["kind"], row["first"]["key"], row["second"]["key"], row["first"]["left_out"], row["second"]["left_out"])
        for row in rows
    ]


def test_twins_are_dropped_and_reported(leaky: Path) -> None:
    built = build(recipe(evaluation=[{"path": "bench"}]), leaky, leaky / "out")
    assert [one.key for one in SetReader(leaky / "out")] == ["toy/b", "toy/c", "toy/f"]
    assert report(leaky / "out") == [
        ("leak", "toy/a", "toy/c", True, False),
        ("duplicate", "toy/b", "toy/d", False, True),
        ("leak", "toy/e", "deep/e.jpg", True, False),
    ]
    rows = [json.loads(line) for line in (leaky / "out" / REPORT).read_text().splitlines()]
    assert [row["same_file"] for row in rows] == [False, True, False]
    assert rows[2]["second"] == {"set": "bench", "key": "deep/e.jpg", "split": "evaluation", "left_out": False}
    assert built.tally.skipped == {
        "image: twin in another split or an evaluation set": 2,
        "image: twin in the same split": 1,
    }
    assert built.tally.counts["evaluation images of bench that can't be read"] == 1


def test_twins_may_only_be_reported(leaky: Path) -> None:
    build(recipe(twins={"leaks": "report", "duplicates": "report"}), leaky, leaky / "out")
    assert len(list(SetReader(leaky / "out"))) == 6
    assert [row[:3] for row in report(leaky / "out")] == [
        ("leak", "toy/a", "toy/c"),
        ("duplicate", "toy/b", "toy/d"),
    ]


def test_twins_may_be_refused(leaky: Path) -> None:
    with pytest.raises(EntryError, match=r"there are 1 pairs: they are listed in .*out.twins.jsonl"):
        build(recipe(twins={"leaks": "refuse"}), leaky, leaky / "out")
    assert not (leaky / "out").exists()
    assert len((leaky / "out.twins.jsonl").read_text().splitlines()) == 2


def test_a_set_may_be_the_evaluation_set(leaky: Path) -> None:
    make_set(leaky / "other", [entry("x", split="test"), entry("y", split="train")], seed=5)
    for name in ("x", "y"):
        picture = (leaky / "toy-images" / ("f.png" if name == "x" else "b.png")).read_bytes()
        (leaky / "other-images" / f"{name}.png").write_bytes(picture)
    build(recipe(evaluation=[{"path": "other"}]), leaky, leaky / "out")
    assert [one.key for one in SetReader(leaky / "out")] == ["toy/b", "toy/c", "toy/e"]
    with pytest.raises(EntryError, match="neither a set nor a folder of images"):
        build(recipe(evaluation=[{"path": "nowhere"}]), leaky, leaky / "out2")
