"""Which modules are sharded as one, and what a device then holds (§V-A at full size; configs/accelerate)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import nn

from geopix.model.memory import Bank, MemoryAttention

Sharding = Literal["none", "zero2", "fsdp2"]
"""How devices divide the work: nothing is shared out, gradients and optimiser state are (DeepSpeed's ZeRO-2), or the
weights, too (PyTorch's FSDP2)."""
LAYERS = ("CLIPEncoderLayer", "Dinov2Layer", "LlamaDecoderLayer", "TwoWayBlock")
"""Classes of which every module is a unit of FSDP2: layers of the encoder and the LLM, blocks of the mask decoders.

All of them are entered by their `forward` alone, which is where FSDP2 gathers a unit's weights.
"""


@dataclass(frozen=True)
class Unit:
    """What FSDP2 gathers and gives back together; ``name`` is its module's, "" for all that lies in no other."""

    name: str
    parameters: dict[str, nn.Parameter]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    @property
    def bytes(self) -> int:
        """What it takes while it is gathered."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self.parameters.values())


def units(model: nn.Module) -> list[Unit]:
    """The units of a model, the one of all the rest last; what is kept whole is in none."""
    whole = kept_whole(model)
    taken = {id(parameter) for parameter in whole.values()}
    found: list[Unit] = []
    for name, module in model.named_modules():
        if type(module).__name__ in LAYERS:
            own = {f"{name}.{key}": value for key, value in module.named_parameters() if id(value) not in taken}
            taken |= {id(value) for value in own.values()}
            found.append(Unit(name, own))
    rest = {name: parameter for name, parameter in model.named_parameters() if id(parameter) not in taken}
    return [*found, Unit("", rest)]


def kept_whole(model: nn.Module) -> dict[str, nn.Parameter]:
    """What every device has for itself, and whose gradients FSDP2 therefore leaves to the training loop.

    The bank, whose gradient is rows and not a tensor that could be cut; and SA and CA with their alpha, a number that
    FSDP2 can't cut either (2 million parameters in the 7B model).
    """
    return {
        f"{name}.{key}": parameter
        for name, module in model.named_modules()
        if isinstance(module, Bank | MemoryAttention)
        for key, parameter in module.named_parameters()
    }


def share(shape: Sequence[int], devices: int) -> int:
    """How many numbers of a tensor the first device keeps, which has the most: FSDP2 cuts along the first axis."""
    rows, *others = shape or (1,)
    kept = -(-rows // devices)
    for other in others:
        kept *= other
    return kept


def gathered(found: Sequence[Unit]) -> int:
    """Bytes of weights beyond a device's share at the worst moment.

    The rest is kept from its first use on; of the layers there are two at a time, one at work and one on its way.
    """
    *layers, rest = found
    two = max((one.bytes + other.bytes for one, other in pairwise(layers)), default=0)
    return rest.bytes + max(two, max((layer.bytes for layer in layers), default=0))
