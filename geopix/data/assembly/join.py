"""Descriptions of one set onto the masks of another that shows the same images (§IV-B: how SIOR-T was made)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geopix.classes import UNKNOWN
from geopix.data.assembly.recipe import Join
from geopix.data.entries import Annotated, Entry


def joined(entry: Entry, partners: Sequence[Entry], rule: Join) -> tuple[Entry, Counter[str]]:
    """An entry whose objects carry the descriptions that its partners have for the same boxes.

    A described box and an object belong together where each is the other's nearest, by the largest difference of
    their sides, and no side differs by more than the tolerance: a description whose object has no mask must not fall
    to the neighbour. Every description of a box is kept, in order, each once.

    Args:
        entry: The image with masks.
        partners: Entries of the same image with descriptions.
        rule: The tolerance, and what happens to objects without a description.

    Returns:
        The entry, and numbers of what found its counterpart and what did not, on either side.
    """
    told: Counter[str] = Counter()
    texts: dict[tuple[tuple[float, ...], str], list[str]] = {}
    for partner in partners:
        if partner.size_hw != entry.size_hw:
            told["join: partners of another size"] += 1
            continue
        for one in partner.objects:
            if one.descriptions:
                texts.setdefault((one.box_xyxy_px, one.class_name), []).extend(one.descriptions)
    told["join: images without a partner"] += not partners
    boxes = list(texts)
    found = _pairs(entry.objects, boxes, rule)
    objects = []
    for index, one in enumerate(entry.objects):
        if index in found:
            words = dict.fromkeys((*one.descriptions, *texts[boxes[found[index]]]))
            one = replace(one, descriptions=tuple(words))
            told["join: descriptions given"] += len(set(texts[boxes[found[index]]]))
        if one.descriptions or rule.undescribed == "keep":
            objects.append(one)
    told["join: objects described"] += len(found)
    told["join: objects without a description"] += len(entry.objects) - len(found)
    told["join: described boxes without an object"] += len(boxes) - len(found)
    complete = entry.complete and len(objects) == len(entry.objects)
    return replace(entry, objects=tuple(objects), complete=complete), told


def _pairs(objects: Sequence[Annotated], boxes: Sequence[tuple[tuple[float, ...], str]], rule: Join) -> dict[int, int]:
    """Index of an object -> index of the described box that belongs to it."""
    if not objects or not boxes:
        return {}
    ours = np.array([one.box_xyxy_px for one in objects])
    theirs = np.array([box for box, _ in boxes])
    apart = np.abs(ours[:, None] - theirs[None]).max(axis=2)  # (objects, boxes)
    if rule.same_class:
        names = [one.class_name for one in objects]
        alike = [[UNKNOWN in (name, other) or name == other for _, other in boxes] for name in names]
        apart = np.where(alike, apart, np.inf)
    nearest = apart.argmin(axis=1)
    return {
        index: int(box)
        for index, box in enumerate(nearest)
        if apart[index, box] <= rule.tolerance_px and int(apart[:, box].argmin()) == index
    }
