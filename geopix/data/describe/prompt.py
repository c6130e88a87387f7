"""The structured prompt of Fig. 3, in words of our own (§IV-C): arrangement first, then words that fit it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as PillowImage

from geopix.data.describe.task import Task
from geopix.data.entries import Annotated, read_image

LONGEST_SIDE = 2048
"""Pixels of the longer side of an image that is sent; endpoints shrink larger ones anyway."""
QUALITY = 90
MOST_FAULTS = 40
"""Earlier faults that are told, the last ones."""

_ROLE = "You describe objects in images taken from above, so that each description means one object and no other."
_RULES = """\
The image is {width} pixels wide and {height} pixels high. x grows to the right, y grows downwards.

Step 1. Decide for every object how it is arranged among the objects of its own class:
- isolated: no other of its class is near it;
- line: it is one of three or more that follow a straight line;
- cluster: it is one of several that are close together without a line.

Step 2. Describe it in one phrase that begins with "the" and names its class.
- isolated: its place in the image, what it is next to, or what sets it apart (largest, only one). Examples: "the harbor
in the lower right corner of the image", "the ship left of the harbor", "the largest storage tank".
- line: first its place in the line, then where the line lies. Examples: "the tennis court farthest to the left in the
row of four tennis courts near the upper edge of the image", "the second vehicle from the right in the row in the center
of the image".
- cluster: first its place inside the cluster (upper right corner of the cluster, left of, in the middle, nearest to,
farthest from), then where the cluster lies. Examples: "the airplane in the upper left corner of the cluster of four
airplanes on the left of the image", "the lower ship of the pair near the right edge of the image".

Each phrase must be true and must fit no other object of the list. Use positions, order and size rather than colors; use
at most 40 words; name no coordinates and no index numbers.
"""
_ANSWER = """\
Describe {wanted}, each of them once, and no other. Answer with JSON alone:
{{"descriptions": [{{"index": 0, "arrangement": "isolated", "description": "the ..."}}]}}"""
_AGAIN = "Earlier answers had faults. Mend them:\n{faults}"


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model about one image.

    Args:
        key: The entry's.
        model: Who is asked.
        image: The picture's file.
        image_sha256: Of the file.
        text: The prompt without the picture.
        schema: Of the answer.
    """

    key: str
    model: str
    image: Path
    image_sha256: str
    text: str
    schema: dict[str, Any]

    @property
    def id(self) -> str:
        """The same for the same image, prompt and model, and for nothing else."""
        told = json.dumps([self.model, self.image_sha256, _ROLE, self.text, self.schema], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    def body(self) -> dict[str, Any]:
        """What an OpenAI-compatible endpoint is sent: chat completions with a vision message and a JSON schema."""
        picture = {"type": "image_url", "image_url": {"url": data_uri(self.image), "detail": "high"}}
        return {
            "model": self.model,
            "messages": [
                {"role": "system", "content": _ROLE},
                {"role": "user", "content": [{"type": "text", "text": self.text}, picture]},
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "descriptions", "strict": True, "schema": self.schema},
            },
        }


def request(task: Task, model: str) -> Request:
    """The question about a task's image.

    Raises:
        EntryError: If the image is missing or unreadable.
        OSError: If its file can't be read.
    """
    path = task.images / task.entry.image
    read_image(path, task.entry.size_hw)  # before anybody is paid for looking at something else
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Request(task.entry.key, model, path, digest, text(task), schema(task.wanted))


def text(task: Task) -> str:
    """Rules with examples for every arrangement, the list of objects, what to answer, and earlier faults."""
    height, width = task.entry.size_hw
    objects = "\n".join(f"{index}: {line(one)}" for index, one in enumerate(task.entry.objects))
    parts = [_RULES.format(width=width, height=height), f"Objects (index: class, center x, y):\n{objects}\n"]
    if task.faults:
        parts.append(_AGAIN.format(faults="\n".join(f"- {fault}" for fault in task.faults[-MOST_FAULTS:])) + "\n")
    everything = len(task.wanted) == len(task.entry.objects)
    wanted = "all objects" if everything else f"the objects {', '.join(map(str, task.wanted))}"
    return "\n".join([*parts, _ANSWER.format(wanted=wanted)])


def line(one: Annotated) -> str:
    """An object in the list: its class as its source has it, and its centre in pixels."""
    x1, y1, x2, y2 = one.box_xyxy_px
    name = " ".join((one.category or one.class_name).replace("_", " ").replace("-", " ").split())[:60]
    return f"{name}, {round((x1 + x2) / 2)}, {round((y1 + y2) / 2)}"


def schema(wanted: Sequence[int]) -> dict[str, Any]:
    """The answer's JSON schema, in the part of the language that strict modes know."""
    item = {
        "type": "object",
        "properties": {
            "index": {"type": "integer", "enum": list(wanted)},
            "arrangement": {"type": "string", "enum": ["isolated", "line", "cluster"]},
            "description": {"type": "string"},
        },
        "required": ["index", "arrangement", "description"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"descriptions": {"type": "array", "items": item}},
        "required": ["descriptions"],
        "additionalProperties": False,
    }


def data_uri(path: Path) -> str:
    """A picture as a JPEG in a data URI: pixels only, so that no place, camera or owner in its file is sent along."""
    picture = PillowImage.fromarray(read_image(path))
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
