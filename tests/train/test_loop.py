"""The loop: stopped and resumed it ends bit for bit where it would have ended, and a bad step spoils nothing."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from accelerate.utils import DistributedType
from torch import Tensor

from geopix.checkpoint import CheckpointError
from geopix.config import Stage
from geopix.model.geopix import GeoPixModel
from geopix.train import together
from geopix.train.batches import Batch
from geopix.train.loop import load_trained
from geopix.train.step import step_losses, token_labels, total_loss
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
@pytest.mark.parametrize("last", [1, 2])
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
        "answers": ("scale_projectors.", "mask_predictor."),
        "words": ("multimodal_projector.",),
        "dialogue": ("scale_projectors.", "mask_predictor.", "multimodal_projector.", "language."),
    }[language]
    assert {next((prefix for prefix in expected if name.startswith(prefix)), name) for name in moved} == set(expected)
    assert all("lora_" in name or "trainable_tokens" in name for name in moved if name.startswith("language."))


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


def test_a_stage_without_masks_teaches_where_answers_point(tmp_path: Path) -> None:
    run = Run(tmp_path, "answers", masks=False, steps=30, images=4, learning_rate=3e-3, checkpoint_every=30)
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    run.go()
    moved = {name for name, now in run.model.named_parameters() if not torch.equal(now, before[name])}
    assert moved
    assert all(name.startswith("mask_predictor.pointer.") for name in moved)
    told = run.metrics()
    assert all({"mask", "word", "iou"}.isdisjoint(line) for line in told)
    first, last = (sum(line["pointer"] for line in part) for part in (told[:5], told[-5:]))
    assert last < 0.87 * first  # far from 0: an object has several cells


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


def test_an_update_is_the_mean_of_its_micro_batches(tmp_path: Path) -> None:
    run = Run(tmp_path, "words", images=2, global_batch=4, steps=1, clip=1e9, checkpoint_every=1)
    run.go()
    [line] = run.metrics()
    one = Run(tmp_path / "one", "words", images=2)
    told = [step_losses(one.model, one.sampler.batch(number), one.stage, 0, one.states).losses for number in (0, 1)]
    values = [losses["word"] for losses in told]
    assert line["word"] == pytest.approx(sum(float(value.detach()) for value in values) / 2)
    (torch.stack(values).sum() / 2).backward()
    gradients = [parameter.grad for parameter in one.model.parameters() if parameter.grad is not None]
    norm = float(torch.stack([gradient.float().square().sum() for gradient in gradients]).sum().sqrt())
    assert line["norm"] == pytest.approx(norm, rel=1e-2)  # bfloat16


def test_layers_computed_anew_give_the_same_training(tmp_path: Path) -> None:
    runs, calls = [], []
    for anew in (False, True):
        run = Run(tmp_path / str(anew), "dialogue", steps=2, gradient_checkpointing=anew)
        counted: list[int] = []
        layer = run.model.language.causal.model.layers[0].mlp
        layer.register_forward_pre_hook(lambda *_, counted=counted: counted.append(1))
        run.go()
        runs.append(run)
        calls.append(len(counted))
    assert calls == [2, 4]
    assert runs[0].metrics() == runs[1].metrics()  # dropout included
    equal(runs[0].model, runs[1].model)


def test_the_best_checkpoint_stays(tmp_path: Path) -> None:
    run = Run(tmp_path, "phrases", steps=4, checkpoint_every=1, keep_last=1, best_by="mask_iou")
    run.go()
    told = [line["mask_iou"] for line in run.metrics()]
    best = max(range(4), key=lambda step: (told[step], step))
    kept = sorted(path.name for path in (tmp_path / "try" / "checkpoint").iterdir())
    assert kept == sorted({f"{best + 1:08d}", "00000004"})


def test_a_checkpoint_of_other_settings_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path, "words").go(stop_after(3))
    with pytest.raises(CheckpointError, match=r"of step 2 .* is of a stage with other parts"):
        Run(tmp_path, "dialogue").go()


def test_a_full_disk_stops_the_run_and_the_next_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = Run(tmp_path, "words")
    write = safetensors.torch.save_file
    with monkeypatch.context() as patch:

        def report(step: int, numbers: dict[str, float]) -> None:
            patch.setattr(safetensors.torch, "save_file", full if step == 3 else write)

        with pytest.raises(CheckpointError, match=r"step 4 .* the disk is full; the one of step 2 is intact"):
            run.go(report)
    resumed, whole = Run(tmp_path, "words"), Run(tmp_path / "whole", "words")
    resumed.go()
    whole.go()
    assert resumed.metrics() == whole.metrics()
    equal(resumed.model, whole.model)


def test_a_launch_that_shards_in_another_way_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    launched = SimpleNamespace(distributed_type=DistributedType.DEEPSPEED, num_processes=2)
    monkeypatch.setattr(together, "Accelerator", lambda **_: launched)
    with pytest.raises(ValueError, match=r"the launch asks for DEEPSPEED, .* configs/accelerate/fsdp2.yaml"):
        together.accelerator()
    launched.distributed_type = DistributedType.FSDP
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    assert together.accelerator() is launched
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    with pytest.raises(ValueError, match="say fsdp_version: 2 and fsdp_offload_params: false"):
        together.accelerator()
    monkeypatch.setenv("FSDP_VERSION", "1")
    monkeypatch.delenv("FSDP_OFFLOAD_PARAMS")
    with pytest.raises(ValueError, match="asks for FSDP's first version"):
        together.accelerator()
