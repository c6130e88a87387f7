"""Every JSON answer has the one form of docs/answer.schema.json."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geopix.records import Answer, Instance, decode_mask, mask_box

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "answer.schema.json").read_text())


def check(value: Any) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(value)


def an_answer() -> Answer:
    mask = np.zeros((6, 9), np.bool_)
    mask[1:4, 2:7] = True
    instances = (
        Instance("the ship", "ship", mask_box(mask), mask, class_score=0.9, score=0.75),
        Instance("the harbor", "harbor", (0.0, 0.0, 4.5, 6.0)),
    )
    return Answer("the ship [1] in the harbor [2]", instances, (6, 9), "nano", 0.25, id="7")


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_masks_boxes_and_empty_answers_fit() -> None:
    value = json.loads(json.dumps(an_answer().to_json(), allow_nan=False))
    check(value)
    check(Answer("there is no helicopter", (), (6, 9), "nano", 0.0).to_json())
    assert decode_mask(value["instances"][0]["mask"]).sum() == 15


def test_error_answers_fit() -> None:
    check(Answer("", (), (0, 0), "nano", 0.0, id=None, error="line 3 is not a JSON object").to_json())


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_any_mask_fits_and_comes_back(height: int, width: int, data: st.DataObject) -> None:
    bits = data.draw(st.binary(min_size=height * width, max_size=height * width))
    mask = (np.frombuffer(bits, np.uint8) % 2).astype(np.bool_).reshape(height, width)
    answer = Answer("[1]", (Instance("it", "unknown", mask_box(mask), mask),), (height, width), "nano", 0.0)
    value = answer.to_json()
    check(value)
    assert np.array_equal(decode_mask(value["instances"][0]["mask"]), mask)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("id",), 7),
        (("text",), None),
        (("size_hw",), [6]),
        (("size_hw",), [0, 9]),
        (("elapsed_s",), -1),
        (("error",), "it has a text and an error"),
        (("extra",), 1),
        (("instances", 0, "class_score"), 1.5),
        (("instances", 0, "bbox_xyxy_px"), [1, 2, 3]),
        (("instances", 0, "mask"), {"size": [6, 9], "counts": [1, 2]}),
        (("instances", 1, "mask"), []),
    ],
)
def test_other_forms_do_not_fit(path: tuple[str | int, ...], wrong: Any) -> None:
    value: Any = copy.deepcopy(an_answer().to_json())
    place = value
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong
    with pytest.raises(jsonschema.ValidationError):
        check(value)
