"""The learning curve of nano's stages: mask IoU of the training batches over minutes of training (§V-A).

    python runs/learning_curve.py RUNS/nano_search RUNS/nano_mask RUNS/nano_joint -o docs/nano_learning_curve.png

RUNS is the folder that `geopix train --runs` was given; stages are drawn one after the other, in the order given.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SMOOTHED_STEPS = 60

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One stage: ``minutes`` (n,) since its start and ``iou`` (n,), NaN where a step had no mask."""

    name: str
    minutes: Floats
    iou: Floats


def read(folder: Path) -> Curve:
    """A stage's curve; of a step that ran twice, since the stage was stopped in between, the last run counts.

    Raises:
        ValueError: If there is no step, or a line is not JSON (but for the last, which may be cut short).
        OSError: If there is no ``metrics.jsonl``.
    """
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps: dict[int, tuple[float, float]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            raise ValueError(f"{folder / 'metrics.jsonl'}, line {number} is not JSON") from None
        steps[row["step"]] = row["seconds"], row.get("mask_iou", float("nan"))
    if not steps:
        raise ValueError(f"{folder / 'metrics.jsonl'} holds no step yet; train the stage first")
    table = np.array([steps[step] for step in sorted(steps)], dtype=np.float64).reshape(-1, 2)
    return Curve(folder.name, np.cumsum(table[:, 0]) / 60, table[:, 1])


def smooth(values: Floats, width: int) -> Floats:
    """The mean of the last ``width`` values at every place, NaN left out; NaN where there is none."""
    known = ~np.isnan(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    number = counts[ends] - counts[starts]
    means = (sums[ends] - sums[starts]) / np.maximum(number, 1)
    return np.where(number > 0, means, np.nan)


def draw(curves: Sequence[Curve], path: Path) -> None:
    """One line a stage, one after the other in time; a stage without masks is a grey band."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    start = 0.0
    for curve in curves:
        minutes = start + curve.minutes
        if np.isnan(curve.iou).all():
            axes.axvspan(start, minutes[-1], color="0.9", label=f"{curve.name} (no masks)")
        else:
            axes.plot(minutes, smooth(curve.iou, SMOOTHED_STEPS), label=curve.name)
        start = float(minutes[-1])
    axes.set(
        xlabel="minutes of training",
        ylabel=f"mask IoU of the training batches, mean of {SMOOTHED_STEPS} steps",
        ylim=(0, 1),
        xlim=(0, start),
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper center", ncols=3, fontsize="small")
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the stages, draw them, say what was drawn."""
    parser = argparse.ArgumentParser(description="Draw the learning curve of nano's stages.")
    parser.add_argument("stages", type=Path, nargs="+", help="folders of stages, each with its metrics.jsonl")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the PNG to write")
    given = parser.parse_args(arguments)
    try:
        curves = [read(folder) for folder in given.stages]
        draw(curves, given.output)
    except ImportError:
        print("matplotlib is missing; run: make setup", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"learning_curve: {error}", file=sys.stderr)
        return 1
    for curve in curves:
        print(f"{curve.name}: {len(curve.minutes)} steps, {curve.minutes[-1]:.1f} minutes")
    print(f"wrote {given.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
