"""Windows of large or crowded images, annotations and pixels alike (§IV-A).

A window becomes a picture file of its own. A reference (image and window) would save the space, but then every reader,
ours and the tools that annotate, show and train, would have to decode a scene of hundreds of megapixels for each of
its windows, and none of the formats that we write has a place for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from PIL import Image as PillowImage

from geopix.data import rle
from geopix.data.assembly.recipe import Filter, Windows
from geopix.data.construct import MAX_STRAY, MIN_AREA, MIN_VISIBLE, refusal
from geopix.data.entries import Annotated, Entry, EntryError, read_image
from geopix.records import Box, Image

WHOLE_PIXELS: Final = 80_000_000
"""Images up to this many pixels are decoded whole; of larger ones only the window is held, see `geopix.geo.pieces`."""

Window: TypeAlias = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the image."""


def refused(objects: Collection[Annotated], limits: Filter) -> str | None:
    """Why the filter leaves out an image with these objects, or None."""
    by_class = limits.count_by == "class"
    names = [one.class_name if by_class or not one.category else one.category for one in objects]
    return refusal(names, limits.max_per_class, limits.max_total)


def windows(entry: Entry, rule: Windows, limits: Filter) -> list[tuple[Window, Entry]]:
    """Windows of a grid that pass the filter and cut no object in two, as few as show all objects that any shows.

    The window that shows most is taken, then the one that adds most to it, and so on, the first of the grid where two
    are equal: much the same picture twice teaches little.

    Args:
        entry: Every object's run lengths fit its size.
        rule: Sides and overlap.
        limits: The filter.

    Returns:
        Windows with what is annotated in them, without descriptions, captions and turns, which told of the whole.
    """
    knife, passing = Knife(entry), dict[Window, frozenset[int]]()
    for window in grid(entry.size_hw, rule):
        shown = knife.shown(window)
        if shown and refused([entry.objects[index] for index in shown], limits) is None:
            passing[window] = frozenset(shown)
    found = []
    for window in _cover(passing):
        left, top, width, height = window
        part = replace(entry, key=f"{entry.key}#{left},{top},{width},{height}", size_hw=(height, width))
        found.append((window, replace(part, objects=knife.cut(window), captions=(), turns=())))
    return found


def _cover(shows: dict[Window, frozenset[int]]) -> list[Window]:
    """Few windows that show together what all of them show, in the order given."""
    taken: set[Window] = set()
    left = set().union(*shows.values())
    while left:
        best = max(shows, key=lambda window: len(shows[window] & left))
        taken.add(best)
        left -= shows[best]
    return [window for window in shows if window in taken]


def grid(size_hw: tuple[int, int], rule: Windows) -> Iterator[Window]:
    """Windows that cover an image, row by row, for one side after another; the last of a row ends at the edge."""
    for side in rule.sides:
        height, width = min(side, size_hw[0]), min(side, size_hw[1])
        for top in _starts(size_hw[0], height, rule.overlap):
            for left in _starts(size_hw[1], width, rule.overlap):
                yield left, top, width, height


def _starts(length: int, side: int, overlap: float) -> list[int]:
    return [*range(0, length - side, max(1, round(side * (1 - overlap)))), length - side]


class Knife:
    """Cuts the objects of an entry; their run lengths are read once for all windows.

    Args:
        entry: Every object's run lengths fit its size.
    """

    def __init__(self, entry: Entry) -> None:
        self._objects = entry.objects
        self._masks = [None if one.counts is None else rle.spans(one.counts, entry.size_hw) for one in entry.objects]
        self._boxes = np.array([one.box_xyxy_px for one in entry.objects]).reshape(-1, 4)

    def shown(self, window: Window) -> list[int] | None:
        """Which objects a window shows, or None where it would cut one in two or hold one too small to see.

        The rules of `geopix.data.construct.crop`, which does the same to a `Sample` with its pixels.
        """
        left, top, width, height = window
        kept = []
        for index, (x1, y1, x2, y2) in self._near(window):
            mask = self._masks[index]
            if mask is None:
                inside, whole = (x2 - x1) * (y2 - y1), _area(self._objects[index].box_xyxy_px)
            else:
                inside, whole = rle.pixels(rle.cut(mask, left, top, width, height)), rle.pixels(mask)
            if inside / whole < MAX_STRAY:
                continue
            if inside / whole < MIN_VISIBLE or inside < MIN_AREA * width * height:
                return None
            kept.append(index)
        return kept

    def cut(self, window: Window) -> tuple[Annotated, ...]:
        """The objects that a window shows, in its own pixels; their descriptions told of the whole image and go."""
        left, top, width, height = window
        shown, parts = set(self.shown(window) or ()), []
        for index, box in self._near(window):
            if index not in shown:
                continue
            mask, counts = self._masks[index], None
            if mask is not None:
                on = rle.cut(mask, left, top, width, height)
                counts, box = rle.text(on, (height, width)), rle.box(on)
            one = self._objects[index]
            parts.append(replace(one, box_xyxy_px=box, counts=counts, descriptions=(), arrangement=""))
        return tuple(parts)

    def _near(self, window: Window) -> Iterator[tuple[int, Box]]:
        """Objects of which the box meets a window, with that part of it, in the window's pixels."""
        left, top, width, height = window
        parts = np.clip(self._boxes - [left, top, left, top], 0, [width, height, width, height])
        for index in map(int, np.flatnonzero((parts[:, 2] > parts[:, 0]) & (parts[:, 3] > parts[:, 1]))):
            x1, y1, x2, y2 = map(float, parts[index])
            yield index, (x1, y1, x2, y2)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def pictures(path: Path, size_hw: tuple[int, int], places: Sequence[Window]) -> Iterator[Image]:
    """The pixels of windows, (h, w, 3) uint8 RGB each.

    Raises:
        EntryError: If the image can't be read or has another size.
    """
    if size_hw[0] * size_hw[1] <= WHOLE_PIXELS:
        whole = read_image(path, size_hw)
        for left, top, width, height in places:
            yield whole[top : top + height, left : left + width]
        return
    from geopix import geo  # GDAL takes half a second to load, and most images are small

    try:
        for left, top, width, height in places:
            yield geo.read_piece(path, (left, top, left + width, top + height))
    except geo.ImageError as error:
        raise EntryError("image unreadable", str(error)) from error


def save(picture: Image, path: Path) -> None:
    """A window as a PNG; a little less tightly packed than usual, for it is what takes longest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(picture).save(path, format="PNG", compress_level=3)
