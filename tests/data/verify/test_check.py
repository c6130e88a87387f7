"""Descriptions held against a scene drawn by hand: what each means is known, and so is the verdict."""

from __future__ import annotations

import time

import numpy as np
import pytest

from geopix.data.entries import Annotated, Entry, EntryError
from geopix.data.verify.check import check, check_entry
from geopix.data.verify.grammar import read
from geopix.data.verify.scene import MOST_SEEN, Scene
from geopix.records import Box, encode_mask

NAMED: dict[str, tuple[str, Box]] = {
    # A row of four tennis courts near the upper edge, from left to right.
    "t1": ("tennis court", (100, 40, 150, 90)),
    "t2": ("tennis court", (160, 40, 210, 90)),
    "t3": ("tennis court", (220, 40, 270, 90)),
    "t4": ("tennis court", (280, 40, 330, 90)),
    "crossing": ("intersection", (20, 300, 90, 380)),
    "harbor": ("harbor", (400, 400, 560, 560)),
    "left ship": ("ship", (300, 455, 340, 485)),
    "upper ship": ("ship", (450, 330, 500, 380)),
    "corner ship": ("ship", (60, 540, 84, 560)),
    "stadium": ("stadium", (350, 100, 590, 300)),
    "field": ("ground track field", (380, 130, 560, 270)),
}
NAMES = list(NAMED)
SCENE = Scene(Entry("k", "k.png", (600, 600), tuple(Annotated(name, box) for name, box in NAMED.values())))


@pytest.mark.parametrize(
    ("text", "target"),
    [
        # Fig. 3's own sentences.
        ("the tennis court farthest to the left in the cluster near the upper edge of the image", "t1"),
        ("the second-from-the-left tennis court in the tennis courts near the upper edge", "t2"),
        ("the intersection located at the left of the image", "crossing"),
        # A place in the line, in a dozen ways.
        ("the second tennis court from the right in the row of four", "t3"),
        ("the third tennis court from the left in the row of four tennis courts at the top of the image", "t3"),
        ("the tennis court at the right end of the row", "t4"),
        ("The rightmost of the four tennis courts.", "t4"),
        ("the first of the tennis courts counting from the left", "t1"),
        ("the left-most tennis court", "t1"),
        ("the 2nd tennis court from the left", "t2"),
        ("the tennis court that is third from the left", "t3"),
        ("second leftmost tennis court", "t2"),
        # Places in the image.
        ("the ship in the lower left corner", "corner ship"),
        ("the ship at the bottom left of the image", "corner ship"),
        ("the ship near the left edge of the picture", "corner ship"),
        ("the ship in the left third", "corner ship"),
        ("A white ship in the lower left corner", "corner ship"),
        ("the harbour in the bottom right", "harbor"),
        ("the ship nearest to the lower left corner of the image", "corner ship"),
        # Beside, near, within other objects.
        ("the ship above the harbor", "upper ship"),
        ("the ship nearest to the harbor", "upper ship"),
        ("the ship closest to the stadium", "upper ship"),
        ("the ship farthest from the harbor", "corner ship"),
        ("The ground track field is in the stadium", "field"),
        ("the ship to the right of the second largest ship", "upper ship"),
        ("the ship that is larger than the other ships", "upper ship"),
        # Sizes and numbers.
        ("the largest ship", "upper ship"),
        ("the second largest ship", "left ship"),
        ("the smallest boat in the image", "corner ship"),
        ("the only harbor", "harbor"),
        ("the harbor", "harbor"),
        ("the middle ship", "left ship"),
        ("the object in the center of the stadium", "field"),
        ("the leftmost object near the upper edge", "t1"),
    ],
)
def test_unique(text: str, target: str) -> None:
    verdict = check(text, NAMES.index(target), SCENE)
    assert (verdict.outcome, verdict.reason) == ("unique", "")


@pytest.mark.parametrize(
    ("text", "target", "others"),
    [
        ("the ship", "left ship", {"upper ship", "corner ship"}),
        ("a tennis court near the upper edge", "t2", {"t1", "t3", "t4"}),
        ("the ship left of the harbor", "left ship", {"corner ship"}),
        ("the tennis court in the row", "t3", {"t1", "t2", "t4"}),
        ("the tennis court next to the other tennis courts", "t2", {"t1", "t3", "t4"}),
        ("the object in the image", "field", set(NAMES) - {"field"}),
        ("the ship next to the harbor", "upper ship", {"left ship"}),
        ("the ship to the right of the left ship", "upper ship", {"left ship"}),
        ("the ship near the lower edge", "corner ship", {"left ship"}),
    ],
)
def test_ambiguous(text: str, target: str, others: set[str]) -> None:
    verdict = check(text, NAMES.index(target), SCENE)
    assert verdict.outcome == "ambiguous"
    assert others <= {NAMES[index] for index in verdict.fits}
    assert all(str(NAMES.index(name)) in verdict.reason for name in sorted(others)[:1]) or "more" in verdict.reason


