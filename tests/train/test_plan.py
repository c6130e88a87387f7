"""What a plan says is what is there: counted by hand, against real steps, and for the 7B model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from geopix import checkpoint
from geopix.config import ConfigError, Stage
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.train import rehearsal
from geopix.train.batches import Batch, Sampler
from geopix.train.costs import StepSize, matmul_rate, step_costs
from geopix.train.features import MASK_SIDE
from geopix.train.madeup import MadeUpStore
from geopix.train.plan import (
    ADAMW,
    ZERO2_BUCKET,
    clock,
    device_memory,
    parts,
    prepare,
    questions_of,
    size_of,
    tokens_of,
)
from geopix.train.rehearsal import Plan, rehearse
from tests.tiny_llava import full_size, llava_tokenizer, tiny_llava, write_llava
from tests.tiny_model import tiny_geopix
from tests.tiny_store import tiny_store

LANGUAGES = ("relations", "pointing", "phrases", "words", "dialogue", "answers")


def stage(**settings: Any) -> Stage:
    return Stage.model_validate({"name": "try", "sources": {"all": 1}, "steps": 900, "images": 2, **settings})


def tiny(one: Stage) -> tuple[GeoPixModel, Dialogue]:
    model, dialogue = tiny_geopix()
    model.language.causal.requires_grad_(False)
    prepare(model, one, dialogue.new_ids)
    return model, dialogue


@pytest.fixture
def nano(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model in nano's place, in float32."""

    def fresh(settings: dict[str, Any]) -> tuple[GeoPixModel, Dialogue]:
        model, dialogue = tiny_geopix()
        model.language.causal.requires_grad_(False)
        return model, dialogue

    monkeypatch.setattr(checkpoint, "fresh_nano", fresh)
    monkeypatch.setattr(checkpoint, "fast_dtype", lambda device: torch.float32)
    monkeypatch.setattr(rehearsal, "matmul_rate", lambda device, dtype: 1e9)


def test_parts_of_the_7b_model_as_stage_1_trains_it(tmp_path: Path) -> None:
    model, dialogue, _ = full_size(tmp_path, tokens=32_002, rows=32_064)
    model.language.causal.requires_grad_(False)
    cast(nn.Module, model).to(torch.bfloat16)
    prepare(model, stage(lora_rank=128), dialogue.new_ids)
    told = {part.name: part for part in parts(model)}
    counts = {name: (part.parameters, part.trained) for name, part in told.items()}
    predictor = counts.pop("mask predictor")
    assert predictor[0] == predictor[1] == 13_183_670
    assert counts == {
        "vision encoder": (303_507_456, 0),
        "scale projectors": (1_709_056, 1_709_056),
        "memory bank": (629_145_600, 629_145_600),
        "multi-modal projector": (20_979_712, 20_979_712),
        "language model": (6_738_939_904, 0),
        "new token rows": (2 * 8 * 4096, 2 * 8 * 4096),  # read and said: the head is not tied
        "LoRA": (32 * 2 * 2 * 128 * 4096, 32 * 2 * 2 * 128 * 4096),
    }
    assert told["language model"].bytes == 2 * 6_738_939_904
    assert told["LoRA"].bytes == 4 * 67_108_864  # as PEFT makes it

    ours = sum(part.trained for part in told.values())
    whole = sum(part.bytes for part in told.values())
    row = 64 * 64 * 32 * 32
    alone = device_memory(model, "none", 8, activations=5, bank_rows=6)
    assert (alone.weights, alone.optimizer, alone.activations, alone.passing) == (whole, 12 * ours, 5, 0)
    assert alone.gradients == 4 * (ours - 629_145_600 + 6 * row)
    assert alone.total == whole + 12 * ours + 5 + alone.gradients
    zero = device_memory(model, "zero2", 8, activations=5, bank_rows=6)
    assert zero.weights == whole
    assert abs(zero.optimizer - 12 * ours / 8) < 12 * 1000  # every tensor's last share may be short
    assert abs(zero.gradients - 4 * ours / 8) < 4 * 1000  # the bank's is dense there
    assert zero.passing == 2 * 2 * 200_000_000
    full = device_memory(model, "fsdp2", 8, activations=5, bank_rows=6)
    cut = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11_008 + 2 * 4096)  # the frozen weights of the layers
    assert full.weights == whole - 2 * cut + 2 * cut // 8
    assert (full.optimizer, full.gradients) == (alone.optimizer, alone.gradients)  # what trains is on every device
    assert full.passing == 2 * 2 * cut // 32
    assert full.total < zero.total < alone.total
    assert device_memory(model, "fsdp2", 1, 0, 6).passing == 0


