"""A stage rehearsed: its model counted, a few of its steps taken or estimated, nothing trained (§III-C)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from geopix import checkpoint
from geopix.classes import ClassVocabulary
from geopix.config import Stage
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.model.memory import Bank
from geopix.train.batches import Batch, Sampler
from geopix.train.begin import build
from geopix.train.costs import Costs, matmul_rate, step_costs
from geopix.train.features import FeatureStore
from geopix.train.madeup import MadeUpStore
from geopix.train.optimizer import MasterAdamW
from geopix.train.plan import (
    DeviceMemory,
    Part,
    Speed,
    clock,
    device_memory,
    largest,
    parts,
    prepare,
    size_of,
    speed,
)
from geopix.train.sharding import Sharding
from geopix.train.step import step_losses, to_device, total_loss
from geopix.train.stores import RECIPES

SHARE = 0.5
"""Of the rate of matrix products that an estimate takes steps to reach; nano's reach about as much on a CPU."""
_STEPS = 4
"""Taken, the first of them to warm up."""
PUBLISHED = {"vrsbench": 20_264, "geopix_instruct": 65_463}
"""Images that a stage in epochs counts on where a set is not there yet: VRSBench's training part, and §IV's table."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a stage will cost; ``memory`` without recomputing layers, and ``checkpointed`` with it.

    ``notes`` says what the numbers rest on.
    """

    stage: str
    model: str
    steps: int
    accumulate: int
    devices: int
    parts: list[Part]
    memory: list[DeviceMemory]
    checkpointed: list[DeviceMemory]
    costs: Costs
    speed: Speed
    notes: list[str]

    @property
    def hours(self) -> float:
        """From the first step to the last, by devices that lose nothing to one another."""
        return self.steps * self.accumulate * self.speed.step_s / self.devices / 3600

    @property
    def device_hours(self) -> float:
        """What is paid for."""
        return self.hours * self.devices

    def as_json(self) -> dict[str, Any]:
        """All of it as plain numbers and words."""
        told = asdict(self)
        for rows in ("memory", "checkpointed"):
            for row, memory in zip(told[rows], getattr(self, rows), strict=True):
                row["total"] = memory.total
        told["speed"] |= {"questions_per_s": self.speed.questions_per_s, "tokens_per_s": self.speed.tokens_per_s}
        return told | {"hours": self.hours, "device_hours": self.device_hours}