@pytest.mark.parametrize(
    ("text", "target", "why"),
    [
        ("the rightmost tennis court", "t1", "fits object 3"),
        ("the second tennis court from the left in the row of four", "t3", "fits object 1"),
        ("the ship in the upper right corner", "corner ship", "no object at all"),
        ("the larger of the two ships", "upper ship", "no object at all"),
        ("the ship in the row", "left ship", "no object at all"),
        ("the harbor above the ship nearest to the intersection", "harbor", "no object at all"),
        ("the bridge", "harbor", "not in the image (bridge)"),
        ("the ship near the bridge", "upper ship", "not in the image (bridge)"),
        ("the only ship", "upper ship", "no object at all"),
    ],
)
def test_false(text: str, target: str, why: str) -> None:
    verdict = check(text, NAMES.index(target), SCENE)
    assert verdict.outcome == "false"
    assert why in verdict.reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the left",
        "the foo ship",
        "the ship near the road",
        "ships near the upper edge",
        "the two ships",
        "the second ship",
        "the second ship in the row",
        "the ship the left",
        "the ship in the right corner",
        "the ship left the harbor",
        "the ship of the harbor",
        "the ship, which sails to Rotterdam",
        "船",
        "the ship " * 60,
        "the ship " + "left of the ship " * 20,
    ],
)
def test_unparsable(text: str) -> None:
    assert check(text, NAMES.index("left ship"), SCENE).outcome == "unparsable"


@pytest.mark.parametrize(
    "text",
    """The ship on the far right
    The airplane is on the left of the other airplane
    the vehicle is next to the overpass on the left
    The baseball field is on the lower left of the ground track field
    the topmost storage tank in the vertical line of tanks
    the second storage tank from the top in the right column
    the car farthest from the others
    the leftmost of the three ships docked at the harbor
    the ship in the middle of the image, to the left of the bridge
    the vehicle to the upper right of the storage tank in the center
    the vehicle above and to the left of the bridge
    the lower one of two vehicles
    the storage tank immediately to the right of the leftmost one
    the large ship docked at the left side of the harbor
    the third from the left among the four airplanes
    the ship that is the smallest of all
    the bottom-most of the group of three vehicles""".split("\n"),
)
def test_sentences_that_people_write_are_read(text: str) -> None:
    read(text.strip())


def test_colours_are_believed_where_they_are_not_needed_and_nowhere_else() -> None:
    def verdict(text: str, target: str) -> tuple[str, tuple[str, ...]]:
        found = check(text, NAMES.index(target), SCENE)
        return found.outcome, found.unseen

    assert verdict("the white ship in the lower left corner", "corner ship") == ("unique", ("white",))
    assert verdict("the white ship", "corner ship") == ("unparsable", ("white",))
    assert verdict("the leftmost white ship", "left ship") == ("unparsable", ("white",))
    assert verdict("the white ship in the upper left corner", "corner ship") == ("false", ("white",))


def test_what_is_not_annotated_is_no_lie_where_not_everything_is_annotated() -> None:
    entry = Entry("k", "k.png", (600, 600), (Annotated("ship", NAMED["left ship"][1]),), complete=False)
    assert check("the ship left of the bridge", 0, Scene(entry)).outcome == "unparsable"


def scene(*objects: tuple[str, Box] | tuple[str, Box, str], size_hw: tuple[int, int] = (400, 400)) -> Scene:
    made = (Annotated(name, box, category="".join(rest)) for name, box, *rest in objects)
    return Scene(Entry("k", "k.png", size_hw, tuple(made)))


def test_a_category_tells_apart_what_a_class_does_not() -> None:
    cars = scene(
        ("vehicle", (10, 10, 30, 20), "small-vehicle"),
        ("vehicle", (200, 10, 240, 30), "large-vehicle"),
        ("A220", (300, 300, 350, 350), "A220"),
    )
    assert check("the small vehicle", 0, cars).outcome == "unique"
    assert check("the large vehicle", 1, cars).outcome == "unique"
    assert check("the vehicle", 0, cars).outcome == "ambiguous"
    assert check("the airplane in the lower right corner", 2, cars).outcome == "unique"
    assert check("the A220", 2, cars).outcome == "unique"


def test_between_and_next_to() -> None:
    ships = scene(
        ("ship", (190, 190, 210, 210)),
        ("ship", (20, 190, 40, 210)),
        ("harbor", (80, 180, 120, 220)),
        ("bridge", (280, 180, 320, 220)),
    )
    assert check("the ship between the harbor and the bridge", 0, ships).outcome == "unique"
    assert check("the ship between the harbor and the bridge", 1, ships).outcome == "false"
    assert check("the harbor between the two ships", 2, ships).outcome == "unique"
    assert check("the bridge between the two ships", 3, ships).outcome == "false"
    moored = scene(("ship", (122, 190, 142, 210)), ("ship", (300, 20, 320, 40)), ("harbor", (80, 180, 120, 220)))
    assert check("the ship next to the harbor", 0, moored).outcome == "unique"
    assert check("the ship adjacent to the harbor", 1, moored).outcome == "false"


