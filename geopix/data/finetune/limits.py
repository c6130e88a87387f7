"""What OpenAI's guide to vision fine-tuning allows, and what a file of examples holds (§IV-C).

The numbers are those of the guide and of the reference of the Files and Uploads endpoints, read in 2026-11. Endpoints
of others have their own; where they allow less, they say so themselves.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image as PillowImage

from geopix.data.foreign.found import Watch, unwatched

FEWEST_EXAMPLES: Final = 10
MOST_EXAMPLES: Final = 50_000
MOST_IMAGES: Final = 10
"""Images of one example."""
LARGEST_IMAGE: Final = 10_000_000
"""Bytes of one image."""
LARGEST_FILE: Final = 8_000_000_000
"""Bytes that the Uploads endpoint takes."""
LARGEST_AT_ONCE: Final = 512_000_000
"""Bytes that the Files endpoint takes; more go up in parts."""
LONGEST_LINE: Final = MOST_IMAGES * LARGEST_IMAGE * 4 // 3 + 10_000_000

_FORMATS: Final = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
_CHARACTERS_A_TOKEN: Final = 4
_TOKENS_A_MESSAGE: Final = 4


class ExamplesError(ValueError):
    """A file of examples that can't be sent."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file of examples holds.

    Args:
        examples: Lines.
        images: In all of them.
        bytes: Of the file.
        tokens: Of one epoch, about: text by four characters a token, images by OpenAI's tiles.
        sha256: Of the file, in hexadecimal.
    """

    examples: int
    images: int
    bytes: int
    tokens: int
    sha256: str


def image_tokens(width: int, height: int, detail: str = "high") -> int:
    """What an image costs by OpenAI's rule for GPT-4o: 85, and 170 for every tile of 512 px.

    Args:
        width, height: In pixels. The image is shrunk into 2,048 x 2,048 px, then until its shorter side has 768.
        detail: "low" costs 85 whatever the size.
    """
    if detail == "low":
        return 85
    factor = min(1.0, 2048 / max(width, height))
    factor = min(factor, 768 / min(width, height))
    return 85 + 170 * math.ceil(width * factor / 512 - 1e-9) * math.ceil(height * factor / 512 - 1e-9)


def check(path: Path, watch: Watch = unwatched) -> Contents:
    """Read a file of examples through, and tell what it holds.

    Raises:
        ExamplesError: If something in it would be refused, naming the line.
        OSError: If it can't be read.
    """
    if not path.is_file():
        raise ExamplesError(f"there is no file {path}; geopix data review import writes one into the set's folder")
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ExamplesError(f"{path} has {size:,} bytes, more than the {LARGEST_FILE:,} that can be sent; split it")
    digest, examples, images, tokens, done = hashlib.sha256(), 0, 0, 0, 0
    with path.open("rb") as file:
        while raw := file.readline(LONGEST_LINE):
            examples += 1
            try:
                counted = _example(raw)
            except (ValueError, RecursionError, PillowImage.DecompressionBombError) as error:
                raise ExamplesError(f"{path} line {examples}: {' '.join(str(error).split())[:300]}") from error
            images, tokens = images + counted[0], tokens + counted[1]
            digest.update(raw)
            done += len(raw)
            watch("checking", done, size)
    if not FEWEST_EXAMPLES <= examples <= MOST_EXAMPLES:
        raise ExamplesError(
            f"{path} holds {examples:,} examples, where {FEWEST_EXAMPLES} to {MOST_EXAMPLES:,} can be learned from"
        )
    return Contents(examples, images, size, tokens, digest.hexdigest())


def _example(raw: bytes) -> tuple[int, int]:
    """Images and tokens of a line."""
    value = json.loads(raw)
    messages = value.get("messages") if isinstance(value, dict) else None
    if not isinstance(messages, list) or not messages:
        raise ValueError('it has no "messages"')
    images = tokens = 0
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("system", "user", "assistant"):
            raise ValueError(f"a message is of {str(role)[:40]!r}, not of system, user or assistant")
        for kind, part in _parts(message.get("content")):
            if kind == "text":
                tokens += math.ceil(len(part) / _CHARACTERS_A_TOKEN)
            elif role != "user":
                raise ValueError(f"an image stands in a message of {role}, where only users may show one")
            else:
                images += 1
                tokens += _image(part)
        tokens += _TOKENS_A_MESSAGE
    if messages[-1]["role"] != "assistant":
        raise ValueError("the last message is not the assistant's, so there is nothing to learn")
    if images > MOST_IMAGES:
        raise ValueError(f"it shows {images} images, where {MOST_IMAGES} are allowed")
    return images, tokens


def _parts(content: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        raise ValueError("a message has no content")
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str) and part["text"].strip():
            yield "text", part["text"]
        elif kind == "image_url" and isinstance(part.get("image_url"), dict):
            yield "image", part["image_url"]
        else:
            raise ValueError(f"a part of a message is {str(kind)[:40]!r}, neither a text with words nor an image_url")


def _image(part: Mapping[str, Any]) -> int:
    """Tokens of an image, once it is known to be one that is taken."""
    head, _, data = str(part.get("url")).partition(";base64,")
    form = _FORMATS.get(head.removeprefix("data:")) if head.startswith("data:") else None
    if form is None:
        raise ValueError(f"an image is {head[:60]!r}, not a data URI in base64 of a JPEG, PNG or WebP")
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError(f"an image is no base64 ({error})") from error
    if len(raw) > LARGEST_IMAGE:
        raise ValueError(f"an image has {len(raw):,} bytes, where {LARGEST_IMAGE:,} are allowed")
    try:
        with PillowImage.open(io.BytesIO(raw), formats=[form]) as picture:  # the header only: nothing is decoded
            (width, height), mode = picture.size, picture.mode
    except (OSError, SyntaxError) as error:
        raise ValueError(f"an image is no {form}") from error
    if mode not in ("RGB", "RGBA"):
        raise ValueError(f"an image is {mode}, where RGB and RGBA are allowed")
    return image_tokens(width, height, str(part.get("detail", "high")))
