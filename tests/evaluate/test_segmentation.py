"""Tables III and VIII question by question: perfect masks, in another order, too many; hostile answers are counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from geopix.evaluate.answers import Answers, AnswersError, Given, from_json
from geopix.evaluate.grounding import said, whole_iou
from geopix.evaluate.measures import Measure
from geopix.evaluate.probe import Probe, Truth
from geopix.evaluate.segmentation import QUERY, Tally
from geopix.records import encode_mask


def _square(start: int) -> str:
    mask = np.zeros((20, 20), dtype=np.bool_)
    mask[start : start + 5, start : start + 5] = True
    return str(encode_mask(mask)["counts"])


TWO = (_square(0), _square(10))
PROBE = Probe(
    "q", "image", "all", "Segment all ships.", (20, 20), np.zeros((20, 20, 3), dtype=np.uint8),
    truth=tuple(Truth("ship", one) for one in TWO),
)  # fmt: skip


def _values(*masks: str) -> dict[str, tuple[float | None, ...]]:
    tally = Tally()
    tally.add(PROBE, Given("", masks, (None,) * len(masks)))
    return {
        row.name: tuple(cell.value if isinstance(cell, Measure) else None for cell in row.cells) for row in tally.rows()
    }


def test_perfect_masks_give_one_in_any_order_by_ar_h_and_not_by_ar_o() -> None:
    for name in ("mIoU, mean over masks", "cIoU", "P@0.9, IoU > 0.9", "boundary IoU", "IoU of ship"):
        assert _values(*TWO)[name][:2] == (1.0, 1.0)
        assert _values(*TWO[::-1])[name][0] == 1.0
        assert _values(*TWO[::-1])[name][1] == 0.0


def test_an_iou_on_the_threshold_counts_by_one_of_the_two_signs() -> None:
    twice = np.zeros((20, 20), dtype=np.bool_)
    twice[:5, :10] = True  # the first square and as much again
    found = _values(str(encode_mask(twice)["counts"]), TWO[1])
    assert found["P@0.5, IoU ≥ 0.5"][0] == 1.0
    assert found["P@0.5, IoU > 0.5"][0] == 0.5
    assert found["P@0.6, IoU ≥ 0.6"][0] == 0.5


def test_given_words_have_their_own_masks_and_only_where_there_are_any() -> None:
    tally = Tally()
    tally.add(PROBE, Given(), Given("", TWO[::-1], (None, None)))
    cells = {row.name: row.cells for row in tally.rows()}
    free, _, told = cells["mIoU, mean over masks"]
    assert isinstance(free, Measure)
    assert isinstance(told, Measure)
    assert (free.value, told.value) == (0.0, 0.0)  # each is held against the one that its words are about
    assert cells["number of masks right"][2] is None
    tally = Tally()
    tally.add(PROBE, Given("", TWO, (None, None)))
    assert {row.cells[2] for row in tally.rows()} == {"not given", None}


def test_the_class_query_is_right_where_the_true_class_has_more_than_half_of_it() -> None:
    def share(*classes: tuple[str, float | None]) -> float | None:
        tally = Tally()
        tally.add(PROBE, Given(), Given("", TWO, (None, None), classes=classes))
        cells = {row.name: row.cells[2] for row in tally.rows()}
        found = cells.get(QUERY)
        return found.value if isinstance(found, Measure) else None

    assert share(("ship", 0.9), ("ship", 0.51)) == 1.0
    assert share(("ship", 0.9), ("ship", 0.4)) == 0.5
    assert share(("ship", 0.9), ("airplane", 0.9)) == 0.5
    assert share(("ship", 0.9), ("ship", None)) is None  # nobody predicted it


def test_an_extra_mask_lowers_ar_h_and_is_forgiven_by_ar_o() -> None:
    found = _values(*TWO, _square(15))
    assert found["mIoU, mean over masks"][:2] == pytest.approx((2 / 3, 1.0))
    assert found["extra masks"][0] == pytest.approx(1 / 3)
    assert found["number of masks right"][0] == 0.0


def test_nothing_said_of_what_is_not_there_is_told_by_both_rules() -> None:
    tally = Tally()
    tally.add(Probe("a", "i", "absent", "Segment the ship.", (20, 20), PROBE.picture), Given())
    cells = {row.name: row.cells[0] for row in tally.rows()}
    one, zero = (cells[f"mIoU with absent objects, nothing meant and nothing said is {n}"] for n in (1, 0))
    assert isinstance(one, Measure)
    assert isinstance(zero, Measure)
    assert (one.value, zero.value) == (1.0, 0.0)


def test_the_plus_one_rule_and_numbers_in_words() -> None:
    assert whole_iou((0, 0, 9, 9), (0, 0, 9, 19)) == pytest.approx(0.5)
    assert whole_iou((0, 0, 0, 0), (0, 0, 0, 0)) == 1.0  # a point, by this rule, has a pixel
    assert said(Given("at {<10><20><30><40>}"), (200, 100)) == ((10, 20, 30, 40), (10.0, 40.0, 30.0, 80.0))
    assert said(Given("no box 1 2 3"), (200, 100)) == (None, None)


def test_what_is_wrong_with_answers_is_counted(tmp_path: Path) -> None:
    good = {"id": "q", "model": "m", "text": "x", "instances": [
        {"mask": {"size": [20, 20], "counts": TWO[0]}, "score": float("nan")},
        {"mask": {"size": [9, 9], "counts": TWO[0]}},
        {"mask": {"size": [20, 20], "counts": "???"}},
    ]}  # fmt: skip
    path = tmp_path / "answers.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(good)}\n" + '{"id": "other"}\n{"id": "r", "te')
    found = Answers(path, {"q": (20, 20), "r": (20, 20)})
    assert len(found.of("q").masks) == 3
    assert found.of("r").masks == ()
    assert sorted(count for count in found.problems.values()) == [1] * 7
    told = " ".join(found.problems)
    for word in ("cut short", "second answers", "not asked", "without an answer", "another size", "invalid", "scores"):
        assert word in told
    path.write_text("")
    with pytest.raises(AnswersError, match="empty"):
        Answers(path, {"q": (20, 20)})


def test_an_unreadable_mask_is_a_mask_of_nothing() -> None:
    problems: Counter[str] = Counter()
    found = from_json({"instances": [{"mask": {"size": [20, 20], "counts": "x"}}]}, (20, 20), problems)
    tally = Tally()
    tally.add(PROBE, found)
    assert {row.name: row.cells[0].value for row in tally.rows() if isinstance(row.cells[0], Measure)}[
        "present objects refused"
    ] == 0.0
