"""What a run leaves to look at: numbers, curves and pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from geopix.train import overlays
from geopix.train.watch import Watch
from tests.tiny_run import Run, stop_after


def test_lines_of_steps_to_come_again_and_broken_ones_are_dropped(tmp_path: Path) -> None:
    lines = ['{"step": 0, "loss": 1}', '{"step": 1}', "no JSON", "[]", '{"step": "x"}', '{"step": 2}', '{"step": 1']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    watch = Watch(tmp_path, 2, lambda text: None)
    watch.write(2, {"loss": 0.5}, {"skipped": ["a: b"]})
    watch.sync()
    watch.close()
    kept = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert kept == [{"step": 0, "loss": 1}, {"step": 1}, {"step": 2, "loss": 0.5, "skipped": ["a: b"]}]


def test_without_tensorboard_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    said: list[str] = []
    watch = Watch(tmp_path, 0, said.append)
    watch.write(0, {"loss": 1.0}, {})
    watch.close()
    assert said == ["TensorBoard is not installed (pip install tensorboard); metrics.jsonl holds the same numbers"]
    assert not (tmp_path / "tensorboard").exists()


def test_tensorboard_shows_the_same_numbers(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path, "words").go(stop_after(2))
    run = Run(tmp_path, "words")
    run.go()
    board = events.EventAccumulator(str(tmp_path / "try" / "tensorboard"))
    board.Reload()
    assert set(board.Tags()["scalars"]) >= {"word", "loss", "norm", "seconds"}
    drawn = [(event.step, event.value) for event in board.Scalars("word")]
    assert drawn == [(line["step"], pytest.approx(line["word"])) for line in run.metrics()]  # each step once


@pytest.mark.parametrize("language", ["phrases", "dialogue"])
def test_every_few_steps_a_picture_shows_true_and_predicted_masks(tmp_path: Path, language: str) -> None:
    run = Run(tmp_path, language, overlays_every=3, steps=3, images=3)
    run.go()
    plain = Run(tmp_path / "plain", language, steps=3, images=3)
    plain.go()
    assert run.metrics() == plain.metrics()  # to be looked at changes nothing
    pictures = sorted((tmp_path / "try" / "overlays").iterdir())
    assert [path.name for path in pictures] == ["00000003.png"]
    image = np.asarray(PillowImage.open(pictures[0]))
    assert image.shape[1] == 2 * overlays.SIDE + 8
    assert image.shape[0] % (overlays.SIDE + 8) == overlays.SIDE


def test_the_left_side_is_the_truth_and_the_right_the_prediction(tmp_path: Path) -> None:
    run = Run(tmp_path, "phrases", images=1, targets=1)
    batch = run.sampler.batch(0)
    left, gap, right = overlays._panels(batch, torch.full((1, 1, 24, 24), -9.0), None, 0)
    ground = overlays._ground(batch.features[0, 0])
    [inside] = overlays._masks(batch.coverage[0] - 0.5)
    assert (left != ground)[inside].any(axis=-1).mean() > 0.95  # tinted all over
    assert (right != ground).any(axis=-1).mean() < 0.2  # no mask: no more than a chip
    assert (gap == 255).all()
