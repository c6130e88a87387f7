"""Label Studio: what it is given, and what it gives back in all the ways in which people use it."""

from __future__ import annotations

import copy
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from geopix.data.review import labelstudio
from geopix.data.review.brush import decode
from geopix.data.review.corrections import Correction, Header, ReviewError, Spot
from geopix.records import decode_mask
from tests.tiny_review import HOSTILE, SIZE_HW, entry, pair, thing

HEADER = Header("ab" * 32, "0123456789ab", 3)
ENTRY = pair(7)
TEXTS = [["the left ship"], ["the right ship"]]


def exported(**changed: Any) -> dict[str, Any]:
    """The task as Label Studio exports it once somebody submitted what was predicted."""
    task = labelstudio.task(ENTRY, "http://x/7.png", TEXTS, HEADER)
    result = copy.deepcopy(task["predictions"][0]["result"])
    return {
        "id": 1,
        "data": task["data"],
        "annotations": [{"id": 5, "was_cancelled": False, "result": result}],
        **changed,
    }


def part(task: dict[str, Any], region: str, kind: str) -> dict[str, Any]:
    return next(one for one in task["annotations"][0]["result"] if (one["id"], one["type"]) == (region, kind))


def test_a_task_has_boxes_brushes_and_texts() -> None:
    task = labelstudio.task(ENTRY, "http://x/7.png", TEXTS, HEADER)
    result = task["predictions"][0]["result"]
    assert [(one["id"], one["type"]) for one in result] == [
        ("object-0", "rectanglelabels"),
        ("object-0", "textarea"),
        ("object-0-mask", "brushlabels"),
        ("object-1", "rectanglelabels"),
        ("object-1", "textarea"),
    ]
    assert result[3]["value"] == {
        "x": 50.0, "y": 50.0, "width": pytest.approx(100 / 3), "height": 37.5, "rotation": 0,
        "rectanglelabels": ["ship"],
    }  # fmt: skip
    assert {(one["original_width"], one["original_height"]) for one in result} == {(60, 40)}
    assert result[1]["value"]["text"] == ["the left ship"]
    counts = ENTRY.objects[0].counts
    assert counts is not None
    assert np.array_equal(decode(result[2]["value"]["rle"], SIZE_HW), decode_mask({"size": SIZE_HW, "counts": counts}))
    assert task["data"]["image"] == "http://x/7.png"


def test_the_interface_names_what_the_tasks_use() -> None:
    view = ElementTree.fromstring(labelstudio.config(["ship", 'a "<&>" b'], 2))
    names = {one.get("name") for one in view.iter()} - {None}
    task = labelstudio.task(ENTRY, "", TEXTS, HEADER)
    assert {one["from_name"] for one in task["predictions"][0]["result"]} | {"image", "verdict"} == names
    assert [one.get("value") for one in view.findall("./BrushLabels/Label")] == ["ship", 'a "<&>" b']
    area = next(view.iter("TextArea"))
    assert (area.get("perRegion"), area.get("editable"), area.get("maxSubmissions")) == ("true", "true", "2")


def test_a_name_that_xml_can_not_hold_is_the_same_in_both() -> None:
    odd = entry(1, thing("sh\x00ip", (2, 2, 12, 12), HOSTILE))
    view = ElementTree.fromstring(labelstudio.config([labelstudio.label("sh\x00ip")], 1))
    result = labelstudio.task(odd, "", [[HOSTILE]], HEADER)["predictions"][0]["result"]
    assert result[0]["value"]["rectanglelabels"] == [view.findall("./RectangleLabels/Label")[0].get("value")]


def test_what_was_submitted_as_it_was_is_accepted() -> None:
    header, found = labelstudio.read(exported())
    assert header == HEADER
    assert found == [
        Correction(Spot("toy/7", 0, 0), "the left ship", "accepted", "the left ship"),
        Correction(Spot("toy/7", 1, 0), "the right ship", "accepted", "the right ship"),
    ]


