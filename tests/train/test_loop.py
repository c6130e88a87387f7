"""The loop: stopped and resumed it ends bit for bit where it would have ended, and a bad step spoils nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from geopix.config import Stage
from geopix.model.geopix import GeoPixModel
from geopix.train import loop
from geopix.train.batches import Batch
from geopix.train.loop import load_trained
from geopix.train.step import token_labels, total_loss
from tests.tiny_run import KINDS, Run, stop_after


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
