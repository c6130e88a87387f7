"""What the describer learns from: what it is asked about an image, and the answer that people stand for (§IV-C)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geopix.data.describe import prompt
from geopix.data.describe.task import Task
from geopix.data.entries import Annotated, Entry


def line(entry: Entry, images: Path, texts: Sequence[str]) -> str:
    """One example as a line of JSON, with its line end, in ASCII: the describer's own question, word for word.

    Args:
        entry: An image and its objects.
        images: The set's image folder.
        texts: What every object is called, in order.

    Raises:
        EntryError: If the image can't be read.
    """
    asked = prompt.request(Task(entry, images, tuple(range(len(texts)))), "").body()["messages"]
    answer = {"descriptions": [_item(*told) for told in zip(range(len(texts)), entry.objects, texts, strict=True)]}
    said = {"role": "assistant", "content": json.dumps(answer, ensure_ascii=False)}
    return json.dumps({"messages": [*asked, said]}) + "\n"


def _item(index: int, one: Annotated, text: str) -> dict[str, Any]:
    arrangement = {"arrangement": one.arrangement} if one.arrangement else {}
    return {"index": index, **arrangement, "description": text}
