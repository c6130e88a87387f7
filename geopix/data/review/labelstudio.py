"""Label Studio's form of a review (§IV-C): tasks with boxes, brushes and texts to import, an export to read back.

Every object is a rectangle ``object-3`` that carries its texts, and, where it has a mask, a brush ``object-3-mask``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.etree import ElementTree

from geopix import render
from geopix.data.entries import Entry
from geopix.data.review import brush
from geopix.data.review.corrections import Correction, Header, ReviewError, Spot, corrected
from geopix.records import decode_mask

WRONG: Final = "wrong"
LOCAL_FILES: Final = "/data/local-files/?d="
"""What Label Studio puts before the path of a file that it serves from its own disk."""

_REGION = re.compile(r"object-(\d{1,6})(-mask)?")


def config(class_names: Sequence[str], texts: int) -> str:
    """The labeling interface, XML, for a project that may hold objects of these classes, with so many texts each."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true", zoomControl="true")
    card = ElementTree.SubElement(view, "View", visibleWhen="region-selected", whenTagName="box")
    ElementTree.SubElement(card, "Header", value="What this object, and no other, is called:")
    ElementTree.SubElement(
        card,
        "TextArea",
        name="description",
        toName="image",
        perRegion="true",
        editable="true",
        maxSubmissions=str(texts),
    )
    verdict = ElementTree.SubElement(card, "Choices", name="verdict", toName="image", perRegion="true")
    ElementTree.SubElement(verdict, "Choice", value=WRONG, hotkey="x")
    for tag, name in (("RectangleLabels", "box"), ("BrushLabels", "mask")):
        labels = ElementTree.SubElement(view, tag, name=name, toName="image")
        for index, class_name in enumerate(class_names):
            red, green, blue = render.colour(index)
            ElementTree.SubElement(
                labels, "Label", value=label(class_name), background=f"#{red:02x}{green:02x}{blue:02x}"
            )
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def label(class_name: str) -> str:
    """A class name that XML can hold: no control characters."""
    return "".join(character if character.isprintable() else "\ufffd" for character in class_name) or "\ufffd"


def task(entry: Entry, image_url: str, texts: Sequence[Sequence[str]], header: Header) -> dict[str, Any]:
    """One image as a task that Label Studio imports, what is known of it as a prediction to begin from.

    Args:
        entry: The image.
        image_url: Where Label Studio finds its file.
        texts: For every object the texts that are asked about.
        header: The review.

    Raises:
        ValueError: If a mask does not fit its image.
    """
    height, width = entry.size_hw
    shape = {"original_width": width, "original_height": height, "image_rotation": 0, "to_name": "image"}
    result: list[dict[str, Any]] = []
    for index, (one, said) in enumerate(zip(entry.objects, texts, strict=True)):
        x1, y1, x2, y2 = one.box_xyxy_px
        box = {
            "x": 100 * x1 / width,
            "y": 100 * y1 / height,
            "width": 100 * (x2 - x1) / width,
            "height": 100 * (y2 - y1) / height,
            "rotation": 0,
        }
        name = {"id": f"object-{index}", **shape}
        labels = [label(one.class_name)]
        result.append(
            {**name, "from_name": "box", "type": "rectanglelabels", "value": {**box, "rectanglelabels": labels}}
        )
        if any(said):
            result.append(
                {**name, "from_name": "description", "type": "textarea", "value": {**box, "text": list(said)}}
            )
        if one.counts is not None:
            rle = brush.encode(decode_mask({"size": entry.size_hw, "counts": one.counts}))
            value = {"format": "rle", "rle": rle, "brushlabels": labels}
            name = {**name, "id": f"object-{index}-mask"}
            result.append({**name, "from_name": "mask", "type": "brushlabels", "value": value})
    data = {
        "image": image_url,
        "key": entry.key,
        "set_sha256": header.set_sha256,
        "review": header.review,
        "texts": header.texts,
        "asked": [list(said) for said in texts],
    }
    return {"data": data, "predictions": [{"model_version": "geopix", "result": result}]}


