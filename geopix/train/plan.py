"""What a stage will cost: parameters by part, memory of a device, speed (§III-C, §V-A)."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from geopix.config import Stage
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora
from geopix.model.memory import Bank
from geopix.train.batches import Batch
from geopix.train.costs import StepSize
from geopix.train.sharding import Sharding, gathered, share, units

ADAMW = 12
"""Bytes that the optimiser keeps for every number that trains: a float32 master and two moments."""
GRADIENT = 4
"""Bytes of its gradient, in float32 as the optimiser takes it."""
ZERO2_BUCKET = 200_000_000
"""Numbers that ZeRO-2 sends at once; two such buckets are filled in turn (configs/accelerate/deepspeed_zero2.json)."""
_PLACES = (
    ("encoder.", "vision encoder"),
    ("multimodal_projector.", "multi-modal projector"),
    ("scale_projectors.", "scale projectors"),
    ("mask_predictor.memory.bank.", "memory bank"),
    ("mask_predictor.", "mask predictor"),
    ("language.", "language model"),
)


@dataclass(frozen=True)
class Part:
    """A part of the model: how many ``parameters``, how many of them are ``trained``, in how many ``bytes``."""

    name: str
    parameters: int
    trained: int
    bytes: int


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes on the fullest of ``devices``: what stays, and what comes and goes within a step.

    ``passing`` is what sharding adds for a moment: gathered layers, or buckets of gradients.
    """

    sharding: Sharding
    devices: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    passing: int

    @property
    def total(self) -> int:
        """All of it at once, which is the most there can be."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.passing


@dataclass(frozen=True)
class Speed:
    """How fast one device takes steps.

    ``measured`` tells whether steps were taken; otherwise ``step_s`` is the step's operations over a rate. ``rate``
    is that of matrix products, ``share`` how much of it the steps reach (or are taken to).
    """

    measured: bool
    step_s: float
    questions: float
    tokens: float
    rate: float
    share: float

    @property
    def questions_per_s(self) -> float:
        """Of one device."""
        return self.questions / self.step_s

    @property
    def tokens_per_s(self) -> float:
        """Of one device, image tokens included, padding not."""
        return self.tokens / self.step_s


def prepare(model: GeoPixModel, stage: Stage, new_ids: Sequence[int]) -> None:
    """Put on the adapter and freeze what a stage does not train, as `geopix.train.run` does."""
    if stage.language == "dialogue":
        model.language.llm = add_lora(
            model.language.causal, stage.lora_rank, stage.lora_alpha, stage.lora_dropout, new_ids
        )
    for name, parameter in model.named_parameters():
        if stage.rate_of(name) == 0:
            parameter.requires_grad_(False)


def part_of(name: str) -> str:
    """The part that a parameter belongs to, by its name."""
    if "lora_" in name:
        return "LoRA"
    if "trainable_tokens_delta" in name:
        return "new token rows"
    return next((part for prefix, part in _PLACES if name.startswith(prefix)), "others")


def parts(model: nn.Module) -> list[Part]:
    """The model's parts in the order in which they first come."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for name, parameter in model.named_parameters():
        count = counts[part_of(name)]
        count[0] += parameter.numel()
        count[1] += parameter.numel() * parameter.requires_grad
        count[2] += parameter.numel() * parameter.element_size()
    return [Part(name, *count) for name, count in counts.items()]


