"""AdamW for half-precision parameters, kept exact by single-precision masters (§V-A)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Iterable, Mapping

import torch
from torch import Tensor, nn


class MasterAdamW:
    """AdamW whose parameters may be bfloat16: the update runs on a float32 copy, of which they are the rounding.

    Without the copy a small step would round away: bfloat16 holds three digits.

    A parameter whose gradient is sparse (the memory bank's) is updated row by row: a row has a copy and moments from
    the first step on that its class is in a batch, and rows that no batch has touched cost nothing. A row that is not
    in a batch stays as it is, where dense AdamW would move it on by its momentum.

    Args:
        named: Parameters with their names.
        rates: Learning rate of every parameter by name, at the schedule's peak.
        betas, weight_decay: AdamW's.
        row_wise: Names of the parameters whose gradients are sparse.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        rates: Mapping[str, float],
        betas: tuple[float, float],
        weight_decay: float,
        row_wise: Container[str] = (),
    ) -> None:
        self.parameters = dict(named)
        self.rates, self.row_wise = rates, row_wise
        self.masters = {
            name: parameter.detach().float().clone()
            for name, parameter in self.parameters.items()
            if name not in row_wise
        }
        groups = [{"params": [master], "lr": rates[name], "peak": rates[name]} for name, master in self.masters.items()]
        if not groups:  # torch wants one parameter to begin with
            groups = [{"params": [torch.zeros(())], "lr": 0.0, "peak": 0.0}]
        self.adamw = torch.optim.AdamW(groups, betas=betas, weight_decay=weight_decay, foreach=False, fused=True)

    def collect(self) -> None:
        """Add the parameters' gradients to those of the masters, in single precision, and take them away.

        Called after every micro-batch, it makes the sum as exact as the update.
        """
        for name, parameter in self.parameters.items():
            gradient, parameter.grad = parameter.grad, None
            if gradient is None:
                continue
            if name not in self.row_wise:
                _add(self.masters[name], gradient)
                continue
            gradient = gradient.coalesce()
            for row, values in zip(gradient.indices()[0].tolist(), gradient.values(), strict=True):
                _add(self._row(name, row), values)

    def meet(self, total: Callable[[Tensor], Tensor], device: torch.device) -> None:
        """Sum what all processes collected.

        Two sums do it: who has a gradient at all, where a row of the bank is a flag; then the gradients that anybody
        has, as one flat tensor. So a row travels only where a batch has touched it.

        Args:
            total: Sums a tensor over the processes.
            device: Where that can be done.
        """
        whole = [name for name in self.parameters if name not in self.row_wise]
        keys = [*whole]
        for name in self.parameters:
            if name in self.row_wise:
                keys += [f"{name}[{row}]" for row in range(len(self.parameters[name]))]
        having = [key in self.masters and self.masters[key].grad is not None for key in keys]
        anybody = total(torch.tensor(having, dtype=torch.float32, device=device)).tolist()
        wanted = [key for key, count in zip(keys, anybody, strict=True) if count]
        if not wanted:
            return
        masters = [self._master(key) for key in wanted]
        gradients = [torch.zeros_like(master) if master.grad is None else master.grad for master in masters]
        summed = total(torch.cat([gradient.flatten() for gradient in gradients]))
        for master, part in zip(masters, summed.split([master.numel() for master in masters]), strict=True):
            master.grad = part.view_as(master)

    def step(self, share: float, clip: float, scale: float = 1.0) -> float:
        """Clip the gradients, update, round back; a parameter without a gradient stays as it is.

        Args:
            share: The schedule's factor on every learning rate.
            clip: Largest norm of the whole gradient.
            scale: Factor on the gradients, one over the number of micro-batches that were collected.

        Returns:
            The norm before clipping. Where it is not finite, nothing was updated.
        """
        self.collect()
        ordered = [self.masters[key] for key in sorted(self.masters)]  # sums must not depend on who came first
        if scale != 1.0:
            for master in ordered:
                if master.grad is not None:
                    master.grad.mul_(scale)
        norm = float(nn.utils.clip_grad_norm_(ordered, clip))
        if math.isfinite(norm):
            for group in self.adamw.param_groups:
                group["lr"] = group["peak"] * share
            self.adamw.step()
            with torch.no_grad():
                for key, master in self.masters.items():
                    if master.grad is not None:
                        self._target(key).copy_(master)
        self.forget()
        return norm

    def forget(self) -> None:
        """Drop what was collected."""
        for master in self.masters.values():
            master.grad = None

    def forget_last(self) -> None:
        """Drop the gradients that the parameters have since the last `collect`."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Masters and moments as flat tensors, for a safetensors file.

        Of a row-wise parameter these are the touched rows', and the whole of it beside them ("whole.NAME").
        """
        tensors = {f"whole.{name}": self.parameters[name].detach() for name in self.parameters if name in self.row_wise}
        for name, master in self.masters.items():
            tensors[f"master.{name}"] = master
            for key, value in self.adamw.state.get(master, {}).items():
                tensors[f"{key}.{name}"] = value
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `state`; moments of parameters that never had a gradient may be missing."""
        with torch.no_grad():
            for name in self.parameters:
                if name in self.row_wise:
                    self.parameters[name].copy_(tensors[f"whole.{name}"])
        rows = (ROW.fullmatch(key.removeprefix("master.")) for key in tensors if key.startswith("master."))
        for found in rows:
            if found is not None and found["name"] in self.row_wise:
                self._row(found["name"], int(found["row"]))
        with torch.no_grad():
            for name, master in self.masters.items():
                master.copy_(tensors[f"master.{name}"])
                self._target(name).copy_(master)
                if f"step.{name}" in tensors:
                    self.adamw.state[master] = {
                        key: tensors[f"{key}.{name}"].to(master.device, copy=True)
                        for key in ("step", "exp_avg", "exp_avg_sq")
                    }

    def _master(self, key: str) -> Tensor:
        """A master by its key, a row's made if need be."""
        found = None if key in self.masters else ROW.fullmatch(key)
        return self.masters[key] if found is None else self._row(found["name"], int(found["row"]))

    def _row(self, name: str, row: int) -> Tensor:
        """The master of one row, made when it is first asked for."""
        key = f"{name}[{row}]"
        if key not in self.masters:
            self.masters[key] = self.parameters[name].detach()[row].float().clone()
            self.adamw.add_param_group({"params": [self.masters[key]], "lr": 0.0, "peak": self.rates[name]})
        return self.masters[key]

    def _target(self, key: str) -> Tensor:
        """What a master is the copy of: a parameter, or one row of it."""
        return target(key, self.parameters)


def _add(master: Tensor, gradient: Tensor) -> None:
    gradient = gradient.float()
    master.grad = gradient if master.grad is None else master.grad.add_(gradient)


ROW = re.compile(r"(?P<name>.+)\[(?P<row>\d+)\]")


def target(key: str, parameters: Mapping[str, Tensor]) -> Tensor:
    """The parameter that a master's key names, or the row of it ("bank.rows[17]"), as a view to write to.

    Raises:
        KeyError: If there is none.
    """
    found = ROW.fullmatch(key)
    return parameters[key].detach() if found is None else parameters[found["name"]].detach()[int(found["row"])]


def schedule(step: int, steps: int, warmup: int, final: float) -> float:
    """Linear warm-up, then a cosine down to ``final`` of the peak (§V-A)."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