def test_rewritten_wrong_deleted_and_not_looked_at() -> None:
    task = exported()
    part(task, "object-0", "textarea")["value"]["text"] = ["the ship  on the left "]
    task["annotations"][0]["result"].append(
        {"id": "object-1", "from_name": "verdict", "type": "choices", "value": {"choices": ["wrong"]}}
    )
    verdicts = [(one.verdict, one.words) for one in labelstudio.read(task)[1]]
    assert verdicts == [("rewritten", "the ship on the left"), ("rejected", "")]

    task = exported()
    task["annotations"][0]["result"].remove(part(task, "object-1", "rectanglelabels"))
    assert [one.verdict for one in labelstudio.read(task)[1]] == ["accepted", "rejected"]

    task = exported()
    task["annotations"][0]["result"].remove(part(task, "object-1", "textarea"))
    assert [one.verdict for one in labelstudio.read(task)[1]] == ["accepted", "rejected"]

    assert labelstudio.read(exported(annotations=[]))[1] == []
    task = exported()
    task["annotations"][0]["was_cancelled"] = True
    assert labelstudio.read(task)[1] == []


def test_several_texts_of_an_object_are_told_apart() -> None:
    texts = [["a ship", "the ship", "one ship"], [""]]
    task = labelstudio.task(ENTRY, "", texts, HEADER)
    result = task["predictions"][0]["result"]
    assert [one["type"] for one in result] == ["rectanglelabels", "textarea", "brushlabels", "rectanglelabels"]
    result[1]["value"]["text"] = ["one ship", "a boat", "the ship"]
    read = labelstudio.read({"data": task["data"], "annotations": [{"result": result}]})[1]
    assert [(one.was, one.verdict, one.words) for one in read] == [
        ("a ship", "rewritten", "a boat"),
        ("the ship", "accepted", "the ship"),
        ("one ship", "accepted", "one ship"),
    ]  # and the object without a text is still without


def test_a_text_may_be_written_where_there_was_none() -> None:
    task = labelstudio.task(ENTRY, "", [["the left ship"], [""]], HEADER)
    result = task["predictions"][0]["result"]
    result.append({**result[1], "id": "object-1", "value": {"text": "the other ship"}})
    read = labelstudio.read({"data": task["data"], "annotations": [{"result": result}]})[1]
    assert read[1] == Correction(Spot("toy/7", 1, 0), "", "rewritten", "the other ship")


def test_two_people_who_agree_are_one() -> None:
    task = exported()
    task["annotations"] *= 2
    assert len(labelstudio.read(task)[1]) == 2
    task["annotations"] = [task["annotations"][0], copy.deepcopy(task["annotations"][0])]
    part(task, "object-0", "textarea")["value"]["text"] = ["a ship"]
    with pytest.raises(ReviewError, match="annotations of toy/7 disagree"):
        labelstudio.read(task)


def broken(change: str) -> Any:
    task = exported()
    result = task["annotations"][0]["result"]
    if change == "region":
        result.append({**part(task, "object-0", "rectanglelabels"), "id": "x1Yz"})
    elif change == "far":
        part(task, "object-1", "rectanglelabels")["id"] = "object-2"
    elif change == "twice":
        result.append(part(task, "object-0", "textarea"))
    elif change == "mask":
        result.append({**part(task, "object-0", "textarea"), "id": "object-0-mask"})
    elif change == "more":
        part(task, "object-0", "textarea")["value"]["text"].append("and more")
    elif change == "number":
        part(task, "object-0", "textarea")["value"]["text"] = [7]
    elif change == "empty":
        part(task, "object-0", "textarea")["value"]["text"] = [" "]
    elif change == "mark":
        part(task, "object-0", "textarea")["value"]["text"] = ["the [SEG0] ship"]
    elif change == "min":
        return {"image": "x.png", "description": ["a"]}
    elif change == "imported":
        del task["annotations"]
    elif change == "header":
        del task["data"]["review"]
    elif change == "asked":
        task["data"]["asked"] = 5
    return task


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("region", "'x1Yz' that was not asked about"),
        ("far", "'object-2' that was not asked about"),
        ("twice", "described twice"),
        ("mask", "at its box and at its mask"),
        ("more", "has 2 texts, where 1 was asked about"),
        ("number", "no text"),
        ("empty", "text empty"),
        ("mark", "mark of the dialogue"),
        ("min", "choose JSON there, not JSON-MIN"),
        ("imported", "give what Label Studio exports"),
        ("header", "which review"),
        ("asked", "what it asked"),
    ],
)
def test_what_can_not_be_understood_is_told(change: str, said: str) -> None:
    with pytest.raises(ReviewError, match=said):
        labelstudio.read(broken(change))
