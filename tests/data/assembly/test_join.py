"""SIOR-T's join, on boxes worked out by hand: who gets which description, and what is counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from geopix.data.assembly.join import joined
from geopix.data.assembly.recipe import Join, Recipe
from geopix.data.assembly.run import build
from geopix.data.entries import Annotated, Entry, SetReader
from geopix.records import Box
from tests.data.assembly.made import entry, make_set, ships

RULE = Join(path=Path("rsvg"))
KEEP = Join(path=Path("rsvg"), undescribed="keep")


def told(box: Box, *descriptions: str, name: str = "ship") -> Annotated:
    """A described box without a mask."""
    return Annotated(name, box, descriptions=descriptions)


def image(*objects: Annotated) -> Entry:
    return Entry("k", "00001.jpg", (800, 800), objects)


def descriptions(made: Entry) -> list[tuple[str, ...]]:
    return [one.descriptions for one in made.objects]


@pytest.mark.parametrize(("apart", "matches"), [(0.0, True), (10.0, True), (10.5, False)])
@pytest.mark.parametrize("side", range(4))
def test_every_corner_within_ten_pixels(side: int, apart: float, matches: bool) -> None:
    box = [100.0, 100.0, 200.0, 200.0]
    moved = [*box]
    moved[side] += apart
    made, counts = joined(image(told((100, 100, 200, 200))), [image(told(tuple(moved), "the ship"))], KEEP)  # type: ignore[arg-type]
    assert descriptions(made) == [("the ship",) if matches else ()]
    assert counts["join: objects described"] == matches
    assert counts["join: objects without a description"] == (not matches)
    assert counts["join: described boxes without an object"] == (not matches)


def test_every_description_of_a_box_is_kept_once() -> None:
    box = (10.0, 10.0, 50.0, 50.0)
    partners = [image(told(box, "the ship"), told(box, "the grey ship"), told(box, "the ship")), image(told(box, "it"))]
    made, counts = joined(image(told(box, "an old one")), partners, RULE)
    assert descriptions(made) == [("an old one", "the ship", "the grey ship", "it")]
    assert counts["join: descriptions given"] == 3


def test_a_description_does_not_fall_to_the_neighbour() -> None:
    # Two ships eight pixels apart; only the left one has a mask, both have descriptions.
    left, right = (100.0, 100.0, 130.0, 110.0), (108.0, 100.0, 138.0, 110.0)
    made, counts = joined(image(told(left)), [image(told(right, "the right one"), told(left, "the left one"))], RULE)
    assert descriptions(made) == [("the left one",)]
    assert counts["join: described boxes without an object"] == 1
    # And the other way round: two masks, one description.
    made, counts = joined(image(told(left), told(right)), [image(told(right, "the right one"))], KEEP)
    assert descriptions(made) == [(), ("the right one",)]
    assert counts["join: objects without a description"] == 1


def test_classes_must_agree_where_both_are_known() -> None:
    box = (10.0, 10.0, 50.0, 50.0)
    partners = [image(told(box, "the dock", name="harbor"))]
    assert descriptions(joined(image(told(box)), partners, KEEP)[0]) == [()]
    loose = Join(path=Path("rsvg"), same_class=False)
    assert descriptions(joined(image(told(box)), partners, loose)[0]) == [("the dock",)]
    unknown = [image(told(box, "it", name="unknown"))]
    assert descriptions(joined(image(told(box)), unknown, RULE)[0]) == [("it",)]


def test_what_gets_no_description_goes_unless_it_is_wanted() -> None:
    box = (10.0, 10.0, 50.0, 50.0)
    ours, partner = image(told(box), told((300, 300, 400, 400))), image(told(box, "the ship"))
    made, _ = joined(ours, [partner], RULE)
    assert len(made.objects) == 1
    assert not made.complete
    made, _ = joined(ours, [partner], KEEP)
    assert len(made.objects) == 2
    assert made.complete


def test_a_partner_of_another_size_says_nothing() -> None:
    box = (10.0, 10.0, 50.0, 50.0)
    partner = replace(image(told(box, "the ship")), size_hw=(400, 400))
    made, counts = joined(image(told(box)), [partner], KEEP)
    assert descriptions(made) == [()]
    assert counts["join: partners of another size"] == 1
    assert counts["join: images without a partner"] == 0


def test_a_join_inside_a_build(tmp_path: Path) -> None:
    make_set(tmp_path / "masks", [entry(name, ships(5, 40)) for name in ("1", "2", "3")])
    right, left = ((42.0, 10.0, 50.0, 31.0), "the right ship"), ((5.0, 9.0, 13.0, 30.0), "the left ship")
    rows = [
        entry("1", [told(*right), told(*left)], key="rsvg/1", image="other/1.jpg"),
        entry("2", [told(*left)], key="rsvg/2"),
        entry("9", [told(*left)], key="rsvg/9"),
    ]
    make_set(tmp_path / "words", rows, seed=1)
    sets = [{"path": "masks", "subset": "SIOR_T", "join": {"path": "words"}}]
    recipe = Recipe.model_validate({"name": "t", "sets": sets})
    built = build(recipe, tmp_path, tmp_path / "out", workers=1)
    assert [descriptions(one) for one in SetReader(tmp_path / "out")] == [
        [("the left ship",), ("the right ship",)],
        [("the left ship",)],
    ]
    assert built.tally.skipped == {"image: no object with a description": 1}
    counts = {name: n for name, n in built.tally.counts.items() if name.startswith("join") and n}
    assert counts == {
        "join: objects described": 3,
        "join: descriptions given": 3,
        "join: objects without a description": 3,
        "join: images without a partner": 1,
        "join: images that the set lacks": 1,
    }
    parts = [build(recipe, tmp_path, tmp_path / f"part{i}", shard=(i, 2)) for i in (1, 2)]
    for name, n in counts.items():
        assert sum(part.tally.counts[name] for part in parts) == n
