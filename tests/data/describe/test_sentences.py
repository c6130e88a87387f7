"""What the describer says of layouts drawn by hand: the paper's form first, and nothing where there is a doubt."""

from __future__ import annotations

import pytest

from geopix.data.describe.sentences import sentences
from geopix.records import Box, Instance
from tests.tiny import boxed

SIZE = (600, 600)


def said(*boxes: tuple[str, Box]) -> list[tuple[str, ...]]:
    return sentences([boxed(name, box) for name, box in boxes], SIZE)


def row(count: int, left: float, top: float, name: str = "ship") -> list[tuple[str, Box]]:
    return [(name, (left + 40 * k, top, left + 40 * k + 30, top + 30)) for k in range(count)]


def test_a_line_tells_the_place_in_it_and_then_its_own() -> None:
    first, second, third = said(*row(3, 240, 40))
    assert first[0] in (
        "the ship farthest to the left in the row of three ships near the upper edge of the image",
        "the ship at the left end of the row of three ships near the upper edge of the image",
    )
    assert second[0] in (
        "the second ship from the left in the row of three ships near the upper edge of the image",
        "the second ship from the right in the row of three ships near the upper edge of the image",
    )
    assert "right" in third[0]


def test_a_longer_line_is_counted_from_its_nearer_end() -> None:
    texts = said(*row(4, 200, 40))
    assert texts[1][0] == "the second ship from the left in the row of four ships near the upper edge of the image"
    assert texts[2][0] == "the second ship from the right in the row of four ships near the upper edge of the image"


def test_a_column_and_a_slanting_line() -> None:
    column = said(*(("ship", (300.0, 200.0 + 40 * k, 330.0, 230.0 + 40 * k)) for k in range(3)))
    assert any(text.startswith("the ship at the upper end of the column of three ships") for text in column[0])
    falling = said(*(("ship", (200.0 + 40 * k, 200.0 + 40 * k, 230.0 + 40 * k, 230.0 + 40 * k)) for k in range(3)))
    assert any(text.startswith("the ship farthest to the right in the line of three ships") for text in falling[2])


def test_a_cluster_tells_the_corner() -> None:
    cluster = said(*row(2, 480, 500), *row(2, 480, 540))
    assert (
        "the ship in the upper left corner of the cluster of four ships in the lower right corner of the image"
        in cluster[0]
    )
    assert (
        "the ship in the lower right corner of the cluster of four ships in the lower right corner of the image"
        in cluster[3]
    )


def test_a_pair() -> None:
    left, right = said(*row(2, 20, 300))
    assert left[0] == "the left ship of the pair near the left edge of the image"
    assert right[0] == "the right ship of the pair near the left edge of the image"


def test_two_groups_of_a_class_are_told_apart_by_their_place_or_not_at_all() -> None:
    texts = said(*row(3, 240, 40), *row(3, 240, 530))
    assert all("upper edge" in text or "lower edge" in text for mine in texts for text in mine if " row " in text)
    close = said(*row(3, 100, 280), *row(3, 400, 320))
    assert not any(text.endswith(" row of three ships") for mine in close for text in mine)


def test_alone_in_the_image_and_alone_among_groups() -> None:
    (only,) = said(("ship", (20, 20, 50, 50)))
    assert "the ship in the upper left corner of the image" in only
    assert "the only ship in the image" in only
    *_, alone = said(*row(3, 240, 40), ("ship", (100, 400, 130, 430)))
    assert "the isolated ship" in alone


def test_something_of_which_there_is_one_is_a_landmark() -> None:
    near, far, _ = said(("ship", (250, 300, 280, 330)), ("ship", (20, 310, 50, 340)), ("harbor", (300, 280, 360, 340)))
    assert "the ship nearest to the harbor" in near
    assert "the ship farthest from the harbor" in far
    assert not any("left of the harbor" in text for text in near)  # both are


def test_halves_help_where_the_whole_does_not() -> None:
    boxes: list[tuple[str, Box]] = [("ship", (x, y, x + 30, y + 30)) for x in (60.0, 500.0) for y in (100.0, 400.0)]
    texts = said(*boxes)
    assert "the first ship from the top in the left half of the image" in texts[0]


@pytest.mark.parametrize("apart", [0.0, 2.0])
def test_where_geometry_can_not_tell_nothing_is_said(apart: float) -> None:
    assert said(("ship", (300, 300, 330, 330)), ("ship", (300 + apart, 300, 330 + apart, 330))) == [(), ()]


def test_a_finer_class_is_no_way_out() -> None:
    texts = sentences([boxed("ship", (100, 100, 130, 130)), boxed("motorboat", (100, 100, 132, 132))], SIZE)
    assert not any(text in ("the ship", "the only ship in the image") for text in texts[0])


def test_the_key_picks_among_wordings_and_nothing_else() -> None:
    objects: list[Instance] = [boxed(name, box) for name, box in row(4, 200, 40)]
    one, other = sentences(objects, SIZE, "a"), sentences(objects, SIZE, "b")
    assert [set(mine) for mine in one] == [set(mine) for mine in other]
    assert sentences(objects, SIZE, "a") == one