def test_the_bucket_is_that_of_the_settings_file() -> None:
    file = Path(__file__).parents[2] / "configs" / "accelerate" / "deepspeed_zero2.json"
    assert json.loads(file.read_text())["zero_optimization"]["reduce_bucket_size"] == ZERO2_BUCKET


def test_what_a_stage_does_not_train_has_no_gradient() -> None:
    model, _ = tiny(stage(part_rates={"mask_predictor": 0, "mask_predictor.pointer": 2, "language": 0}))
    trained = {part.name: part.trained for part in parts(model)}
    pointer = sum(one.numel() for one in cast(nn.Module, model.trainable_predictor.pointer).parameters())
    assert trained["mask predictor"] == pointer
    assert trained["memory bank"] == trained["LoRA"] == trained["new token rows"] == trained["vision encoder"] == 0
    assert trained["scale projectors"] > 0
    ours = sum(trained.values())
    assert device_memory(model, "none", 1, 0, 3).optimizer == ADAMW * ours


def test_operations_of_the_7b_model_by_hand(tmp_path: Path) -> None:
    model, dialogue, _ = full_size(tmp_path, tokens=32_002, rows=32_064)
    model.language.causal.requires_grad_(False)
    model.language.causal.model.layers = model.language.causal.model.layers[:2]  # of 32, all alike
    cast(nn.Module, model).to(torch.bfloat16)
    prepare(model, stage(lora_rank=128), dialogue.new_ids)
    size = StepSize(images=1, tokens=640, answers=40, targets=2, classes=6)
    costs = step_costs(model, stage(lora_rank=128), size)
    layers = 2 * (4 * 4096 * 4096 + 3 * 4096 * 11_008)
    frozen = 2 * 2 * layers * 640  # forwards, and back to the inputs; their own gradients are not computed
    lora = 3 * 2 * (2 * 2 * 2 * 128 * 4096) * 640
    attention = 2 * 3 * 2 * 2 * 640 * 640 * 4096
    words = 2 * 2 * 32_064 * 4096 * 40
    projector = (3 * 2 * (1024 * 4096 + 4096 * 4096) - 2 * 1024 * 4096) * 576  # the encoder is not trained
    known = frozen + lora + attention + words + projector
    assert known < costs.operations < 1.08 * known  # the rest is the mask path's
    assert costs.checkpointed < costs.activations
    # 24 layers over 577 tokens, their attention, and the patches
    seeing = 24 * 2 * (12 * 1024 * 1024 * 577 + 2 * 577 * 577 * 1024) + 2 * 3 * 14 * 14 * 1024 * 576
    assert costs.encoding == seeing
    twice = step_costs(model, stage(lora_rank=128), StepSize(2, 640, 80, 2, 12))
    head = 2 * 32_064 * 4096  # PEFT keeps a copy of the head with the new rows in it, however many images there are
    assert 1.9 < (twice.activations - head) / (costs.activations - head) < 2.1


@pytest.mark.parametrize(("language", "masks"), [*((one, True) for one in LANGUAGES), ("answers", False)])
def test_operations_are_those_of_a_real_step(language: str, masks: bool) -> None:
    still = {"language": 0, "multimodal_projector": 0} if language == "answers" else {}
    one = stage(language=language, masks=masks, lora_dropout=0, targets=4, part_rates=still)
    model, dialogue = tiny(one)
    batch = sampler(model, one, dialogue).batch(0)
    take = rehearsal._steps(model, one)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # torch counts no other on a CPU
        take(batch)
    size = size_of(batch, len(model.config.class_names) + 1, model.config.memory["top_k"])
    cast(nn.Module, model).to(torch.device("meta"))
    costs = step_costs(model, one, size)
    assert 0.7 < costs.operations / counter.get_total_flops() < 1.4  # Q_c, marks and F differ a little
    assert costs.activations > 0


def sampler(model: GeoPixModel, one: Stage, dialogue: Dialogue) -> Sampler:
    return rehearsal._sampler(model, one, dialogue, None, [])


def test_made_up_windows_are_the_same_every_time_and_sound() -> None:
    first, again = (MadeUpStore((2, 16, 32), count=9) for _ in range(2))
    assert first.facts == again.facts
    for index in range(len(first)):
        one = first[index]
        assert torch.equal(one.features, again[index].features)
        assert one.features.shape == (2, 16, 32)
        assert one.masks.shape == (len(one.facts["instances"]), MASK_SIDE, MASK_SIDE)
        assert one.masks.flatten(1).any(dim=1).all()
    assert len({len(facts["instances"]) for facts in first.facts}) > 2
    [looked] = first.look(first.places(masked=True)[3:4], [0])
    assert looked.facts == first.facts[3]


