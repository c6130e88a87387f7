"""Masks and boxes drawn over the image they belong to (Fig. 1, Fig. 5: tinted objects, each with its number)."""

from __future__ import annotations

import colorsys
import math
import re
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from geopix.records import Answer, Box, Image, Mask, mask_box

READABLE_PX: Final = 512
"""Images with both sides shorter than this are enlarged by a whole factor, so that labels can be read."""

_Colour: TypeAlias = tuple[int, int, int]
_Rect: TypeAlias = tuple[int, int, int, int]

# Okabe and Ito (2008), told apart with any colour vision; the bright ones first, for most ground is dark.
_PALETTE: Final[tuple[_Colour, ...]] = (
    (230, 159, 0), (86, 180, 233), (0, 178, 131), (240, 228, 66), (213, 94, 0), (204, 121, 167), (30, 120, 190),
)  # fmt: skip
_TINT: Final = 0.36
_LONGEST_LABEL: Final = 36
_ARTICLE: Final = re.compile(r"^(the|an?) (?=.)", re.IGNORECASE)
# With more objects than this the phrases would hide the picture; the numbers stay.
_PHRASES_UP_TO: Final = 40


def overlay(image: Image, answer: Answer) -> Image:
    """Draws every instance of an answer: mask tinted and outlined, or box, with a chip "number phrase".

    Chips stay inside the picture, keep off one another where there is room, and carry a thin line to an object that
    they had to move away from. With more than 40 instances they hold the number only.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        answer: Its masks are (H, W) bool, its boxes in pixels of the image.

    Returns:
        (k H, k W, 3) uint8 RGB; k is 1, or for images under 512 px the whole number that brings the longer side to
        512 px or more.

    Raises:
        ValueError: If the answer belongs to an image of another size.
    """
    height, width = image.shape[:2]
    sizes = {answer.size_hw} | {one.mask.shape for one in answer.instances if one.mask is not None}
    if sizes != {(height, width)}:
        raise ValueError(f"the answer is about an image of {sorted(sizes)} px (height, width), not {(height, width)}")
    factor = math.ceil(READABLE_PX / max(height, width))
    picture = PillowImage.fromarray(image)
    if factor > 1:
        picture = picture.resize((width * factor, height * factor), PillowImage.Resampling.BICUBIC)
    canvas = np.array(picture)
    stroke = max(2, round(max(canvas.shape[:2]) / 450))
    drawn: list[tuple[int, _Rect, str]] = []
    for index, instance in enumerate(answer.instances):
        if instance.mask is not None and instance.mask.any():
            _draw_mask(canvas, instance.mask, factor, colour(index), stroke)
            rect = _scaled(mask_box(instance.mask), factor, canvas)
        else:
            rect = _scaled(instance.box_xyxy_px, factor, canvas)
            if rect[0] >= rect[2] or rect[1] >= rect[3]:
                continue  # nothing of it lies in the picture
            _draw_box(canvas, rect, colour(index), stroke)
        words = f"{index + 1} {_ARTICLE.sub('', ' '.join(instance.phrase.split()))}".strip()
        drawn.append((index, rect, words if len(answer.instances) <= _PHRASES_UP_TO else str(index + 1)))
    return _with_chips(canvas, drawn)


