"""Micro-batches into one update, the same whatever the number of processes (§V-A: global batch 196)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy

from geopix.model.geopix import GeoPixModel
from geopix.train import sharding
from geopix.train.step import NUMBERS

_COLUMNS = (*NUMBERS, "loss", "targets", "good")


def accelerator() -> Accelerator:
    """This process among those that ``accelerate launch`` or ``torchrun`` started, or alone.

    Raises:
        ValueError: If it was launched to shard the model in a way that this loop does not know.
    """
    found = Accelerator(cpu=not torch.cuda.is_available())
    known = {DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU, DistributedType.FSDP}
    if found.distributed_type not in known:
        raise ValueError(
            f"the launch asks for {found.distributed_type.value}, which this loop does not know; launch with "
            "configs/accelerate/fsdp2.yaml to shard the model, or with accelerate's MULTI_GPU, MULTI_CPU or torchrun"
        )
    if shards(found):
        asked = FullyShardedDataParallelPlugin()  # reads what the launch wrote into the environment
        if asked.fsdp_version != 2 or isinstance(asked.cpu_offload, CPUOffloadPolicy):
            raise ValueError(
                "the launch asks for FSDP's first version or for offloaded parameters, which this loop does not know; "
                "say fsdp_version: 2 and fsdp_offload_params: false, as configs/accelerate/fsdp2.yaml does"
            )
    return found


def shards(among: Accelerator) -> bool:
    """Whether the launch asks for FSDP and there are several processes to share the model out to.

    On CPUs accelerate leaves the type at MULTI_CPU, whatever the launch asks for.
    """
    return among.num_processes > 1 and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def shard(model: GeoPixModel, among: Accelerator) -> None:
    """Cut the model as the launch asks, once it is known what trains; see `geopix.train.sharding`."""
    again = bool(FullyShardedDataParallelPlugin().reshard_after_forward)
    mesh = init_device_mesh(among.device.type, (among.num_processes,))
    sharding.shard(model, model.language.causal.base_model, mesh, again)


class Update:
    """What the micro-batches of one update came to, each told by the process that computed it.

    Args:
        micro_batches: How many there are.
        device: Where sums over processes can be made.
    """

    def __init__(self, micro_batches: int, device: torch.device) -> None:
        self.table = torch.zeros(micro_batches, len(_COLUMNS), dtype=torch.float64)
        self.known = torch.zeros_like(self.table)
        self.device = device
        self.notes: dict[str, list[str]] = {}

    def add(self, micro: int, numbers: Mapping[str, float]) -> None:
        """Enter what one micro-batch came to."""
        for name, value in numbers.items():
            self.table[micro, _COLUMNS.index(name)] = value
            self.known[micro, _COLUMNS.index(name)] = 1

    def note(self, kind: str, texts: list[str]) -> None:
        """Enter what is to be said beside the numbers, such as samples that were left out."""
        if texts:
            self.notes[kind] = [*self.notes.get(kind, []), *texts]

    def meet(self, among: Accelerator) -> None:
        """Have every process know what all of them entered."""
        if among.num_processes == 1:
            return
        both = among.reduce(torch.stack([self.table, self.known]).to(self.device), "sum").cpu()
        self.table, self.known = both
        said, self.notes = _exchanged(among, self.notes), {}
        for notes in said:
            for kind, texts in notes.items():
                self.note(kind, texts)

    @property
    def good(self) -> int:
        """Micro-batches that were learned from."""
        return int(self.table[:, _COLUMNS.index("good")].sum())

    def numbers(self) -> dict[str, float]:
        """Means over the micro-batches that have a number; the targets are counted."""
        counts, sums = self.known.sum(dim=0).tolist(), self.table.sum(dim=0).tolist()
        means = {name: sums[k] / counts[k] for k, name in enumerate(_COLUMNS) if counts[k]}
        means.pop("good", None)
        return means | {"targets": sums[_COLUMNS.index("targets")]}


def _exchanged(among: Accelerator, notes: dict[str, list[str]]) -> list[dict[str, list[str]]]:
    """Every process's notes, as JSON in a tensor: accelerate's own way for objects is pickle."""
    text = json.dumps(notes).encode()
    size = torch.tensor([len(text)], device=among.device)
    sizes = among.gather(size).tolist()
    padded = torch.zeros(max(sizes), dtype=torch.uint8, device=among.device)
    padded[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8).to(among.device)
    rows = among.gather(padded[None]).cpu()
    found: list[Any] = [json.loads(bytes(row[:length].tolist())) for row, length in zip(rows, sizes, strict=True)]
    return found


class RunningAverages:
    """Running statistics (batch norm's in the memory's fusion) that move once an update.

    Every micro-batch starts from the statistics before the update, and what they come to is averaged: so neither
    their order nor the process that computes them matters, and one that is left out leaves no trace.

    Args:
        model: Whose statistics.
    """

    def __init__(self, model: nn.Module) -> None:
        self.buffers = {name: buffer for name, buffer in model.named_buffers() if "running_" in name}
        self.start()

    def start(self) -> None:
        """Begin an update."""
        self.before = {name: buffer.clone() for name, buffer in self.buffers.items()}
        self.sums = {name: torch.zeros_like(buffer, dtype=torch.float32) for name, buffer in self.buffers.items()}

    def take(self, good: bool) -> None:
        """After a micro-batch: count what it came to, where it was good, and go back."""
        for name, buffer in self.buffers.items():
            if good:
                self.sums[name] += buffer
            buffer.copy_(self.before[name])

    def finish(self, among: Accelerator, good: int) -> None:
        """End an update of so many good micro-batches on all processes."""
        if not good:
            return
        for name, buffer in self.buffers.items():
            summed: Tensor = self.sums[name]
            if among.num_processes > 1:
                summed = among.reduce(summed, "sum")
            buffer.copy_(summed / good)
