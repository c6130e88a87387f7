"""What the describer learns from: an image with what it is asked, and the answer that people stand for (§IV-C)."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geopix.data.entries import Annotated, Entry
from geopix.data.finetune.limits import LARGEST_IMAGE
from geopix.data.review.pictures import MIMES, picture

SYSTEM = (
    "You describe objects in images taken from above. Every description means one object of the image and no other, "
    "by where the object stands."
)
_RULES = """\
First find out how the objects of a class are arranged: isolated, in a line, or clustered.
Isolated: say where in the image the object is, or how it lies to others.
In a line: say its place in the line, then where the line is.
Clustered: say its place in the cluster, then where the cluster is.
Answer in JSON, with one for every index:
{"descriptions": [{"index": 0, "arrangement": "isolated", "description": "..."}]}"""


def line(entry: Entry, images: Path, texts: Sequence[str]) -> str:
    """One example as a line of JSON, with its line end, in ASCII.

    Args:
        entry: An image and its objects.
        images: The set's image folder.
        texts: What every object is called, in order.

    Raises:
        EntryError: If the image can't be read, or has more bytes than an example may.
    """
    shown, _ = picture(images / entry.image, entry.size_hw, LARGEST_IMAGE)
    url = f"data:{MIMES[shown.format]};base64,{base64.b64encode(shown.data).decode('ascii')}"
    answer = {"descriptions": [_item(*told) for told in zip(range(len(texts)), entry.objects, texts, strict=True)]}
    messages = [
        {"role": "system", "content": SYSTEM},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": question(entry)},
                {"type": "image_url", "image_url": {"url": url, "detail": "high"}},
            ],
        },
        {"role": "assistant", "content": json.dumps(answer, ensure_ascii=False)},
    ]
    return json.dumps({"messages": messages}) + "\n"


def _item(index: int, one: Annotated, text: str) -> dict[str, Any]:
    arrangement = {"arrangement": one.arrangement} if one.arrangement else {}
    return {"index": index, **arrangement, "description": text}


def question(entry: Entry) -> str:
    """The structured prompt (Fig. 3): the image's size, every object's index, class and centre, and the rules."""
    height, width = entry.size_hw
    listed = []
    for index, one in enumerate(entry.objects):
        x1, y1, x2, y2 = one.box_xyxy_px
        listed.append(f"{index}: {' '.join(one.class_name.split())} ({round((x1 + x2) / 2)}, {round((y1 + y2) / 2)})")
    return (
        f"The image has {width} x {height} pixels. Its objects, each with its index, its class, and its centre (x, y) "
        "in pixels from the upper left corner:\n" + "\n".join(listed) + f"\n{_RULES}"
    )