def colour(index: int) -> tuple[int, int, int]:
    """RGB 0..255 of an instance, counted from 0: seven colour-blind-safe hues, then lighter and darker ones."""
    red, green, blue = (channel / 255 for channel in _PALETTE[index % len(_PALETTE)])
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    light = (light, 0.5 * light + 0.45, 0.62 * light)[index // len(_PALETTE) % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, light, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def _scaled(box_xyxy_px: Box, factor: int, canvas: Image) -> _Rect:
    """A box of the image in whole pixels of the canvas, cut to it."""
    height, width = canvas.shape[:2]
    x1, y1, x2, y2 = (value * factor for value in box_xyxy_px)
    return max(0, math.floor(x1)), max(0, math.floor(y1)), min(width, math.ceil(x2)), min(height, math.ceil(y2))


def _draw_mask(canvas: Image, mask: Mask, factor: int, rgb: _Colour, stroke: int) -> None:
    """Tints and outlines (H, W) bool on the canvas, touching only the mask's surroundings."""
    x1, y1, x2, y2 = map(int, mask_box(mask))
    window = np.kron(mask[y1:y2, x1:x2], np.ones((factor, factor), np.bool_))
    # Room on every side, so that the rim also closes where the mask meets the edge of the image.
    inside = np.pad(window, stroke)
    core = ~_grown(~inside, stroke // 2)
    line = _grown(inside, stroke // 2)
    halo = _grown(inside, stroke // 2 + 1)
    top, left = y1 * factor - stroke, x1 * factor - stroke
    _blend(canvas, halo & ~line, top, left, (0, 0, 0), 0.45)
    _blend(canvas, core, top, left, rgb, _TINT)
    _blend(canvas, line & ~core, top, left, rgb, 1.0)


def _grown(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """A mask widened by a square of ``2 radius + 1`` pixels, in few passes however large the radius."""
    wide = mask.copy()
    for view in (wide, wide.T):
        reach = 0
        while reach < radius:
            step = min(radius - reach, 2 * reach + 1)
            before = view.copy()
            view[step:] |= before[:-step]
            view[:-step] |= before[step:]
            reach += step
    return wide


def _draw_box(canvas: Image, rect: _Rect, rgb: _Colour, stroke: int) -> None:
    x1, y1, x2, y2 = rect
    for grow, ink, strength in ((1, (0, 0, 0), 0.45), (0, rgb, 1.0)):
        ring = np.ones((y2 - y1 + 2 * grow, x2 - x1 + 2 * grow), np.bool_)
        inner = stroke + 2 * grow
        ring[inner:-inner, inner:-inner] = False
        _blend(canvas, ring, y1 - grow, x1 - grow, ink, strength)


def _blend(canvas: Image, where: NDArray[np.bool_], top: int, left: int, rgb: _Colour, strength: float) -> None:
    """Mixes a colour into the canvas where a window, placed at (top, left) and perhaps sticking out, is true."""
    y1, x1 = max(0, top), max(0, left)
    y2, x2 = min(canvas.shape[0], top + where.shape[0]), min(canvas.shape[1], left + where.shape[1])
    chosen = where[y1 - top : y2 - top, x1 - left : x2 - left]
    area = canvas[y1:y2, x1:x2]
    # A channel has 256 values, so their mixtures are looked up: large masks stay quick.
    mixtures = np.rint(np.arange(256)[:, None] * (1 - strength) + np.array(rgb) * strength).astype(np.uint8)
    for channel in range(3):
        plane = area[..., channel]
        plane[chosen] = mixtures[plane[chosen], channel]


def _with_chips(canvas: Image, drawn: list[tuple[int, _Rect, str]]) -> Image:
    """Labels (index, object's rectangle, words) onto the canvas."""
    height, width = canvas.shape[:2]
    size = min(160, max(14, round(max(height, width) / 48)))
    font = ImageFont.load_default(size=size)
    picture = PillowImage.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    pad, gap = max(2, size // 4), max(2, size // 5)
    ascent = size + pad // 2
    rects = [rect for _, rect, _ in drawn]
    chips: list[_Rect] = []
    labels: list[str] = []
    for _, rect, words in drawn:
        label = _fitting(words, font, width - 2 * pad)
        chip_size = (math.ceil(font.getlength(label)) + 2 * pad, ascent + pad)
        chips.append(_placed(rect, chip_size, (width, height), chips, rects, gap))
        labels.append(label)
    for (index, rect, _), chip in zip(drawn, chips, strict=True):
        _leader(pen, rect, chip, colour(index), gap)
    for (index, _, _), chip, label in zip(drawn, chips, labels, strict=True):
        rgb = colour(index)
        dark_text = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 120
        ink = (0, 0, 0) if dark_text else (255, 255, 255)
        x1, y1, x2, y2 = chip
        pen.rounded_rectangle((x1, y1, x2 - 1, y2 - 1), radius=pad, fill=rgb, outline=(20, 20, 20))
        pen.text((x1 + pad, (y1 + y2) / 2), label, fill=ink, font=font, anchor="lm")
    return np.array(picture)


def _fitting(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int) -> str:
    """The words, shortened until they are at most 36 characters and as wide as the picture."""
    label = words if len(words) <= _LONGEST_LABEL else words[: _LONGEST_LABEL - 3].rstrip() + "..."
    while len(label) > 4 and font.getlength(label) > room:
        label = label[:-4].rstrip() + "..."
    return label if font.getlength(label) <= room else words.split()[0]


def _placed(
    rect: _Rect, size_wh: tuple[int, int], limits_wh: tuple[int, int], chips: list[_Rect], rects: list[_Rect], gap: int
) -> _Rect:
    """The least harmful place for a chip near its object: off other chips first, then off objects, then close by."""
    (w, h), (width, height) = size_wh, limits_wh
    x1, y1, x2, y2 = rect
    best, best_cost = (0, 0, w, h), math.inf
    for ring in range(8):
        reach = gap + ring * (h + gap)
        starts = [(x1, y1 - h - reach), (x1, y2 + reach), (x2 - w, y1 - h - reach), (x2 - w, y2 + reach)]
        starts += [(x2 + reach, (y1 + y2 - h) // 2), (x1 - w - reach, (y1 + y2 - h) // 2)]
        starts += [(x2 + reach, y1 - h - reach), (x1 - w - reach, y2 + reach)]
        for order, (left, top) in enumerate(starts):
            x, y = max(0, min(left, width - w)), max(0, min(top, height - h))
            chip = (x, y, x + w, y + h)
            moved = abs(x - left) + abs(y - top)
            hidden = sum(_shared(chip, other) for other in rects) / (w * h)
            covered = sum(_shared(chip, other) for other in chips) / (w * h)
            cost = 50 * covered + 4 * hidden + ring + 0.05 * order + 0.5 * moved / h
            if cost < best_cost:
                best, best_cost = chip, cost
        if best_cost < ring + 1:
            break  # the next ring cannot be better
    return best


def _shared(one: _Rect, other: _Rect) -> int:
    """Pixels that two rectangles have in common."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, wide) * max(0, high)


def _leader(pen: ImageDraw.ImageDraw, rect: _Rect, chip: _Rect, rgb: _Colour, gap: int) -> None:
    """A line from a chip to its object where they lie apart."""
    end = [min(max((chip[axis] + chip[axis + 2]) // 2, rect[axis]), rect[axis + 2] - 1) for axis in (0, 1)]
    start = [min(max(end[axis], chip[axis]), chip[axis + 2] - 1) for axis in (0, 1)]
    if max(abs(start[0] - end[0]), abs(start[1] - end[1])) > gap + 2:
        line = (start[0], start[1], end[0], end[1])
        pen.line(line, fill=(20, 20, 20), width=max(3, gap))
        pen.line(line, fill=rgb, width=max(1, gap - 2))
