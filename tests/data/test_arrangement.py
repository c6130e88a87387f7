"""Arrangements drawn by hand: who stands together, in a line or not, in which order, and where inside."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from geopix.data.arrangement import arrange, gap_px
from geopix.records import Box


def drawn(picture: str, cell: float = 40.0, size: float = 26.0) -> tuple[list[Box], list[str]]:
    """Boxes and classes of a picture in letters: every letter is an object, and its class; read row by row."""
    boxes, classes = [], []
    for row, line in enumerate(picture.strip("\n").split("\n")):
        for column, letter in enumerate(line):
            if letter not in " .":
                x, y = column * cell, row * cell
                boxes.append((x, y, x + size, y + size))
                classes.append(letter)
    return boxes, classes


def found(picture: str) -> list[tuple[str, str, tuple[int, ...]]]:
    boxes, classes = drawn(picture)
    return [(group.kind, group.direction, group.members) for group in arrange(boxes, classes)]


@pytest.mark.parametrize(
    ("picture", "groups"),
    [
        ("s....s", [("isolated", "", (0,)), ("isolated", "", (1,))]),
        ("ss", [("cluster", "", (0, 1))]),
        ("sss", [("line", "across", (0, 1, 2))]),
        ("s\ns\ns\ns", [("line", "down", (0, 1, 2, 3))]),
        ("s..\n.s.\n..s", [("line", "falling", (0, 1, 2))]),
        ("..s\n.s.\ns..", [("line", "rising", (2, 1, 0))]),
        ("ss\nss", [("cluster", "", (0, 1, 2, 3))]),
        ("sss\ns..", [("cluster", "", (0, 1, 2, 3))]),
        (".s.\ns.s", [("cluster", "", (0, 1, 2))]),
        ("sss....s", [("line", "across", (0, 1, 2)), ("isolated", "", (3,))]),
        ("sss\n...\n...\n...\nsss", [("line", "across", (0, 1, 2)), ("line", "across", (3, 4, 5))]),
        ("sts", [("isolated", "", (0,)), ("isolated", "", (1,)), ("isolated", "", (2,))]),
        ("stst", [("isolated", "", (0,)), ("isolated", "", (1,)), ("isolated", "", (2,)), ("isolated", "", (3,))]),
        ("ssss\ntt..", [("line", "across", (0, 1, 2, 3)), ("cluster", "", (4, 5))]),
    ],
)
def test_drawn_by_hand(picture: str, groups: list[tuple[str, str, tuple[int, ...]]]) -> None:
    assert found(picture) == groups


def test_a_line_is_ordered_whatever_the_order_of_the_boxes() -> None:
    boxes, classes = drawn("ssss")
    shuffled = [2, 0, 3, 1]
    (group,) = arrange([boxes[index] for index in shuffled], classes)
    assert [shuffled[index] for index in group.members] == [0, 1, 2, 3]


def test_places_in_a_cluster_are_shares_of_what_the_centres_span() -> None:
    (group,) = arrange(*drawn("ss\ns."))
    assert group.places == ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    (alone,) = arrange(*drawn("s"))
    assert alone.places == ((0.5, 0.5),)


def row(gaps: Sequence[float], lifts: Sequence[float] = (), size: float = 20.0) -> list[Box]:
    boxes, x = [], 0.0
    for index in range(len(gaps) + 1):
        y = 100 + (lifts[index] if lifts else 0.0)
        boxes.append((x, y, x + size, y + size))
        x += size + (gaps[index] if index < len(gaps) else 0)
    return boxes


def kinds(boxes: list[Box], reach: float = 1.0) -> list[str]:
    return [group.kind for group in arrange(boxes, ["s"] * len(boxes), reach)]


def test_neighbours_are_a_size_apart_at_most() -> None:
    assert kinds(row([20.0])) == ["cluster"]
    assert kinds(row([20.1])) == ["isolated", "isolated"]
    assert kinds(row([20.1]), reach=1.1) == ["cluster"]


def test_a_line_may_bend_a_little() -> None:
    assert kinds(row([10, 10, 10], (0, 4, 0, 4))) == ["line"]
    assert kinds(row([10, 10, 10], (0, 16, 0, 16))) == ["cluster"]


def test_ships_moored_side_by_side_are_a_line_though_each_is_longer_than_their_row() -> None:
    boxes: list[Box] = [(30.0 * k, 100.0 + 6 * (k % 2), 30.0 * k + 22, 260.0 + 6 * (k % 2)) for k in range(4)]
    (group,) = arrange(boxes, ["s"] * 4)
    assert (group.kind, group.direction, group.members) == ("line", "across", (0, 1, 2, 3))


def test_objects_on_top_of_one_another_are_no_line() -> None:
    assert kinds([(0, 0, 20, 20), (1, 0, 21, 20), (60, 0, 80, 20), (30, 0, 50, 20)]) == ["cluster"]
    assert kinds([(5, 5, 9, 9)] * 3) == ["cluster"]


def test_a_turn_of_the_image_turns_the_direction() -> None:
    boxes, classes = drawn("s..\n.s.\n..s")
    mirrored = [(200 - x2, y1, 200 - x1, y2) for x1, y1, x2, y2 in boxes]
    upright = [(y1, x1, y2, x2) for x1, y1, x2, y2 in drawn("sss")[0]]
    assert arrange(mirrored, classes)[0].direction == "rising"
    assert arrange(upright, classes)[0].direction == "down"


def test_gap_is_measured_between_edges() -> None:
    assert gap_px((0, 0, 10, 10), (13, 14, 20, 20)) == 5.0
    assert gap_px((0, 0, 10, 10), (5, 5, 20, 20)) == 0.0


def test_nothing_is_arranged_in_an_empty_image() -> None:
    assert arrange([], []) == []
