"""Label Studio's own run lengths of a mask, for its brush (§IV-C's human step).

The form is that of thi.ng's rle-pack: how many words there are (32 bits), their size less one (5 bits), four field
widths less one (4 bits each); then pieces of one bit "a run or single words", two bits "which field width", the
length less one, and the word of the run, or every single word. A mask is written as the bytes of an RGBA picture, row
by row. Why not Label Studio's own package: it brings OpenCV, pandas and a hundred others for these lines.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geopix.records import Mask

_CHANNELS = 4
_WORD_BITS = 8
_FIELDS = (3, 4, 8, 16)
"""Bits that a length may take; the shortest that holds it is used."""
_HEADER = 32 + 5 + 4 * len(_FIELDS)
_LONGEST = 1 << _FIELDS[-1]


def encode(mask: Mask) -> list[int]:
    """A (H, W) bool mask as Label Studio's ``rle``, bytes 0..255."""
    flat = mask.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = [0, *edges.tolist(), flat.size]
    pieces = [f"{_CHANNELS * flat.size:032b}{_WORD_BITS - 1:05b}", *(f"{width - 1:04b}" for width in _FIELDS)]
    for start, stop in itertools.pairwise(bounds):
        word = f"{255 if flat[start] else 0:08b}"
        left = _CHANNELS * (stop - start)
        while left:
            length = min(left, _LONGEST)
            field = next(place for place, width in enumerate(_FIELDS) if length <= 1 << width)
            pieces.append(f"1{field:02b}{length - 1:0{_FIELDS[field]}b}{word}")
            left -= length
    bits = "".join(pieces)
    bits += "0" * (8 - len(bits) % 8)  # a whole byte where none is needed, as Label Studio's own writer has it
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def decode(rle: Sequence[int], size_hw: tuple[int, int]) -> Mask:
    """The inverse of `encode`, of any field widths and pieces; opaque pixels are inside.

    Args:
        rle: Bytes 0..255.
        size_hw: Height and width in pixels.

    Raises:
        ValueError: If they do not describe a picture of this size.
    """
    height, width = size_hw
    n_words = height * width * _CHANNELS
    try:
        bits = "".join(f"{value:08b}" for value in bytes(rle))
    except (TypeError, ValueError) as error:
        raise ValueError("a brush is written as bytes 0..255") from error
    if len(bits) < _HEADER or int(bits[:32], 2) != n_words or int(bits[32:37], 2) + 1 != _WORD_BITS:
        raise ValueError(f"the brush does not belong to a picture of {height} x {width} pixels")
    fields = [int(bits[at : at + 4], 2) + 1 for at in range(37, _HEADER, 4)]
    words: NDArray[np.uint8] = np.zeros(n_words, dtype=np.uint8)
    at, done = _HEADER, 0
    while done < n_words:
        head = bits[at : at + 3]
        field = fields[int(head[1:], 2)] if len(head) == 3 else 0
        run, at = head[:1] == "1", at + 3 + field
        stop = done + 1 + int(bits[at - field : at] or "0", 2)
        needed = _WORD_BITS * (1 if run else stop - done)
        if not field or stop > n_words or at + needed > len(bits):
            raise ValueError("the brush breaks off")
        said = bits[at : at + needed]
        words[done:stop] = [int(said[place : place + _WORD_BITS], 2) for place in range(0, needed, _WORD_BITS)]
        at, done = at + needed, stop
    return words.reshape(height, width, _CHANNELS)[..., 3] > 0