def test_two_groups_are_told_apart_by_their_place() -> None:
    boxes = [("ship", (x, y, x + 20, y + 20)) for y in (20, 360) for x in (100, 125, 150)]
    ships = scene(*boxes)
    assert check("the leftmost ship in the row", 0, ships).outcome == "ambiguous"
    assert check("the leftmost ship in the row near the lower edge", 3, ships).outcome == "unique"
    assert check("the leftmost ship in the upper row", 0, ships).outcome == "unique"
    assert check("the leftmost ship in the column near the lower edge", 3, ships).outcome == "false"


def test_places_in_a_cluster_are_not_places_in_the_image() -> None:
    boxes = [("ship", (x, y, x + 20, y + 20)) for y in (300, 330) for x in (300, 330)]
    ships = scene(*boxes)
    assert check("the ship in the upper left corner of the cluster", 0, ships).outcome == "unique"
    assert check("the ship in the upper left corner of the image", 0, ships).outcome == "false"
    assert check("the ship in the lower right corner", 3, ships).outcome == "ambiguous"


def test_what_only_a_ruler_tells_is_ambiguous() -> None:
    level = scene(("ship", (100, 100, 140, 140)), ("ship", (300, 102, 340, 142)))
    assert check("the upper ship", 0, level).outcome == "ambiguous"
    assert check("the left ship", 0, level).outcome == "unique"
    alike = scene(("ship", (100, 100, 140, 140)), ("ship", (300, 100, 341, 140)))
    assert check("the larger ship", 1, alike).outcome == "ambiguous"
    twins = scene(("ship", (100, 100, 140, 140)), ("ship", (100, 100, 140, 140)))
    assert check("the leftmost ship", 0, twins).outcome == "ambiguous"


def test_size_is_what_the_masks_cover() -> None:
    thin, full = np.zeros((100, 100), dtype=np.bool_), np.zeros((100, 100), dtype=np.bool_)
    thin[0:50, 0:5] = thin[0:5, 0:50] = True
    full[60:95, 60:95] = True
    ships = [
        Annotated("ship", (0, 0, 50, 50), encode_mask(thin)["counts"]),
        Annotated("ship", (60, 60, 95, 95), encode_mask(full)["counts"]),
    ]
    assert check("the larger ship", 1, Scene(Entry("k", "k.png", (100, 100), tuple(ships)))).outcome == "unique"
    boxes = [Annotated(one.class_name, one.box_xyxy_px) for one in ships]
    assert check("the larger ship", 0, Scene(Entry("k", "k.png", (100, 100), tuple(boxes)))).outcome == "unique"


def test_a_broken_mask_is_told_when_it_is_needed() -> None:
    broken = tuple(Annotated("ship", (x, 0.0, x + 9, 9.0), "oooooooo") for x in (0.0, 50.0))
    view = Scene(Entry("k", "k.png", (100, 100), broken))
    assert check("the left ship", 0, view).outcome == "unique"
    with pytest.raises(EntryError, match="mask of the wrong size"):
        check("the larger ship", 0, view)


def test_every_description_of_an_image_is_checked_with_its_arrangement() -> None:
    objects = (
        Annotated("ship", (10, 10, 30, 30), descriptions=("the upper left ship", "the ship")),
        Annotated("ship", (300, 300, 320, 320), descriptions=("the upper left ship",), arrangement="cluster"),
        Annotated("ship", (300, 100, 320, 120)),
    )
    rows = [(i, kind, verdict.outcome) for i, kind, _, verdict in check_entry(Entry("k", "k.png", (400, 400), objects))]
    assert rows == [(0, "isolated", "unique"), (0, "isolated", "ambiguous"), (1, "cluster", "false")]


@pytest.mark.parametrize("box", [(5.0, 5.0, 5.0, 9.0), (float("nan"), 0.0, 5.0, 5.0), (0.0, 0.0, 999.0, 5.0)])
def test_boxes_that_can_not_be_are_refused(box: Box) -> None:
    with pytest.raises(EntryError):
        scene(("ship", box))


def test_a_crowd_is_refused_and_a_full_image_is_read_in_time() -> None:
    crowd = [
        ("ship", (float(5 * (i % 60)), float(5 * (i // 60)), 5.0 * (i % 60) + 4, 5.0 * (i // 60) + 4))
        for i in range(301)
    ]
    with pytest.raises(EntryError, match="too many objects"):
        scene(*crowd)
    full = scene(*crowd[:MOST_SEEN])
    start = time.perf_counter()
    nested = check("the ship left of the other ship left of the other ship nearest to the other ship", 0, full)
    assert (nested.outcome, nested.reason) == ("unparsable", "it can't be read: there is too much to compare in it")
    assert check("the ship nearest to the upper left corner", 0, full).outcome == "ambiguous"
    assert time.perf_counter() - start < 20
