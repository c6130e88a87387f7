"""A review as one page for any browser, without a server, and the file that it saves (§IV-C)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from geopix import render
from geopix.data.entries import Entry
from geopix.data.review.corrections import Correction, Header, ReviewError, Spot, corrected

FORMAT, VERSION = "geopix-review", 1
_ASIDE = Path(__file__)
"""The page's own three files lie beside this one: page.html, page.css, page.js."""


def image(entry: Entry, picture: str, overlay: str, texts: Sequence[Sequence[str]]) -> dict[str, Any]:
    """One image as the page knows it.

    Args:
        entry: The image.
        picture, overlay: Paths of the plain and the drawn image, from the page.
        texts: For every object the texts that are asked about.
    """
    height, width = entry.size_hw
    objects = []
    for index, (one, said) in enumerate(zip(entry.objects, texts, strict=True)):
        x1, y1, x2, y2 = one.box_xyxy_px
        red, green, blue = render.colour(index)
        objects.append(
            {
                "class": one.class_name,
                "arrangement": one.arrangement,
                "colour": f"rgb({red}, {green}, {blue})",
                "box": [100 * x1 / width, 100 * y1 / height, 100 * (x2 - x1) / width, 100 * (y2 - y1) / height],
                "texts": list(said),
            }
        )
    return {"key": entry.key, "image": picture, "overlay": overlay, "size": [width, height], "objects": objects}


def write(file: TextIO, header: Header, images: Iterator[dict[str, Any]]) -> None:
    """Write the page, image by image; the policy in it forbids everything but its own style, script and pictures."""
    template = _ASIDE.with_name("page.html").read_text(encoding="utf-8")
    style, script = (_ASIDE.with_name(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    policy = "; ".join(
        (
            "default-src 'none'",
            "img-src 'self' file:",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    before, after = template.replace("@@POLICY@@", policy).replace("@@STYLE@@", style).split("@@REVIEW@@")
    file.write(before)
    file.write(_harmless(asdict(header))[:-1] + ', "images": [')
    for number, one in enumerate(images):
        file.write((",\n" if number else "\n") + _harmless(one))
    file.write("]}")
    file.write(after.replace("@@SCRIPT@@", script))


def read(raw: dict[str, Any], corrections: Sequence[Any]) -> tuple[Header, list[Correction]]:
    """What a file says that the page saved.

    Args:
        raw: Its values, without the corrections.
        corrections: Those.

    Raises:
        ReviewError: If it is no such file, or says something that can't be understood.
    """
    if raw.get("format") != FORMAT:
        raise ReviewError("this is neither what the page saves nor a JSON export of Label Studio")
    if raw.get("version") != VERSION:
        raise ReviewError(f"the page's version {raw.get('version')!r} is not {VERSION}, which this program reads")
    return Header.read(raw), [_correction(one) for one in corrections]


def _correction(raw: Any) -> Correction:
    try:
        key, place, text, was = raw["key"], raw["object"], raw["text"], raw["was"]
        verdict, said = raw["verdict"], raw["words"]
    except (KeyError, TypeError) as error:
        raise ReviewError("a correction lacks its key, object, text, was, verdict or words") from error
    if not all(isinstance(one, str) for one in (key, was, verdict, said)) or type(place) is not int:
        raise ReviewError(f"a correction of {str(key)[:60]!r} holds something else than texts and numbers")
    if type(text) is not int or min(place, text) < 0:
        raise ReviewError(f"a correction of {key[:60]!r} counts its object or text by {place!r} and {text!r}")
    return corrected(Spot(key, place, text), was, verdict, said)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _harmless(value: Any) -> str:
    """JSON in ASCII in which no markup can begin, and so none that could end the script it stands in."""
    text = json.dumps(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
