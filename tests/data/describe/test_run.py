"""A whole set described by code alone: what is kept, what is dropped and why, what is left as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from geopix.data.describe.geometry import Geometry
from geopix.data.describe.run import describe_set
from geopix.data.describe.settle import Wish, settle
from geopix.data.describe.task import Task
from geopix.data.entries import Annotated, Entry, EntryError, SetReader
from geopix.data.verify.rates import check_set
from tests.data.describe.sets import entries, make
from tests.data.verify.layouts import layout


def test_geometry_describes_a_set_and_everything_it_says_is_unique(tmp_path: Path) -> None:
    made = [replace(layout(seed), image=f"{seed}.png", size_hw=(120, 120), objects=()) for seed in range(2)]
    made += [replace(entry, key=f"x/{entry.key}") for entry in entries(5)]
    reader = make(tmp_path / "set", made)
    told = describe_set(reader, tmp_path / "out", Geometry(), Wish(wordings=3), step="geopix data describe")
    result = SetReader(tmp_path / "out")
    assert [entry.key for entry in result] == [entry.key for entry in made]
    rates = check_set(result)
    assert rates.total() == rates.total("unique") == told.counts["descriptions"] > told.counts["described"] == 12
    assert result.about.steps == ("geopix data describe",)
    assert result.about.counts["describe: unique"] == rates.total()
    assert result.images.samefile(tmp_path / "pictures")


def test_on_random_layouts_all_is_unique_and_arranged() -> None:
    seen = set()
    for seed in range(100, 130):
        settled = settle(layout(seed), Path(), Geometry(), Wish(wordings=2))
        assert not settled.counts["ambiguous"] + settled.counts["false"] + settled.counts["unparsable"]
        assert set(settled.dropped) <= {"nothing can be said that means it alone"}
        seen |= {one.arrangement for one in settled.entry.objects}
    assert seen == {"isolated", "line", "cluster"}


def test_what_is_described_already_is_left_unless_one_wants_it_anew() -> None:
    entry = entries(1)[0]
    mine = replace(entry.objects[0], descriptions=("my own words",))
    entry = replace(entry, objects=(mine, *entry.objects[1:]))
    settled = settle(entry, Path(), Geometry(), Wish())
    assert settled.entry.objects[0].descriptions == ("my own words",)
    assert settled.counts["described"] == 2
    again = settle(entry, Path(), Geometry(), Wish(again=True))
    assert again.entry.objects[0].descriptions != ("my own words",)
    assert again.counts["described"] == 3


def test_twins_stay_silent_and_are_counted() -> None:
    twins = tuple(Annotated("ship", (5.0, 5.0, 9.0, 9.0)) for _ in range(2))
    settled = settle(Entry("k", "k.png", (50, 50), twins), Path(), Geometry(), Wish())
    assert settled.dropped == {"nothing can be said that means it alone": 2}


def test_a_crowd_and_a_broken_box_are_reported() -> None:
    crowd = tuple(Annotated("ship", (5.0, 5.0, 9.0, 9.0)) for _ in range(301))
    assert settle(Entry("k", "k.png", (50, 50), crowd), Path(), Geometry(), Wish()).dropped == {
        "too many objects to describe": 301
    }
    bad = (Annotated("ship", (5.0, 5.0, 5.0, 9.0)),)
    assert settle(Entry("k", "k.png", (50, 50), bad), Path(), Geometry(), Wish()).dropped == {"box degenerate": 1}
    torn = (Annotated("ship", (5.0, 5.0, 9.0, 9.0), "oooo"),)
    assert settle(Entry("k", "k.png", (50, 50), torn), Path(), Geometry(), Wish()).dropped == {
        "annotations can't be used": 1
    }


def test_a_class_that_pretends_to_be_a_token_is_refused_from_whoever_says_it() -> None:
    entry = Entry("k", "k.png", (50, 50), (Annotated("[SEG]", (5.0, 5.0, 9.0, 9.0)),))
    settled = settle(entry, Path(), Geometry(), Wish())
    assert settled.entry.objects[0].descriptions == ()
    assert any("marks such as" in reason for reason in settled.dropped)


class Liar:
    """Says what is false at first; told so, the truth."""

    name, learns = "liar", True

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def describe(self, task: Task) -> dict[int, tuple[str, ...]]:
        self.tasks.append(task)
        words = ["the leftmost ship", "the rightmost ship"]
        return {index: (words[index if task.faults else 1 - index],) for index in task.wanted}

    def stop(self) -> None:
        pass


def test_the_reason_is_told() -> None:
    liar = Liar()
    settled = settle(entries(2)[1], Path(), liar, Wish())
    assert [one.descriptions for one in settled.entry.objects] == [("the leftmost ship",), ("the rightmost ship",)]
    assert settled.counts["false"] == 2
    assert not settled.dropped
    assert liar.tasks[1].wanted == (0, 1)
    assert liar.tasks[1].faults[0] == (
        'Answer 1: of object 0, "the rightmost ship" is false: it is not true of this object; it fits object 1.'
    )


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    reader = make(tmp_path / "set", entries(3))
    with pytest.raises(EntryError, match="exists"):
        describe_set(reader, tmp_path / "set", Geometry(), Wish())
    with (tmp_path / "set" / "entries.jsonl").open("a") as file:
        file.write("broken\n")
    with pytest.raises(EntryError, match="line 4"):
        describe_set(reader, tmp_path / "out", Geometry(), Wish())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "set"]
