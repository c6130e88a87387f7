"""What can be asked: of every kind of question something is known, and crowds and boxes are not counted off."""

from __future__ import annotations

from typing import Any

import pytest

from geopix.data.askable import MOST_COUNTED_OFF, able, askable, candidates, listed, not_there
from geopix.data.mixture import KINDS


def facts(*classes: str, **more: Any) -> dict[str, Any]:
    instances = [{"class": name, "box": [1, 1, 5, 5], "phrases": [f"the {name}"], "masked": True} for name in classes]
    nothing: dict[str, Any] = {"captions": [], "turns": [], "there": [], "missing": []}
    return {"key": "k", "size_hw": [9, 9], "instances": instances, "complete": True, **nothing, **more}


def test_every_kind_of_question_is_decided_upon_and_no_other() -> None:
    assert {kind: able(kind, facts("ship")) for kind in KINDS} == {
        "segment": True, "all": True, "absent": True, "refer": True, "presence": True, "count": True, "caption": True,
        "mixed": False, "vqa": False, "there": False, "nowhere": True,
    }  # fmt: skip
    with pytest.raises(KeyError):
        able("riddle", facts("ship"))


def test_without_objects_labels_words_and_a_look_nothing_can_be_asked() -> None:
    assert not askable(facts(complete=False))
    assert askable(facts(complete=False, missing=["ship"]))
    assert askable(facts(complete=False, captions=["Trees."]))


def test_a_crowd_and_what_has_only_a_box_are_not_counted_off() -> None:
    told = facts(*["ship"] * MOST_COUNTED_OFF, "bridge", "unknown")
    assert list(listed(told)) == ["ship", "bridge"]
    told["instances"][-2]["masked"] = False
    assert list(listed(told)) == ["ship"]
    assert list(listed(facts(*["ship"] * (MOST_COUNTED_OFF + 1)))) == []


def test_absent_is_what_was_looked_for() -> None:
    assert not_there(["ship", "dam", "harbor"], {"dam": 1}) == ["ship", "harbor"]
    assert candidates(facts("ship", classes=["dam", "ship"], missing=["harbor"])) == ["dam"]
    assert candidates(facts("ship", complete=False, missing=["harbor"])) == ["harbor"]
