"""What FSDP2 cuts into shares, and what every device holds whole (§V-A at full size; configs/accelerate).

Cut are the frozen weights of the language model's layers: 6.5 of 7.8 billion parameters, and of these nobody needs a
gradient. What trains is whole on every device, so masters, moments, rows of the bank, clipping and checkpoints are
those of the loop without shares, and a run may go on with another number of devices (docs/training.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

Sharding = Literal["none", "zero2", "fsdp2"]
"""How devices divide the work: nothing is shared out, gradients and optimiser state are (DeepSpeed's ZeRO-2), or the
frozen weights are (PyTorch's FSDP2)."""
LAYERS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer")
"""Classes of which every module is a unit of FSDP2: layers of the language models that LLaVA is made of.

Every micro-batch of a dialogue enters each of them once, by its `forward`, where FSDP2 gathers a unit's weights. The
encoder may be entered any number of times (images that can't be read), the mask decoders only where there is a mask:
devices would wait for each other there without end.
"""


@dataclass(frozen=True)
class Unit:
    """What FSDP2 gathers and gives back together; ``name`` is its module's."""

    name: str
    parameters: dict[str, nn.Parameter]

    @property
    def bytes(self) -> int:
        """What it takes while it is gathered."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self.parameters.values())


def units(model: nn.Module) -> list[Unit]:
    """The units of a model whose adapter is on and whose frozen parts are frozen; what is in none stays whole."""
    return [
        Unit(name, {f"{name}.{key}": value for key, value in module.named_parameters() if not value.requires_grad})
        for name, module in _layers(model)
    ]


def shard(model: nn.Module, stack: nn.Module, mesh: DeviceMesh, again: bool = True) -> None:
    """Cut the units' weights into shares, one a device of the mesh; all devices do so together.

    Args:
        model: As `units` wants it, the same on every device.
        stack: The module of the model that calls all layers, one after the other.
        mesh: Of one axis.
        again: Whether a layer is given back after the forward pass and gathered again for the backward pass.

    Raises:
        ValueError: If the model has no such layer.
    """
    found = units(model)
    if not found:
        raise ValueError(
            f"there is nothing to shard: none of {', '.join(LAYERS)} is in the language model; launch with "
            "accelerate's MULTI_GPU or with torchrun"
        )
    for unit in found:
        layer = model.get_submodule(unit.name)
        kept = {parameter for parameter in layer.parameters() if parameter.requires_grad}
        fully_shard(layer, mesh=mesh, reshard_after_forward=again, ignored_params=kept)
    # with nothing of its own: it lets a layer be gathered while the one before is at work
    fully_shard(stack, mesh=mesh, ignored_params=set(stack.parameters()))


def share(shape: Sequence[int], devices: int) -> int:
    """How many numbers of a tensor the first device keeps, which has the most: FSDP2 cuts along the first axis."""
    rows, *others = shape or (1,)
    kept = -(-rows // devices)
    for other in others:
        kept *= other
    return kept


def gathered(found: Sequence[Unit]) -> int:
    """Bytes of weights beyond a device's share at the worst moment: two layers, one at work and one on its way."""
    two = max((one.bytes + other.bytes for one, other in pairwise(found)), default=0)
    return max(two, max((one.bytes for one in found), default=0))


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, module) for name, module in model.named_modules() if type(module).__name__ in LAYERS)