def device_memory(model: nn.Module, sharding: Sharding, devices: int, activations: int, bank_rows: int) -> DeviceMemory:
    """What the fullest device holds.

    Args:
        model: With its adapter, and with gradients for what trains; it may be on the meta device.
        sharding: How devices share the work.
        devices: How many.
        activations: Bytes of a device's own, see `geopix.train.costs`.
        bank_rows: Of the memory bank, how many a step reads; only these have a gradient, where it is sparse.
    """
    found = units(model)
    cut = {name for unit in found for name in unit.parameters} if sharding == "fsdp2" else set()
    banks = {f"{name}.rows" for name, module in model.named_modules() if isinstance(module, Bank)}
    split = devices if sharding == "zero2" else 1
    weights = gradients = optimizer = 0
    for name, parameter in model.named_parameters():
        size, item = parameter.numel(), parameter.element_size()
        weights += (share(parameter.shape, devices) if name in cut else size) * item
        if not parameter.requires_grad:
            continue
        sparse = name in banks and sharding != "zero2"  # ZeRO knows no sparse gradients
        rows = min(bank_rows, parameter.shape[0]) * parameter.shape[1] if sparse else size
        gradients += GRADIENT * -(-rows // split)
        optimizer += ADAMW * -(-size // split)
    passing = {"none": 0, "fsdp2": gathered(found), "zero2": 2 * 2 * ZERO2_BUCKET}[sharding]
    if devices == 1:
        passing = 0
    return DeviceMemory(sharding, devices, weights, gradients, optimizer, activations, passing)


def size_of(batch: Batch, n_classes: int, top_k: int) -> StepSize:
    """The shapes of a batch; where Q_c is predicted, every target may read another ``top_k`` classes."""
    images, targets = batch.present.shape
    classes = min(n_classes, max(1, int(batch.present.sum()) * top_k))
    if batch.ids is None or batch.answers is None:
        return StepSize(images, 0, 0, targets, classes)
    return StepSize(images, batch.ids.shape[1], int(batch.answers.sum()), targets, classes)


def questions_of(batch: Batch) -> int:
    """How many questions a batch asks: answers begin, or phrases are to be found."""
    if batch.answers is None:
        return int(batch.present.sum())
    begins = batch.answers[:, 1:] & ~batch.answers[:, :-1]
    return int(begins.sum())


def tokens_of(batch: Batch) -> int:
    """How many tokens the language model reads, padding aside; none where it is not asked."""
    return 0 if batch.branches is None else int((batch.branches >= 0).sum())


def clock(take: Callable[[Batch], Tensor], batches: Sequence[Batch], warm: int = 1) -> float:
    """Take steps and look at the clock: seconds of one.

    Args:
        take: Takes a step and gives its loss.
        batches: One a step; the first ``warm`` are not counted.

    Raises:
        ValueError: If there is no batch to count.
    """
    if len(batches) <= warm:
        raise ValueError(f"{len(batches)} batches are too few to time after {warm} to warm up; give more")
    for batch in batches[:warm]:
        float(take(batch).detach())
    started = time.perf_counter()
    for batch in batches[warm:]:
        float(take(batch).detach())  # waits for the device
    return (time.perf_counter() - started) / (len(batches) - warm)


def speed(
    step_s: float | None, batches: Sequence[Batch], biggest: Batch, operations: int, rate: float, share: float
) -> Speed:
    """How fast steps are.

    Args:
        step_s: Seconds of one, as `clock` gives them; None estimates them from operations.
        batches: Those that were timed, or any that are like the stage's.
        biggest: Another, of which a step has so many ``operations``.
        operations: See `geopix.train.costs`; a step's grow with its tokens, padding included.
        rate: Operations a second that matrix products reach.
        share: Of the rate, for an estimate.
    """
    mean = operations * sum(map(_length, batches)) / len(batches) / _length(biggest)
    questions, tokens = (sum(map(count, batches)) / len(batches) for count in (questions_of, tokens_of))
    if step_s is None:
        return Speed(False, mean / (rate * share), questions, tokens, rate, share)
    return Speed(True, step_s, questions, tokens, rate, mean / step_s / rate)


def largest(batches: Sequence[Batch]) -> Batch:
    """The batch that costs most."""
    return max(batches, key=_length)


def _length(batch: Batch) -> int:
    """What a batch's operations grow with."""
    return batch.features.shape[0] if batch.ids is None else batch.ids.numel()