def read(raw: Any) -> tuple[Header, list[Correction]]:
    """What a person said of one task; nothing where the task was not submitted, or was skipped.

    Args:
        raw: An element of Label Studio's JSON export.

    Raises:
        ReviewError: If it is no such task, or says something that can't be understood.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("data"), dict):
        raise ReviewError("this is no JSON export of Label Studio; choose JSON there, not JSON-MIN or CSV")
    if not isinstance(raw.get("annotations"), list):
        raise ReviewError("its tasks hold no annotations; give what Label Studio exports, not what it imported")
    data = raw["data"]
    header = Header.read(data)
    try:
        key, asked = data["key"], [[str(text) for text in texts] for texts in data["asked"]]
    except (KeyError, TypeError) as error:
        raise ReviewError("a task does not say what it asked") from error
    submitted = [one for one in raw["annotations"] if isinstance(one, dict) and not one.get("was_cancelled")]
    if not submitted:
        return header, []
    if not isinstance(key, str):
        raise ReviewError("a task does not say of which image it is")
    found = [list(_corrections(key, asked, one.get("result"))) for one in submitted]
    if any(other != found[0] for other in found[1:]):
        raise ReviewError(f"the annotations of {key} disagree; keep one of them in Label Studio and export again")
    return header, found[0]


def _corrections(key: str, asked: list[list[str]], result: Any) -> Iterator[Correction]:
    kept, said, wrong = _regions(key, len(asked), result)
    for index, was in enumerate(asked):
        if index in wrong or index not in kept:  # without its box it was taken away
            yield from (
                Correction(Spot(key, index, place), text, "rejected", "") for place, text in enumerate(was) if text
            )
            continue
        texts = said.get(index, [])
        if len(texts) > len(was):
            raise ReviewError(f"object {index + 1} of {key} has {len(texts)} texts, where {len(was)} was asked about")
        for place, (text, words) in enumerate(zip(was, _paired(was, texts), strict=True)):
            if words is None and not text:
                continue  # there was nothing, and nobody wrote anything
            verdict = "rejected" if words is None else "rewritten"
            yield corrected(Spot(key, index, place), text, verdict, words or "")


def _regions(key: str, n_objects: int, result: Any) -> tuple[set[int], dict[int, list[str]], set[int]]:
    """Objects that still have a box, what is written at each, and those called wrong."""
    kept: set[int] = set()
    said: dict[tuple[int, bool], list[str]] = {}
    wrong: set[int] = set()
    for one in result if isinstance(result, list) else []:
        kind = one.get("type") if isinstance(one, dict) else None
        if kind not in ("rectanglelabels", "brushlabels", "textarea", "choices"):
            continue  # relations and the like
        match = _REGION.fullmatch(str(one.get("id")))
        if match is None or int(match[1]) >= n_objects:
            raise ReviewError(
                f"{key} has a region {str(one.get('id'))[:40]!r} that was not asked about; take it away in Label "
                "Studio and export again"
            )
        index, value = int(match[1]), one.get("value")
        value = value if isinstance(value, dict) else {}
        if kind == "rectanglelabels":
            kept.add(index)
        elif kind == "choices" and WRONG in (value.get("choices") or []):
            wrong.add(index)
        elif kind == "textarea":
            texts = value.get("text")
            texts = [texts] if isinstance(texts, str) else texts
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise ReviewError(f"object {index + 1} of {key} has a description that is no text")
            place = index, match[2] is not None
            if place in said:
                raise ReviewError(f"object {index + 1} of {key} is described twice")
            said[place] = texts
    for index in {index for index, on_mask in said if on_mask} & {index for index, on_mask in said if not on_mask}:
        raise ReviewError(f"object {index + 1} of {key} is described at its box and at its mask; keep one of them")
    return kept, {index: texts for (index, _), texts in said.items()}, wrong


def _paired(was: Sequence[str], now: Sequence[str]) -> list[str | None]:
    """What each text became: itself where it is still there, else what is left over, in order; None where it went."""
    left = list(now)
    became: list[str | None] = []
    for text in was:
        became.append(text if text in left else None)
        if text in left:
            left.remove(text)
    return [text if text is not None else (left.pop(0) if left else None) for text in became]
