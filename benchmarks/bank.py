"""A training step of the memory bank: the rows of the batch's classes, against all rows by dense AdamW (Eq. 1).

    python benchmarks/bank.py [--classes 75] [--batch-classes 5] [--rounds 3] [--json]

The bank of the paper, classes x 2 scales x 64 x 64 x 32 x 32 in float32, is fused by conv3d and pulled towards fixed
maps; a step is forward, backward and update. Each variant lives in a process of its own. The dense one needs four
times the bank's size in memory: 10 GB at 75 classes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Literal

import torch

from geopix.model.memory import Bank, FoldingFusion
from geopix.train.optimizer import MasterAdamW

SCALES, CAPACITY, WIDTH, SIDE = 2, 64, 64, 32
BETAS = (0.9, 0.95)
Variant = Literal["rows", "dense"]


def stepper(variant: Variant, bank: Bank) -> Callable[[], None]:
    """The update of a variant."""
    named = [("rows", bank.rows)]
    if variant == "rows":
        mine = MasterAdamW(named, {"rows": 1e-3}, BETAS, 0.0, row_wise={"rows"})

        def rows_step() -> None:
            mine.step(1.0, 1.0)

        return rows_step
    dense = torch.optim.AdamW([bank.rows], lr=1e-3, betas=BETAS, weight_decay=0.0, fused=True)

    def step() -> None:
        torch.nn.utils.clip_grad_norm_([bank.rows], 1.0)
        dense.step()
        dense.zero_grad()

    return step


def worker(variant: Variant, classes: int, batch_classes: int, threads: int, pipe: Connection) -> None:
    """A step for every message, answered with (seconds, peak bytes above the bank's own)."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    bank = Bank(classes, SCALES, CAPACITY, WIDTH, SIDE, sparse=variant == "rows")
    fusion = FoldingFusion("conv3d", CAPACITY).requires_grad_(False)
    update, resting = stepper(variant, bank), peak_bytes()
    target = torch.randn(batch_classes, WIDTH, SIDE, SIDE)
    while pipe.recv():
        started = time.perf_counter()
        for scale in range(SCALES):
            h = bank(torch.arange(batch_classes), scale)
            ((fusion(h) - target) ** 2).mean().backward()
        update()
        pipe.send((time.perf_counter() - started, peak_bytes() - resting))


def peak_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(classes: int, batch_classes: int, rounds: int, threads: int) -> dict[str, Any]:
    """Medians over rounds in which the variants take turns."""
    context = multiprocessing.get_context("spawn")
    variants: tuple[Variant, ...] = ("rows", "dense")
    pipes: dict[Variant, Connection] = {}
    for variant in variants:
        ours, theirs = context.Pipe()
        arguments = (variant, classes, batch_classes, threads, theirs)
        context.Process(target=worker, args=arguments, daemon=True).start()
        pipes[variant] = ours
    seconds: dict[Variant, list[float]] = {variant: [] for variant in variants}
    peaks: dict[Variant, int] = {}
    for number in range(rounds + 1):
        for variant in variants if number % 2 else variants[::-1]:
            pipes[variant].send(True)
            took, peaks[variant] = pipes[variant].recv()
            if number:  # the first makes the optimisers' state
                seconds[variant].append(took)
    for pipe in pipes.values():
        pipe.send(False)
    medians = {variant: statistics.median(values) for variant, values in seconds.items()}
    return {
        "bank_gb": classes * SCALES * CAPACITY * WIDTH * SIDE**2 * 4e-9,
        "classes": classes,
        "batch_classes": batch_classes,
        "seconds": medians,
        "faster": medians["dense"] / medians["rows"],
        "peak_gb_above_the_bank": {variant: peak / 1e9 for variant, peak in peaks.items()},
    }


def main() -> int:
    """Measure, and print sentences or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=75)
    parser.add_argument("--batch-classes", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result = measure(given.classes, given.batch_classes, given.rounds, given.threads)
    if given.json:
        print(json.dumps(result))
        return 0
    print(f"bank of {result['classes']} classes, {result['bank_gb']:.2f} GB; {result['batch_classes']} in the batch")
    for variant, seconds in result["seconds"].items():
        print(
            f"{variant:6} {seconds:7.2f} s a step, {result['peak_gb_above_the_bank'][variant]:6.2f} GB above the bank"
        )
    print(f"rows are {result['faster']:.1f} times faster")
    return 0


if __name__ == "__main__":
    sys.exit(main())
