"""``geopix train --plan``: what a stage costs, told before it runs (§III-C, Table XI)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from geopix.apps import show
from geopix.apps.train import TrainError

if TYPE_CHECKING:
    from geopix.train.rehearsal import Plan

WAYS = {"none": "none", "zero2": "ZeRO-2", "fsdp2": "FSDP2"}


def run(
    config: Path, overrides: Sequence[str], *, runs: Path | None, devices: int, tflops: float | None, as_json: bool
) -> None:
    """Print a stage's plan; nothing is trained and nothing written.

    Args:
        config: The stage's YAML file.
        overrides: ``key=value`` changes to it.
        runs: Where the stage's features may be already, or None.
        devices: Among how many the work is to be shared out.
        tflops: What matrix products reach on such a device, in 10^12 operations a second; None measures here.
        as_json: Whether to print one line of JSON instead.

    Raises:
        TrainError: If there is no such settings file.
        ValueError: If the settings are wrong, or the model can't be made.
    """
    from geopix import config as settings  # pydantic: not while --help is asked for

    if not config.is_file():
        raise TrainError(f"there is no settings file {config}; give a YAML file such as configs/nano_joint.yaml")
    stage = settings.load(config, overrides)
    model = str(getattr(stage, "model", "nano"))
    with show.quiet_stdout():
        from geopix.train.rehearsal import rehearse

        folder = None if runs is None else runs / "features"
        status = Console(stderr=True)
        with status.status("") as line:
            plan = rehearse(
                stage, model, folder, devices, None if tflops is None else tflops * 1e12,
                getattr(stage, "architecture", None),
                tell=lambda doing: line.update(f"planning {stage.name}: {doing}"),
            )  # fmt: skip
    if as_json:
        print(json.dumps(plan.as_json(), allow_nan=False))
    else:
        _print(plan, Console(highlight=False))


def _print(plan: Plan, console: Console) -> None:
    console.print(show.plain(f"{plan.stage}: {plan.model}, {plan.steps:,} steps"))
    rows = [
        (part.name, f"{part.parameters:,}", f"{part.trained:,}" if part.trained else "", show.megabytes(part.bytes))
        for part in plan.parts
    ]
    whole, ours, size = (sum(getattr(part, key) for part in plan.parts) for key in ("parameters", "trained", "bytes"))
    rows.append(("all", f"{whole:,}", f"{ours:,}", show.megabytes(size)))
    headings = ("part", "parameters", "trained", "size")
    console.print(show.table(headings, rows, numeric=headings[1:]))
    console.print(f"\nmemory of a device, {plan.devices} in all")
    numbers = ("weights", "gradients", "optimizer", "activations", "passing", "total")
    told = [
        (WAYS[one.sharding], again, *(show.megabytes(getattr(one, number)) for number in numbers))
        for rows_of, again in ((plan.memory, "kept"), (plan.checkpointed, "recomputed"))
        for one in rows_of
    ]
    console.print(show.table(("sharding", "layers", *numbers), told, numeric=numbers))
    speed = plan.speed
    known = "measured" if speed.measured else "estimated"
    tokens = f", {speed.tokens_per_s:,.0f} tokens" if speed.tokens else ""
    console.print(
        f"\n{known}: a step takes {_duration(speed.step_s)}; {speed.questions_per_s:,.2f} questions{tokens} a second "
        f"and device, {speed.share:.0%} of what matrix products reach ({speed.rate / 1e12:,.3g} TFLOP/s)",
        soft_wrap=True,
    )
    console.print(f"{plan.hours:,.3g} hours, {plan.device_hours:,.3g} device-hours (GPU-hours where devices are GPUs)")
    for note in plan.notes:
        console.print(show.plain(f"  - {note}"), soft_wrap=True)


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
