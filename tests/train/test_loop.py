"""The loop: stopped and resumed it ends bit for bit where it would have ended, and a bad step spoils nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from geopix.classes import ClassVocabulary
from geopix.config import Stage
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora
from geopix.train import checkpoints, loop
from geopix.train.batches import Batch, Sampler
from geopix.train.loop import load_trained, train
from geopix.train.run import _states
from geopix.train.step import token_labels, total_loss
from tests.tiny_model import tiny_geopix
from tests.tiny_store import CAPTIONED, WINDOWS, tiny_store

KINDS: dict[str, dict[str, Any]] = {
    "phrases": {"part_rates": {"language": 0, "multimodal_projector": 0, "mask_predictor.memory": 2}},
    "words": {"part_rates": {"language": 0, "mask_predictor": 0, "scale_projectors": 0}},
    "dialogue": {"lora_rank": 2, "lora_alpha": 4, "lora_dropout": 0.2},
}
Report = Callable[[int, dict[str, float]], None]


def silent(step: int, numbers: dict[str, float]) -> None:
    """Report nothing."""


def stop_after(last: int) -> Report:
    """A user who presses Ctrl-C once a step is reported."""

    def report(step: int, numbers: dict[str, float]) -> None:
        if step == last:
            raise KeyboardInterrupt

    return report


class Run:
    """A stage with its own fresh model, all in ``folder``."""

    def __init__(self, folder: Path, language: str, seed: int = 0, **settings: Any) -> None:
        self.folder = folder
        self.model, dialogue = tiny_geopix(seed)
        windows = [*WINDOWS, CAPTIONED] if language == "dialogue" else WINDOWS
        stores = {"all": tiny_store(folder / "store", self.model, windows)} if not (folder / "store").exists() else {}
        self.model.language.llm.requires_grad_(False)
        module: torch.nn.Module = self.model
        module.to(torch.bfloat16)
        given = {"steps": 6, "images": 2, "targets": 3, "turns": 2, "warmup": 2, "checkpoint_every": 2}
        self.stage = Stage.model_validate(
            {"name": "try", "language": language, "sources": {"all": 1}, **given, **KINDS[language], **settings}
        )
        if language == "dialogue":
            adapter = add_lora(self.model.language.causal, 2, 4, self.stage.lora_dropout, dialogue.new_ids)
            self.model.language.llm = adapter.to(torch.bfloat16)
        if not stores:
            from geopix.train.features import FeatureStore

            stores = {"all": FeatureStore(folder / "store", scales=2, patches=16, channels=32)}
        vocabulary = ClassVocabulary(tuple(self.model.config.class_names))
        self.sampler: Any = Sampler(self.stage, stores, vocabulary, dialogue, self.model.config.grid_side)
        self.states = _states(self.stage, self.model, dialogue, stores)

    def go(self, report: Report = silent) -> None:
        train(self.model, self.sampler, self.stage, self.folder / "try", report, self.states)

    def metrics(self) -> list[dict[str, float]]:
        lines = (self.folder / "try" / "metrics.jsonl").read_text().splitlines()
        return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]

    def step(self) -> int:
        newest = checkpoints.newest(self.folder / "try", print)
        assert newest is not None
        return newest.step


def weights(model: GeoPixModel) -> dict[str, Tensor]:
    """Everything but counters that nothing reads."""
    return {name: tensor for name, tensor in model.state_dict().items() if "num_batches_tracked" not in name}


def equal(one: GeoPixModel, other: GeoPixModel) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("language", list(KINDS))
@pytest.mark.parametrize("last", [0, 1, 2, 4])
def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path: Path, language: str, last: int) -> None:
    whole = Run(tmp_path / "whole", language)
    whole.go()
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path / "broken", language).go(stop_after(last))
    resumed = Run(tmp_path / "broken", language)
    resumed.go()
    assert [line["step"] for line in resumed.metrics()] == list(range(6))
    assert resumed.metrics() == whole.metrics()
    equal(resumed.model, whole.model)
    assert resumed.step() == 6


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    first = Run(tmp_path, "words")
    first.go()
    again = Run(tmp_path, "words")
    again.go(stop_after(0))
    equal(again.model, first.model)
    assert len(again.metrics()) == 6


def test_a_line_that_was_half_written_is_dropped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path, "words").go(stop_after(3))
    with (tmp_path / "try" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "wo')
    resumed = Run(tmp_path, "words")
    resumed.go()
    assert [line["step"] for line in resumed.metrics()] == list(range(6))


@pytest.mark.parametrize("language", list(KINDS))
def test_a_loss_that_is_not_finite_stops_the_run_and_spoils_nothing(tmp_path: Path, language: str) -> None:
    run = Run(tmp_path, language)
    draw = run.sampler.batch

    def spoiled(step: int) -> Batch:
        batch: Batch = draw(step)
        if step == 3:
            batch.features[:] = torch.nan
        return batch

    run.sampler.batch = spoiled
    with pytest.raises(FloatingPointError, match="the loss of step 3 is nan"):
        run.go()
    assert run.step() == 2
    resumed, whole = Run(tmp_path, language), Run(tmp_path / "whole", language)
    resumed.go()
    whole.go()
    equal(resumed.model, whole.model)


@pytest.mark.parametrize("language", list(KINDS))
def test_a_rate_of_zero_freezes(tmp_path: Path, language: str) -> None:
    run = Run(tmp_path, language, steps=2)
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    run.go()
    moved = {name for name, parameter in run.model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved
    assert not [name for name in moved if name.startswith("encoder.")]
    expected = {
        "phrases": ("scale_projectors.", "mask_predictor."),
        "words": ("multimodal_projector.",),
        "dialogue": ("scale_projectors.", "mask_predictor.", "multimodal_projector.", "language."),
    }[language]
    assert {next((prefix for prefix in expected if name.startswith(prefix)), name) for name in moved} == set(expected)
    assert all("lora_" in name or "trainable_tokens" in name for name in moved if name.startswith("language."))


def test_the_longest_prefix_sets_the_rate() -> None:
    rates = {"mask_predictor": 0.5, "mask_predictor.memory": 3, "language": 0}
    stage = Stage.model_validate({"name": "try", "sources": {"a": 1}, "steps": 1, "part_rates": rates})
    assert loop._rate("mask_predictor.memory.bank", stage) == 3
    assert loop._rate("mask_predictor.scale_weights", stage) == 0.5
    assert loop._rate("language.llm.weight", stage) == 0
    assert loop._rate("scale_projectors.0.norm.weight", stage) == 1


def test_a_stage_starts_with_the_weights_of_another(tmp_path: Path) -> None:
    earlier = Run(tmp_path / "earlier", "phrases")
    earlier.go()
    later = Run(tmp_path / "later", "dialogue", seed=9)
    untouched = {
        name: parameter.detach().clone()
        for name, parameter in later.model.named_parameters()
        if not name.startswith(("scale_projectors.", "mask_predictor."))
    }
    load_trained(tmp_path / "earlier" / "try", later.model)
    theirs = weights(earlier.model)
    for name, tensor in weights(later.model).items():
        if name.startswith(("scale_projectors.", "mask_predictor.")) and "position" not in name:
            assert torch.equal(tensor, theirs[name]), name
    for name, parameter in later.model.named_parameters():
        if name in untouched:
            assert torch.equal(parameter, untouched[name]), name


def test_the_mask_side_learns(tmp_path: Path) -> None:
    run = Run(tmp_path, "phrases", steps=40, images=4, learning_rate=3e-3, checkpoint_every=40)
    run.go()
    told = [line["mask"] for line in run.metrics()]
    assert sum(told[-5:]) < 0.8 * sum(told[:5])


def test_the_total_is_weighted() -> None:
    loss = {"word": 2.0, "iou": 0.5, "class_query": 0.25, "relation": 4.0}
    stage = Stage.model_validate({"name": "try", "sources": {"a": 1}, "steps": 1, "loss": loss})
    parts = {"word": 1.0, "mask": 10.0, "iou": 100.0, "class_query": 1000.0, "relation": 10000.0, "mask_iou": 1e9}
    total = total_loss({name: torch.tensor(value) for name, value in parts.items()}, stage)
    assert float(total) == pytest.approx(2 + 10 + 50 + 250 + 40000)


def test_a_token_shows_the_object_among_its_cells() -> None:
    nothing, unknown = 10, -1
    cells = torch.tensor([[3, 10, 10, 10, 10, 10, 10, 10, 10, 10, -1, 10, 10, 2, -1, -1]])
    assert token_labels(cells, merge=2).tolist() == [[3, nothing, 2, unknown]]
