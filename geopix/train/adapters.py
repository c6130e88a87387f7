"""What becomes of one stage's LoRA when the next begins (§V-A: r = 128, then 8): it trains on, or it is merged.

A merged adapter is kept as what it was, two thin matrices a layer, in `merged.safetensors` of every stage after it. The
weights that the later adapter lies around are made from the untouched ones and these, in double precision, so whoever
goes on from a stage, or exports it, gets the same numbers; and an export may join all adapters into one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geopix.checkpoint import CheckpointError

MERGED = "merged.safetensors"
_DOWN, _UP = "down", "up"


@dataclass(frozen=True)
class Factors:
    """One adapter: of every layer it lies around, ``up @ down * scale`` is what it adds to the weight.

    ``down`` (rank, in) and ``up`` (out, rank) by the layer's name in the language model, float32 on the CPU.
    """

    scale: float
    down: dict[str, Tensor]
    up: dict[str, Tensor]

    @property
    def rank(self) -> int:
        """Rows of ``down``."""
        return next(iter(self.down.values())).shape[0]


def factors(llm: PeftModel) -> Factors:
    """The adapter that lies around a language model."""
    scale, down, up = 0.0, {}, {}
    for name, module in llm.get_base_model().named_modules():
        if hasattr(module, "lora_A"):
            scale = float(module.scaling["default"])
            down[name] = module.lora_A["default"].weight.detach().to("cpu", torch.float32, copy=True)
            up[name] = module.lora_B["default"].weight.detach().to("cpu", torch.float32, copy=True)
    return Factors(scale, down, up)


def put(llm: PeftModel, adapter: Factors) -> None:
    """The inverse of `factors`, into an adapter of its rank whose scale is 1."""
    with torch.no_grad():
        for name, module in llm.get_base_model().named_modules():
            if hasattr(module, "lora_A"):
                module.lora_A["default"].weight.copy_(adapter.down[name])
                module.lora_B["default"].weight.copy_(adapter.up[name] * adapter.scale)


def add(causal: Any, adapters: Sequence[Factors]) -> None:
    """Add adapters to the weights of a language model without any: in double precision, rounded after each."""
    with torch.no_grad():
        for one in adapters:
            for name in one.down:
                weight = causal.get_submodule(name).weight
                weight.copy_(
                    weight.to("cpu", torch.float64) + one.scale * (one.up[name].double() @ one.down[name].double())
                )


def joined(adapters: Sequence[Factors]) -> Factors:
    """One adapter that adds what several add; its rank is the sum of theirs."""
    names = adapters[0].down
    return Factors(
        1.0,
        {name: torch.cat([one.down[name] for one in adapters]) for name in names},
        {name: torch.cat([one.up[name] * one.scale for one in adapters], dim=1) for name in names},
    )


def rows_of(llm: PeftModel) -> Tensor:
    """The trained rows of the new words (new words, hidden)."""
    found = [parameter for name, parameter in llm.named_parameters() if "trainable_tokens_delta" in name]
    return found[0].detach()


def save(adapters: Sequence[Factors], folder: Path) -> None:
    """Write merged adapters into a stage's folder, in the order in which they were merged."""
    tensors: dict[str, Tensor] = {}
    for number, one in enumerate(adapters):
        tensors |= {f"{number}.{_DOWN}.{name}": tensor for name, tensor in one.down.items()}
        tensors |= {f"{number}.{_UP}.{name}": tensor for name, tensor in one.up.items()}
    staged = folder / f".{MERGED}"
    save_file(tensors, staged, {f"scale.{number}": repr(one.scale) for number, one in enumerate(adapters)})
    staged.replace(folder / MERGED)


def load(folder: Path) -> list[Factors]:
    """The adapters that were merged before a stage began; none where it has no such file.

    Raises:
        CheckpointError: If the file is damaged.
    """
    if not (folder / MERGED).is_file():
        return []
    try:
        with safe_open(folder / MERGED, "pt") as file:
            scales = {key: float(value) for key, value in file.metadata().items() if key.startswith("scale.")}
            found = [Factors(scales[f"scale.{number}"], {}, {}) for number in range(len(scales))]
            names = file.keys()
            for key in names:
                number, kind, name = key.split(".", 2)
                tensor = file.get_tensor(key)
                (found[int(number)].down if kind == _DOWN else found[int(number)].up)[name] = tensor
    except (SafetensorError, OSError, KeyError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{folder / MERGED} is damaged ({error}); run that stage again") from error
    return found


def same(ours: Sequence[Factors], theirs: Sequence[Factors]) -> bool:
    """Whether two lists of adapters are equal to the bit."""
    return len(ours) == len(theirs) and all(
        one.scale == other.scale
        and one.down.keys() == other.down.keys()
        and all(torch.equal(one.down[name], other.down[name]) for name in one.down)
        and all(torch.equal(one.up[name], other.up[name]) for name in one.up)
        for one, other in zip(ours, theirs, strict=True)
    )
