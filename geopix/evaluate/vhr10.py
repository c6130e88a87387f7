"""Multi-referring segmentation and honesty on held-out VHR-10 images, free-running (Table III's task, AR-H)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from geopix.assistant import Assistant
from geopix.data.mixture import absent, all_of_a_class, facts_of, refer, segment
from geopix.data.sources.coco import read_vhr10
from geopix.data.windows import passing_windows
from geopix.dialogue import text_box
from geopix.evaluate.metrics import (
    QuestionScore,
    bootstrap,
    box_iou,
    cumulative_iou,
    cumulative_iou_of,
    pooled_ious,
    score_question,
)
from geopix.records import Answer, Sample, Turn

SEED = 2026
WINDOWS_EACH = 3

PROTOCOL = (
    "AR-H: the model writes the answer itself, greedy; masks at the window's original resolution; masks of a question "
    "paired with the true ones for the greatest total IoU; missing and extra masks count as zero; mean over questions; "
    "95 % interval by bootstrap over images, 2,000 draws. Questions are drawn by code from the annotations of the "
    "validation images and of windows cut from them (not trained on; samples of them guided the design)."
)


@dataclass(frozen=True)
class Question:
    """One question about one window; ``image_key`` names the whole image, which the bootstrap draws."""

    kind: str
    window: Sample
    image_key: str
    turn: Turn


def questions(data: Path) -> list[Question]:
    """The fixed list of validation questions: of every window one referring, one "all", one absent, one box.

    Args:
        data: The folder that holds nwpu_vhr10.
    """
    found = []
    for index, window in enumerate(passing_windows(read_vhr10(data / "nwpu_vhr10", "val"), WINDOWS_EACH, seed=7)):
        rng = np.random.default_rng((SEED, index))
        facts = facts_of(window)
        key = window.key.split("#")[0]
        for kind, asker in (("referred", segment), ("all", all_of_a_class), ("absent", absent), ("box", refer)):
            turn = asker(facts, rng)
            if kind != "box" or turn.task == "refer":
                found.append(Question(kind, window, key, turn))
    return found


class _Kinded(Protocol):
    @property
    def kind(self) -> str: ...


AnyQuestion = TypeVar("AnyQuestion", bound=_Kinded)


def spread(asked: Sequence[AnyQuestion], limit: int) -> list[AnyQuestion]:
    """At most ``limit`` of the questions, in their order: every kind has its share, evenly spaced over the images."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, question in enumerate(asked):
        places[question.kind].append(place)
    wanted, seen = min(limit, len(asked)), 0
    chosen: list[int] = []
    for number, members in enumerate(places.values()):
        count = wanted * (seen + len(members)) // len(asked) - wanted * seen // len(asked)
        seen += len(members)
        shift = number / len(places)  # so that every kind asks about other images
        chosen += [members[int((step + shift) * len(members) / count)] for step in range(count)]
    return [asked[place] for place in sorted(chosen)]


def evaluate(
    assistant: Assistant, asked: Sequence[Question], batch_size: int, progress: Callable[[int], None]
) -> dict[str, Any]:
    """Ask everything and score it.

    Returns:
        A JSON-ready report: protocol, n, and for every measure its value and 95 % interval.
    """
    scores: dict[str, list[QuestionScore]] = defaultdict(list)
    keys: dict[str, list[str]] = defaultdict(list)
    marks: dict[str, list[float]] = defaultdict(list)
    by_class: dict[str, list[float]] = defaultdict(list)
    calibration: list[tuple[float, float]] = []
    for question, answer in _answers(assistant, asked, batch_size, progress):
        keys[question.kind].append(question.image_key)
        window, turn = question.window, question.turn
        masks = [instance.mask for instance in answer.instances if instance.mask is not None]
        if question.kind == "absent":
            marks["absent refused"].append(float(not masks))
        elif question.kind == "box":
            true = text_box(turn.answer, window.size_hw)
            boxes = [instance.box_xyxy_px for instance in answer.instances]
            marks["box A@0.5"].append(float(bool(boxes) and true is not None and box_iou(boxes[0], true) >= 0.5))
        else:
            truth = [window.instances[index] for index in turn.targets]
            score = score_question(
                _stack(masks, window.size_hw), _stack([instance.mask for instance in truth], window.size_hw)
            )
            scores[question.kind].append(score)
            marks["present refused"].append(float(not masks))
            marks["count right"].append(float(score.count_is_right))
            if score.count_is_right:
                for instance, iou in zip(truth, score.ious, strict=True):
                    by_class[instance.class_name].append(iou)
                calibration += [
                    (instance.score, iou)
                    for instance, iou in zip(answer.instances, score.ious, strict=False)
                    if instance.score is not None and len(score.ious) == 1
                ]
    both = scores["referred"] + scores["all"]
    both_keys = keys["referred"] + keys["all"]
    report: dict[str, Any] = {"protocol": PROTOCOL, "model": assistant.name, "images": len(set(both_keys))}
    for name, group, group_keys in (
        ("overall", both, both_keys),
        ("referred", scores["referred"], keys["referred"]),
        ("all of a class", scores["all"], keys["all"]),
    ):
        if group:
            report[name] = _segmentation(group, group_keys)
    report["shares"] = {
        name: {"n": len(values), "value": float(np.mean(values)) if values else None} for name, values in marks.items()
    }
    report["IoU by class, where the count was right"] = {
        name: {"n": len(values), "mean_iou": float(np.mean(values))} for name, values in sorted(by_class.items())
    }
    if calibration:
        report["predicted IoU, mean absolute error on single targets"] = {
            "n": len(calibration), "value": float(np.mean([abs(score - iou) for score, iou in calibration])),
        }  # fmt: skip
    return report


def write(report: dict[str, Any], path: Path) -> None:
    """The report as indented JSON, whole or not at all."""
    staging = path.with_name(f".{path.name}.part")
    try:
        staging.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def _answers(
    assistant: Assistant, asked: Sequence[Question], batch_size: int, progress: Callable[[int], None]
) -> Iterator[tuple[Question, Answer]]:
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        answers = assistant.ask_batch(
            [question.window.image for question in batch], [question.turn.question for question in batch]
        )
        yield from zip(batch, answers, strict=True)
        progress(start + len(batch))


def _segmentation(scores: list[QuestionScore], keys: list[str]) -> dict[str, Any]:
    interval = bootstrap(np.array([score.mean_iou for score in scores]), keys)
    areas = np.array([[score.intersection_px, score.union_px] for score in scores], dtype=np.float64)
    whole = bootstrap(areas, keys, statistic=cumulative_iou_of)
    ious = pooled_ious(scores)
    return {
        "n": len(scores),
        "targets": int(sum(score.n_true for score in scores)),
        "mean_iou": interval.value,
        "mean_iou_95": [interval.low, interval.high],
        "ciou": cumulative_iou(scores),
        "ciou_95": [whole.low, whole.high],
        "per_mask_mean_iou": float(ious.mean()),
        "p_at_0.5": float((ious >= 0.5).mean()),
    }


def _stack(masks: Sequence[Any], size_hw: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.stack(masks) if masks else np.zeros((0, *size_hw), dtype=np.bool_)
