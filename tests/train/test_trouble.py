"""Trouble on the way: what is said names the sample or the setting, and what is left out is left out again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geopix.train import loop, trouble
from geopix.train.batches import Batch
from geopix.train.features import FeatureStore
from geopix.train.loop import train
from geopix.train.trouble import DivergedError, TrainingMemoryError
from tests.tiny_run import Run, stop_after
from tests.train.test_loop import equal


def spoil(run: Run, number: int, row: int) -> None:
    """Make the features of one image of one micro-batch no numbers."""
    draw = run.sampler.batch

    def spoiled(drawn: int) -> Batch:
        batch: Batch = draw(drawn)
        if drawn == number:
            batch.features[row] = torch.nan
        return batch

    run.sampler.batch = spoiled


def test_a_loss_that_is_no_number_names_the_sample_and_its_questions(tmp_path: Path) -> None:
    run = Run(tmp_path, "phrases")
    batch = run.sampler.batch(3)
    spoil(run, 3, row=1)
    name, phrases = re.escape(batch.names[1]), re.escape(", ".join(dict.fromkeys(batch.phrases[1])))
    with pytest.raises(DivergedError, match=rf"step 3 is nan: .*mask nan.* from {name} \({phrases}\)$"):
        run.go()
    assert batch.names[1].startswith("store: ")


def test_in_a_dialogue_the_questions_are_read_back(tmp_path: Path) -> None:
    run = Run(tmp_path, "dialogue")
    batch = run.sampler.batch(0)
    words = trouble.asked(batch, 0, run.sampler.dialogue)
    asked, said = words.split(" assistant ")
    assert asked == "Give me the mask of the harbor and the jet at the top center."
    assert said == "the harbor, the jet at the top center."


@pytest.mark.parametrize("language", ["phrases", "dialogue"])
def test_what_is_skipped_is_written_down_and_skipped_again(tmp_path: Path, language: str) -> None:
    said: list[str] = []
    settings: dict[str, Any] = {
        "on_bad_loss": "skip",
        "images": 2,
        "global_batch": {"phrases": 12, "dialogue": 8}[language],
    }
    whole, broken = Run(tmp_path / "whole", language, **settings), Run(tmp_path / "broken", language, **settings)
    for run in (whole, broken):
        spoil(run, 2 * 3 + 1, row=0)  # of two micro-batches one
        for number in (8, 9):  # both
            spoil(run, number, row=0)
    train(whole.model, whole.sampler, whole.stage, whole.folder / "try", lambda *_: None, whole.states, said.append)
    lines = whole.metrics()
    bad = [whole.sampler.batch(number).names[0] for number in (7, 8, 9)]
    noted = [line.get("skipped", []) for line in lines]
    assert [len(notes) for notes in noted] == [0, 0, 0, 1, 2, 0]
    assert [note.split(" (")[0] for notes in noted for note in notes] == bad
    assert ["norm" in line for line in lines] == [True, True, True, True, False, True]
    assert all(np.isfinite(line.get("loss", 0)) for line in lines)
    assert len(said) == 3
    with pytest.raises(KeyboardInterrupt):
        broken.go(stop_after(4))
    again = Run(tmp_path / "broken", language, **settings)
    for number in (7, 8, 9):
        spoil(again, number, row=0)
    again.go()
    assert again.metrics() == lines
    equal(again.model, whole.model)


def test_a_run_that_only_skips_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "PATIENCE", 3)
    run = Run(tmp_path, "words", on_bad_loss="skip", steps=9)
    draw = run.sampler.batch

    def spoiled(number: int) -> Batch:
        batch: Batch = draw(number)
        batch.features[:] = torch.inf
        return batch

    run.sampler.batch = spoiled
    with pytest.raises(DivergedError, match="the last 3 steps up to step 2"):
        run.go()


@pytest.mark.parametrize("on_bad_loss", ["stop", "skip"])
def test_a_gradient_that_is_no_number_changes_nothing(tmp_path: Path, on_bad_loss: str) -> None:
    run = Run(tmp_path, "words", on_bad_loss=on_bad_loss, steps=2)
    [parameter] = [one for name, one in run.model.named_parameters() if name.startswith("multimodal_projector")][-1:]
    parameter.register_hook(lambda gradient: gradient * torch.inf)
    before = parameter.detach().clone()
    if on_bad_loss == "stop":
        with pytest.raises(DivergedError, match="the gradient of step 0 is"):
            run.go()
    else:
        run.go()
        assert ["the whole step" in line["skipped"][0] for line in run.metrics()] == [True, True]
    assert torch.equal(parameter, before)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("... can't allocate memory: you tried"), MemoryError()],
    ids=["cuda", "cpu", "python"],
)
def test_too_little_memory_says_which_settings_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    run = Run(tmp_path, "words", images=2, global_batch=6)

    def hungry(*_: Any) -> None:
        raise error

    monkeypatch.setattr(loop, "step_losses", hungry)
    expected = (
        r"not enough memory in step 0: lower images \(now 2\), dialogues \(1\) or targets \(3\), "
        r"or set gradient_checkpointing=true; global_batch=6 keeps"
    )
    with pytest.raises(TrainingMemoryError, match=expected):
        run.go()


def test_other_errors_are_not_taken_for_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, "words")

    def wrong(*_: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(loop, "step_losses", wrong)
    with pytest.raises(RuntimeError, match="mat1"):
        run.go()


def test_a_sample_that_cannot_be_read_is_told_once_and_left_out_the_same_way_again(tmp_path: Path) -> None:
    said: list[str] = []
    whole, broken = Run(tmp_path / "whole", "phrases"), Run(tmp_path / "broken", "phrases")
    for run in (whole, broken):
        file = np.memmap(run.folder / "store" / "features.bin", np.uint16, "r+")
        file[2 * len(file) // 4 + 7] = 0x7FC0  # one window's features hold a NaN
        file.flush()
        run.sampler.stores[0] = FeatureStore(run.folder / "store", scales=2, patches=16, channels=32)
    train(whole.model, whole.sampler, whole.stage, whole.folder / "try", lambda *_: None, whole.states, said.append)
    [once] = said
    assert once == "store: tall: its features are not finite; the next one that can be read takes its place"
    noted = [line.get("unreadable", []) for line in whole.metrics()]
    assert [bool(notes) for notes in noted] == [True, True, False, False, False, True]
    with pytest.raises(KeyboardInterrupt):
        broken.go(stop_after(2))
    again = Run(tmp_path / "broken", "phrases")
    again.go()
    assert again.metrics() == whole.metrics()
    equal(again.model, whole.model)
