"""φ and θ, Table I, Table II and Fig. 4 on a set counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from geopix.data import figure4, statistics
from geopix.data.entries import Annotated, Entry, EntryError
from geopix.records import Turn
from tests.data.assembly.made import rectangle

SIZE = (100, 200)  # 20,000 pixels
TENTH = rectangle("ship", (0, 0, 40, 50), SIZE, "the large ship", "the left ship")  # 2,000 of them
HUNDREDTH = replace(rectangle("vehicle", (100, 0, 120, 10), SIZE), category="van")  # 200
BOX = Annotated("ship", (0.0, 0.0, 20.0, 50.0), arrangement="isolated")  # 1,000


def image(*objects: Annotated, subset: str = "A_T", split: str = "train") -> Entry:
    made = Entry("k", "k.png", SIZE, objects, subset=subset)
    return replace(made, split=split)  # type: ignore[arg-type]


def test_theta_is_one_masks_share_of_the_image() -> None:
    assert statistics.theta(TENTH, SIZE) == 0.1
    assert statistics.theta(HUNDREDTH, SIZE) == 0.01
    assert statistics.theta(BOX, SIZE) == 0.05
    with pytest.raises(ValueError, match="run lengths"):
        statistics.theta(TENTH, (100, 201))


def test_phi_is_a_mean_over_images_and_theta_over_instances() -> None:
    part = statistics.count([image(TENTH, HUNDREDTH, HUNDREDTH), image(TENTH), image()], "s")["A_T", "train"]
    assert (part.images, part.instances, part.masks, part.described, part.descriptions) == (3, 4, 4, 2, 4)
    assert part.phi == pytest.approx(4 / 3)
    assert part.theta == pytest.approx((0.1 + 0.01 + 0.01 + 0.1) / 4)
    assert part.categories == {"Ship": 2, "van": 2}
    assert part.classes == {"Ship": "ship", "van": "vehicle"}
    assert part.instructed == 2
    # Fig. 4: three instances that cover 4 % in the mean, and one that covers 10 %.
    assert {phi: round(statistics.edge(place), 3) for phi, place in part.cells} == {3: 0.032, 1: 0.1}


def test_the_tables() -> None:
    entries = [image(TENTH), image(HUNDREDTH, split="val"), image(BOX, subset=""), image(BOX, subset="")]
    parts = statistics.count(entries, "toy")
    assert statistics.table_2(parts) == [
        ("train.A_T", "1", "1", "1", "1", "1", "2", "100 x 200", "1.00", "10.00"),
        ("val.A_T", "1", "1", "1", "1", "0", "0", "100 x 200", "1.00", "1.00"),
        ("train.toy", "2", "1", "2", "0", "0", "0", "100 x 200", "1.00", "≤5.00"),
        ("all", "4", "3", "4", "2", "1", "2", "100 x 200", "1.00", "≤5.25"),
    ]
    assert len(statistics.table_2(parts, short=True)[0]) == len(statistics.TABLE_2_SHORT)
    whole = statistics.whole(parts.values())
    assert statistics.table_1("toy", whole) == ("toy", "4", "25.0 %", "✓", "25.0 %", "50.0 %")
    assert statistics.table_1("toy", parts["A_T", "train"]) == ("toy", "1", "✓", "✓", "✓", "✓")
    told = statistics.to_json("toy", parts)
    assert told["table 2"][0]["theta"] == 0.1
    assert told["table 2"][0]["theta is of"] == "masks"
    assert told["all"]["arrangements"] == {"isolated": 2}
    assert told["table 1"]["bbox"] == "✓"


def test_sizes_are_a_range() -> None:
    small = Entry("k", "k.png", (50, 300), captions=("It.",), turns=(Turn("?", "!"),))
    parts = statistics.count([image(), small], "toy")
    assert parts["toy", "train"].size == "50 x 300"
    assert parts["toy", "train"].instructed == 1
    assert statistics.whole(parts.values()).size == "50 to 100 x 200 to 300"


def test_a_mask_that_does_not_fit_is_named() -> None:
    with pytest.raises(EntryError, match="k holds a mask of the wrong size"):
        statistics.count([replace(image(TENTH), size_hw=(100, 201))], "toy")


def test_the_figure_has_a_panel_a_subset(tmp_path: Path) -> None:
    entries = [image(TENTH, HUNDREDTH), image(TENTH, split="val"), image(BOX, subset="B_T")]
    for name, shown in (("one.png", entries[:2]), ("two.png", entries), ("again.png", entries)):
        figure4.draw(statistics.count(shown, "toy"), tmp_path / name)
    for name, width in (("one.png", 780), ("two.png", 1320)):
        with Image.open(tmp_path / name) as picture:
            assert picture.size[0] == width
    assert (tmp_path / "two.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    with pytest.raises(EntryError, match="nothing to draw"):
        figure4.draw(statistics.count([image()], "toy"), tmp_path / "none.png")
