"""Windows of entries: the same as windows of samples, cut from run lengths, and few that show everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from geopix.data.assembly import cut
from geopix.data.assembly.recipe import Filter, Windows
from geopix.data.construct import crop
from geopix.data.entries import Annotated, Entry, EntryError, replace_pixels
from geopix.records import decode_mask
from tests.data.assembly.made import rectangle

SIZE = (100, 120)


@st.composite
def scenes(draw: st.DrawFn) -> Entry:
    """Up to six rectangles."""
    objects = []
    for _ in range(draw(st.integers(1, 6))):
        left, top = draw(st.integers(0, 110)), draw(st.integers(0, 90))
        right, bottom = draw(st.integers(left + 1, 120)), draw(st.integers(top + 1, 100))
        objects.append(rectangle("ship", (left, top, right, bottom), SIZE))
    return Entry("k", "k.png", SIZE, tuple(objects))


@given(scenes(), st.integers(0, 60), st.integers(0, 40), st.integers(10, 60), st.integers(10, 60))
def test_a_window_holds_what_construct_would_crop(scene: Entry, left: int, top: int, width: int, height: int) -> None:
    expected = crop(replace_pixels(scene, np.zeros((*SIZE, 3), dtype=np.uint8)), left, top, width, height)
    knife, window = cut.Knife(scene), (left, top, width, height)
    assert (knife.shown(window) is None) == (expected is None)
    for one, instance in zip(knife.cut(window), expected.instances if expected else (), strict=True):
        assert one.box_xyxy_px == instance.box_xyxy_px
        assert one.counts is not None
        assert instance.mask is not None
        assert np.array_equal(decode_mask({"size": (height, width), "counts": one.counts}), instance.mask)


def test_boxes_without_masks_are_cut_alike() -> None:
    inside, stray, halved = ((10.0, 10.0, 30.0, 30.0), (38.0, 10.0, 90.0, 30.0), (30.0, 10.0, 60.0, 30.0))
    knife = cut.Knife(Entry("k", "k.png", (40, 100), (Annotated("ship", inside), Annotated("ship", stray))))
    assert knife.cut((0, 0, 40, 40)) == (Annotated("ship", inside),)  # 2 of 52 columns do not count
    knife = cut.Knife(Entry("k", "k.png", (40, 100), (Annotated("ship", inside), Annotated("ship", halved))))
    assert knife.shown((0, 0, 40, 40)) is None
    assert knife.shown((20, 0, 50, 40)) is None  # half of the first, now
    assert knife.shown((28, 0, 50, 40)) is None  # a tenth of it
    assert knife.shown((29, 0, 50, 40)) == [1]  # a twentieth
    assert knife.cut((29, 0, 50, 40)) == (Annotated("ship", (1.0, 10.0, 31.0, 30.0)),)


def test_few_windows_show_what_all_show() -> None:
    # Ships at 10, 30, 50, 70: windows of 40 that begin at 0, 20, 40 and 60 show two each.
    objects = tuple(rectangle("ship", (left, 10, left + 8, 30), (40, 100)) for left in (10, 30, 50, 70))
    found = cut.windows(Entry("k", "k.png", (40, 100), objects), Windows(sides=(40,)), Filter())
    assert [window for window, _ in found] == [(0, 0, 40, 40), (40, 0, 40, 40)]
    assert [len(part.objects) for _, part in found] == [2, 2]


def test_the_grid_covers_the_image_to_its_edges() -> None:
    assert list(cut.grid((50, 90), Windows(sides=(40,), overlap=0.5))) == [
        (0, 0, 40, 40), (20, 0, 40, 40), (40, 0, 40, 40), (50, 0, 40, 40),
        (0, 10, 40, 40), (20, 10, 40, 40), (40, 10, 40, 40), (50, 10, 40, 40),
    ]  # fmt: skip
    assert list(cut.grid((30, 35), Windows(sides=(64, 32)))) == [(0, 0, 35, 30), (0, 0, 32, 30), (3, 0, 32, 30)]


def test_windows_of_an_image_that_is_too_large_are_read_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.png"
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    places = [(0, 0, 40, 30), (50, 40, 40, 30)]
    whole = list(cut.pictures(path, (70, 90), places))
    monkeypatch.setattr(cut, "WHOLE_PIXELS", 1000)
    pieces = list(cut.pictures(path, (70, 90), places))
    for one, other, (left, top, width, height) in zip(whole, pieces, places, strict=True):
        assert np.array_equal(one, pixels[top : top + height, left : left + width])
        assert np.array_equal(one, other)
    path.write_bytes(b"no picture at all")
    with pytest.raises(EntryError, match="image unreadable"):
        list(cut.pictures(path, (70, 90), places))
