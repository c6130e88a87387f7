"""AdamW for half-precision parameters, kept exact by single-precision masters (§V-A)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class MasterAdamW:
    """AdamW whose parameters may be bfloat16: the update runs on a float32 copy, of which they are the rounding.

    Without the copy a small step would round away: bfloat16 holds three digits.

    Args:
        named: Parameters with their names.
        rates: Learning rate of every parameter by name, at the schedule's peak.
        betas, weight_decay: AdamW's.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        rates: Mapping[str, float],
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        self.parameters = dict(named)
        self.masters = {name: parameter.detach().float().clone() for name, parameter in self.parameters.items()}
        groups = [{"params": [master], "lr": rates[name], "peak": rates[name]} for name, master in self.masters.items()]
        self.adamw = torch.optim.AdamW(groups, betas=betas, weight_decay=weight_decay, foreach=False, fused=True)

    def step(self, share: float, clip: float) -> float:
        """Clip the gradients, update, round back; a parameter without a gradient stays as it is.

        Args:
            share: The schedule's factor on every learning rate.
            clip: Largest norm of the whole gradient.

        Returns:
            The norm before clipping.
        """
        for name, parameter in self.parameters.items():
            self.masters[name].grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        norm = float(nn.utils.clip_grad_norm_(self.masters.values(), clip))
        for group in self.adamw.param_groups:
            group["lr"] = group["peak"] * share
        self.adamw.step()
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.masters[name])
        return norm

    def state(self) -> dict[str, Tensor]:
        """Masters and moments as flat tensors, for a safetensors file."""
        tensors = {}
        for name, master in self.masters.items():
            tensors[f"master.{name}"] = master
            for key, value in self.adamw.state.get(master, {}).items():
                tensors[f"{key}.{name}"] = value
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `state`; moments of parameters that never had a gradient may be missing."""
        with torch.no_grad():
            for name, master in self.masters.items():
                master.copy_(tensors[f"master.{name}"])
                self.parameters[name].copy_(master)
                if f"step.{name}" in tensors:
                    self.adamw.state[master] = {
                        key: tensors[f"{key}.{name}"].to(master.device, copy=True)
                        for key in ("step", "exp_avg", "exp_avg_sq")
                    }


def schedule(step: int, steps: int, warmup: int, final: float) -> float:
    """Linear warm-up, then a cosine down to ``final`` of the peak (§V-A)."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
