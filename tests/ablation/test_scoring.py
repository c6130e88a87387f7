"""Masks with the right words given: scored by hand, and Q_c is what a row says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from geopix.ablation.plan import Test
from geopix.ablation.scoring import class_query, score
from geopix.classes import ClassVocabulary
from geopix.model.mask_predictor import MaskPrediction
from geopix.train.answers import AnswersError
from tests.tiny_ablation import Tiny


def silent(what: str, done: int, total: int) -> None:
    """Tell nothing."""


def test_the_truth_scores_one_and_its_opposite_zero(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks are drawn from the boxes of the truth, in the square that the model sees."""
    bench = tiny.bench()
    drawn: list[Any] = []
    signs: list[float] = []

    def predict(seen: Any, groups: Any, *_: Any, **__: Any) -> MaskPrediction:
        place = len(drawn)
        store, questions = bench.on.store[place], bench.on.questions[place]
        wanted = [target for question in questions for target in question.turn.targets]
        drawn.append(wanted)
        assert groups.shape[:2] == (1, len(wanted))
        return MaskPrediction(signs[-1] * (store.masks[wanted][None].float() - 127.5), [], [])

    monkeypatch.setattr(tiny.model, "predict_masks", predict)
    for sign, low, high in ((1.0, 0.8, 1.0), (-1.0, 0.0, 0.1)):
        drawn.clear()
        signs.append(sign)
        scores = score(tiny.model, bench.on, bench.on_states, "predicted", silent)
        assert len(scores) == len(bench.on.flat) == 6
        assert all(low <= one.iou <= high for one in scores)
        assert all(one.intersection_px <= one.union_px for one in scores)


@pytest.mark.parametrize("test", ["predicted", "top-1", "given", "wrong", "unknown", "none", "initial"])
def test_where_the_class_comes_from(test: Test) -> None:
    vocabulary = ClassVocabulary()
    slots = [0, 9, 4]
    named, query = class_query(slots, test, vocabulary, place=3)
    assert query == {"top-1": "top-1", "none": "none"}.get(test, "mixture")
    if test == "given":
        assert named == slots
    elif test == "unknown":
        assert named == [10, 10, 10]
    elif test == "wrong":
        assert named is not None
        assert all(0 <= one < 10 and one != slot for one, slot in zip(named, slots, strict=True))
        assert class_query(slots, test, vocabulary, place=3)[0] == named
    else:
        assert named is None


def test_every_kind_of_test_time_changes_masks(tiny: Tiny) -> None:
    """The tiny model's memory is amplified until classes differ; then every kind but those that agree differs."""
    memory: Any = tiny.model.mask_predictor.memory
    torch.manual_seed(0)
    memory.folded.copy_(30 * torch.randn_like(memory.folded))
    bench, sums = tiny.bench(), {}
    found: list[Any] = []
    ask = tiny.model.predict_masks

    def heard(*args: Any, **more: Any) -> MaskPrediction:
        out: MaskPrediction = ask(*args, **more)
        found.append(out)
        return out

    tiny.model.predict_masks = heard  # type: ignore[method-assign]
    kinds: tuple[Test, ...] = ("predicted", "top-1", "given", "wrong", "unknown", "none", "initial")
    for kind in kinds:
        found.clear()
        score(tiny.model, bench.on, bench.on_states, kind, silent)
        sums[kind] = round(sum(float(one.logits.double().abs().sum()) for one in found), 6)
    assert len(set(sums.values())) == len(kinds)


def test_damaged_validation_states_are_told(tiny: Tiny, tmp_path: Path) -> None:
    tiny.bench()
    (path,) = (tmp_path / "ablation" / "validation").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:64])
    with pytest.raises(AnswersError, match="damaged"):
        tiny.bench()
