"""Pictures for people and for endpoints: what every browser shows, pixel for pixel as the annotations count (§IV-C)."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image as PillowImage

from geopix import render
from geopix.data.entries import Entry, EntryError, read_image, replace_pixels
from geopix.records import Answer, Image, Instance

SUFFIXES: Final = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
"""Formats that browsers and vision endpoints read."""
MIMES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
LONGEST_OVERLAY_PX: Final = 2048

_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file's bytes, and their format ("JPEG", "PNG" or "WEBP")."""

    data: bytes
    format: str


def picture(path: Path, size_hw: tuple[int, int], largest: int | None = None) -> tuple[Picture, Image]:
    """An image as a file to hand out, and its pixels.

    The file's own bytes where browsers show them as they are (RGB or RGBA, not turned by a camera's tag); else a PNG,
    and where that is too large a JPEG.

    Args:
        path: The image.
        size_hw: The height and width that it must have.
        largest: Bytes that it may have, or None for any number.

    Raises:
        EntryError: If it can't be read, or can't be made that small.
    """
    pixels = read_image(path, size_hw)
    with PillowImage.open(path) as file:
        plain = file.format in SUFFIXES and file.mode in ("RGB", "RGBA") and not getattr(file, "is_animated", False)
        form = file.format if plain and not _turned(file) else None
    candidates = [encoded(pixels, "PNG") if form is None else Picture(path.read_bytes(), form)]
    if largest is not None and len(candidates[0].data) > largest:
        candidates.append(encoded(pixels, "JPEG"))
    small = [one for one in candidates if largest is None or len(one.data) <= largest]
    if not small:
        raise EntryError("image file too large", f"{path.name}: {len(candidates[-1].data):,} bytes as a JPEG")
    return small[0], pixels


def _turned(file: PillowImage.Image) -> bool:
    """Whether browsers would turn a picture, or might: where its tags can't be read."""
    try:
        return bool(file.getexif().get(_ORIENTATION, 1) != 1)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error):
        return True


def encoded(pixels: Image, form: str) -> Picture:
    """(H, W, 3) uint8 as a file of a format."""
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, form, quality=90)
    return Picture(buffer.getvalue(), form)


def overlay(entry: Entry, pixels: Image) -> Picture:
    """An image with every object of its entry drawn and numbered from one, as a JPEG, at most 2,048 px a side.

    Raises:
        EntryError: If a mask does not fit the image.
    """
    try:
        sample = replace_pixels(entry, pixels)
    except ValueError as error:
        raise EntryError("mask of the wrong size", f"{entry.key}: {error}") from error
    # No words on the picture: they would hide it, and they stand beside it.
    bare = tuple(Instance("", one.class_name, one.box_xyxy_px, one.mask) for one in sample.instances)
    drawn = PillowImage.fromarray(render.overlay(pixels, Answer("", bare, sample.size_hw, "", 0.0)))
    drawn.thumbnail((LONGEST_OVERLAY_PX, LONGEST_OVERLAY_PX))
    return encoded(np.asarray(drawn, dtype=np.uint8), "JPEG")