def rehearse(
    stage: Stage,
    model: str = "nano",
    folder: Path | None = None,
    devices: int = 1,
    rate: float | None = None,
    settings: dict[str, Any] | None = None,
    tell: Tell = lambda doing: None,
) -> Plan:
    """Plan a stage.

    Args:
        stage: The settings.
        model: "nano", whose steps are taken here; or a LLaVA checkpoint, whose steps are estimated.
        folder: Where feature stores are; without it, or where a store is not there, windows are made up.
        devices: Among how many the work is to be shared out.
        rate: Operations a second that matrix products of the planned device reach, to estimate its steps; by default
            those of this machine.
        settings: `GeoPixConfig`'s arguments that differ, for a LLaVA checkpoint.
        tell: Told what is being done.

    Raises:
        ConfigError, ValueError: If the model can't be made, or the settings are wrong.
    """
    tell("the model")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = checkpoint.fast_dtype(device)
    notes: list[str] = []
    if model == "nano":
        made, dialogue = build(stage.model_copy(update={"model": "nano"}), device)
        dtype = made.dtype
    else:
        made, dialogue, known = checkpoint.sketch(model, settings)
        if not known:
            notes.append(
                f"the hub can't be reached: sizes of {model} as transformers knows them, words as nano cuts them"
            )
    prepare(made, stage, dialogue.new_ids)
    tell("batches")
    sampler = _sampler(made, stage, dialogue, folder, notes)
    batches = [sampler.batch(step) for step in range(_STEPS)]
    taken = None
    measures = model == "nano" and rate is None
    if measures:
        tell(f"{_STEPS} steps")
        taken = clock(_steps(made, stage), batches)
        notes.append(
            f"speed: {_STEPS - 1} steps taken here, forwards, backwards and AdamW ({device.type}, {_name(dtype)})"
        )
    tell("what matrix products reach")
    if rate is None:
        rate = matmul_rate(device, dtype)
    if not measures:
        notes.append(
            f"speed: an estimate, a step's operations at {SHARE:.0%} of {rate / 1e12:.3g} TFLOP/s; no step was taken"
        )
    tell("a step without numbers")
    cast(nn.Module, made).to(torch.device("meta"))
    biggest = largest(batches)
    size = size_of(biggest, len(made.config.class_names) + 1, made.config.memory["top_k"])
    costs = step_costs(made, stage, size)
    operations = costs.operations + (costs.encoding if getattr(stage, "features", "cached") == "each_step" else 0)
    notes.append(
        "memory: activations of the largest of these batches, attention's scores included; master and moments of "
        "every row of the bank, as if all classes had come up"
    )
    rows = size.classes * len(made.config.encoder_layers)

    def on_device(activations: int) -> list[DeviceMemory]:
        ways: tuple[Sharding, ...] = ("none", "zero2", "fsdp2") if devices > 1 else ("none",)
        return [device_memory(made, way, devices, activations, rows) for way in ways]

    return Plan(
        stage.name,
        model,
        sampler.stage.steps,
        sampler.stage.accumulate,
        devices,
        parts(made),
        on_device(costs.activations),
        on_device(costs.checkpointed),
        costs,
        speed(taken, batches[1:], biggest, operations, rate, SHARE),
        notes,
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _sampler(made: GeoPixModel, stage: Stage, dialogue: Dialogue, folder: Path | None, notes: list[str]) -> Sampler:
    """Of the stage's stores where they are there, of made-up windows in the place of others."""
    config = made.config
    shape = (len(config.encoder_layers), config.grid_side**2, config.vision_config.hidden_size)
    stores: dict[str, FeatureStore] = {}
    for name in stage.sources:
        place = None if folder is None else folder / name
        if place is not None and (place / "index.jsonl").is_file():
            stores[name] = FeatureStore(place, *shape)
        if name not in stores or not len(stores[name]):
            known = stage.take.get(name) or (RECIPES[name].count if name in RECIPES else PUBLISHED.get(name))
            made_up = MadeUpStore(shape, known or 64, tuple(config.class_names))
            stores[name] = cast(FeatureStore, made_up)
            count = f"{len(made_up):,}{'' if known else ' (a guess: its size is not known here)'}"
            notes.append(f"{name}: there are no features of it, so {count} windows of one to six objects are made up")
    return Sampler(stage, stores, ClassVocabulary(tuple(config.class_names)), dialogue, config.grid_side)


def _steps(model: GeoPixModel, stage: Stage) -> Callable[[Batch], Tensor]:
    """What takes one step: losses, their gradients, AdamW; where the LLM's states are given, by chance ones."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    banks = {f"{name}.rows" for name, module in model.named_modules() if isinstance(module, Bank)}
    rates = {name: stage.learning_rate for name, _ in named}
    optimizer = MasterAdamW(named, rates, stage.betas, stage.weight_decay, row_wise=banks)
    group = len(model.config.encoder_layers) * model.config.tokens_per_scale
    names = len(model.config.class_names) + 2

    def states(batch: Batch) -> Tensor:
        shape = (names,) if stage.language == "words" else (*batch.present.shape, group)
        return torch.randn(*shape, model.language.hidden, device=model.device, dtype=model.dtype)

    def take(batch: Batch) -> Tensor:
        model.train()
        model.encoder.eval()
        losses = step_losses(model, to_device(batch, model.device, model.dtype), stage, 0.0, states).losses
        loss = total_loss(losses, stage)
        loss.backward()
        optimizer.step(1.0, stage.clip)
        return loss

    return take