def test_questions_and_tokens_are_counted() -> None:
    one = stage(turns=3, dialogues=2, targets=40)
    model, dialogue = tiny(one)
    batch = sampler(model, one, dialogue).batch(1)
    assert batch.ids is not None
    assert batch.answers is not None
    assert batch.branches is not None
    assert questions_of(batch) == 2 * 2 * 3 == int((batch.ids[batch.answers] == dialogue.end_id).sum())
    assert tokens_of(batch) == int((batch.branches >= 0).sum()) <= batch.ids.numel()
    phrases = sampler(model, stage(language="phrases", targets=5), dialogue).batch(0)
    assert (questions_of(phrases), tokens_of(phrases)) == (2 * 5, 0)


def test_the_clock_leaves_the_first_step_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    seconds = iter([100.0, 2.0, 4.0])

    def take(batch: Batch) -> torch.Tensor:
        now[0] += next(seconds)
        return torch.zeros(())

    batches: list[Any] = [None, None, None]
    assert clock(take, batches) == 3.0
    with pytest.raises(ValueError, match="1 batches are too few"):
        clock(take, batches[:1])


def test_a_plan_of_nano_takes_steps_and_leaves_its_folder_alone(nano: None, tmp_path: Path) -> None:
    told: list[str] = []
    plan = rehearse(stage(turns=2, targets=4), folder=tmp_path / "features", tell=told.append)
    assert plan.speed.measured
    assert plan.speed.questions == 2 * 2
    assert plan.hours == pytest.approx(900 * plan.speed.step_s / 3600)
    assert plan.device_hours == plan.hours
    assert [memory.sharding for memory in plan.memory] == ["none"]
    assert list(tmp_path.iterdir()) == []
    assert any("are made up" in note for note in plan.notes)
    assert "4 steps" in told
    json.dumps(plan.as_json(), allow_nan=False)


def test_a_plan_reads_the_features_that_are_there(nano: None, tmp_path: Path) -> None:
    tiny_store(tmp_path / "all", tiny_geopix()[0])
    plan = rehearse(stage(turns=1, targets=8), folder=tmp_path)
    assert not any("are made up" in note for note in plan.notes)


def test_a_plan_for_other_devices_is_an_estimate(nano: None) -> None:
    plan = rehearse(stage(turns=1, targets=4), devices=4, rate=2e12)
    assert not plan.speed.measured
    assert plan.speed.step_s <= plan.costs.operations / (0.5 * 2e12)
    assert plan.hours == pytest.approx(900 * plan.speed.step_s / 4 / 3600)
    assert plan.device_hours == pytest.approx(4 * plan.hours)
    assert [memory.sharding for memory in plan.memory] == ["none", "zero2", "fsdp2"]
    assert any("an estimate" in note for note in plan.notes)
    assert all(again.total <= kept.total for again, kept in zip(plan.checkpointed, plan.memory, strict=True))


def test_a_llava_checkpoint_is_planned_from_its_settings(tmp_path: Path) -> None:
    tokenizer = llava_tokenizer()
    write_llava(tiny_llava(tokenizer), tokenizer, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    small = {"mask_width": 32, "mask_side": 8, "memory": {"capacity": 4, "width": 32, "side": 4}}
    plan: Plan = rehearse(stage(turns=1, targets=4), str(tmp_path), devices=2, rate=1e12, settings=small)
    made = nn.ModuleList(checkpoint.sketch(str(tmp_path), small)[:1])
    frozen = {"vision encoder", "language model"}
    counted = sum(part.parameters for part in plan.parts if part.name not in ("LoRA", "new token rows"))
    assert counted == sum(parameter.numel() for parameter in made.parameters())
    assert {part.name for part in plan.parts if not part.trained} == frozen


def test_the_rate_of_matrix_products_is_what_the_clock_says() -> None:
    ticks = iter([0, 2.0, 2.0, 3.0, 3.0, 5.0, 5.0, 7.0, 7.0, 9.0])
    assert matmul_rate(torch.device("cpu"), torch.float32, side=8, clock=lambda: next(ticks)) == 2 * 8**3 / 1.0


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [({"strange": 1}, "architecture: a model has no 'strange'"), ({"vision_config": 3}, "multiple values")],
)
def test_sizes_that_training_refuses_are_refused_in_its_words(architecture: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^try: .*{reason}"):
        rehearse(stage(language="words", architecture=architecture))
