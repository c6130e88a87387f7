"""Free-running evaluation on made-up windows: what is asked, how it is scored, what the report says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from geopix.assistant import Assistant
from geopix.evaluate import vhr10
from geopix.evaluate.vhr10 import Question
from geopix.records import Answer, Image, Instance, Sample, Turn, mask_box


def _square(left: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    mask = np.zeros((20, 40), np.bool_)
    mask[5:15, left : left + 10] = True
    return mask


def _instance(left: int) -> Instance:
    mask = _square(left)
    return Instance("the ship", "ship", mask_box(mask), mask, score=0.5)


WINDOW = Sample("nwpu_vhr10/1.jpg", np.zeros((20, 40, 3), np.uint8), (_instance(0), _instance(20)), split="val")


def _question(kind: str, image: int, *targets: int) -> Question:
    answer = "Here: {<5><5><25><25>}" if kind == "box" else "Here."
    return Question(kind, WINDOW, f"image {image}", Turn(f"{kind} {targets}", answer, targets=targets))


class Oracle(Assistant):
    """Answers with a fixed list of instances for every question."""

    def __init__(self, said: dict[str, tuple[Instance, ...]]) -> None:
        self.name, self.said, self.batches = "oracle", said, list[int]()

    def ask_batch(self, images: Sequence[Image], questions: Sequence[str], at_once: int = 16) -> list[Answer]:
        self.batches.append(len(questions))
        return [Answer("", self.said[question], (20, 40), self.name, 0.0) for question in questions]


def _report() -> tuple[dict[str, object], Oracle, list[int]]:
    asked = [
        _question("referred", 0, 0),
        _question("all", 0, 0, 1),
        _question("absent", 1),
        _question("referred", 1, 1),
    ]
    oracle = Oracle(
        {
            "referred (0,)": (_instance(5),),  # half of it: 50 of 150 pixels
            "all (0, 1)": (_instance(20), _instance(0)),  # both, in another order
            "absent ()": (_instance(0),),  # there is none
            "referred (1,)": (),  # missed
        }
    )
    done: list[int] = []
    return vhr10.evaluate(oracle, asked, 3, done.append), oracle, done


def test_scores_by_hand() -> None:
    report, oracle, done = _report()
    assert (oracle.batches, done) == ([3, 1], [3, 4])
    overall, referred, every = (report[name] for name in ("overall", "referred", "all of a class"))
    assert isinstance(overall, dict)
    assert isinstance(referred, dict)
    assert isinstance(every, dict)
    assert overall["n"] == 3
    assert overall["targets"] == 4
    assert overall["mean_iou"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert referred["mean_iou"] == pytest.approx(1 / 6)
    assert every["mean_iou"] == 1
    assert overall["ciou"] == pytest.approx((50 + 200) / (150 + 200 + 100))
    low, high = overall["mean_iou_95"]
    assert low <= overall["mean_iou"] <= high
    shares = report["shares"]
    assert isinstance(shares, dict)
    assert shares["absent refused"] == {"n": 1, "value": 0.0}
    assert shares["present refused"] == {"n": 3, "value": pytest.approx(1 / 3)}
    assert shares["count right"] == {"n": 3, "value": pytest.approx(2 / 3)}


def test_the_report_is_written_whole(tmp_path: Path) -> None:
    report, _, _ = _report()
    vhr10.write(report, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_share_of_the_questions_keeps_kinds_and_images() -> None:
    asked = [_question(kind, image) for image in range(100) for kind in ("referred", "all", "absent", "box")]
    chosen = vhr10.spread(asked, 40)
    assert len(chosen) == 40
    assert len({question.image_key for question in chosen}) == 40
    for kind, first in (("referred", 0), ("all", 2), ("absent", 5), ("box", 7)):
        images = [int(question.image_key.split()[1]) for question in chosen if question.kind == kind]
        assert [image // 10 for image in images] == list(range(10))
        assert images[0] == first
    places = [asked.index(question) for question in chosen]
    assert places == sorted(places)
    assert vhr10.spread(asked, 1000) == asked
