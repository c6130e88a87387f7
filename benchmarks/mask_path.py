"""The mask path at the paper's sizes: what a target costs, and what it would cost by a literal reading (Eq. 1-3).

    python benchmarks/mask_path.py [--targets 1 4 16 64] [--rounds 3] [--json]

Features of 2 scales x 576 patches x 1,024 channels, masks of 64 and 128 cells, 75 classes and "unknown". Both variants
have the same weights but for the bank; each lives in a process of its own, so that its peak memory is its own, and
they take turns. The literal reading keeps the whole bank, takes one target at a time, and computes SA(F_img) and F for
each; its attention projects everything that the equations name.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from geopix.model.attention import Attention
from geopix.model.mask_predictor import MaskPredictor
from geopix.model.memory import Bank, FoldedMemory, FoldingFusion, FoldingMemory
from geopix.model.projectors import ScaleProjector

CHANNELS, PATCHES, HIDDEN, WIDTH, SIDE, SCALES, CLASSES = 1024, 576, 4096, 256, 32, 2, 76
CAPACITY, MEMORY_WIDTH, MEMORY_SIDE = 64, 64, 32
Variant = Literal["geopix", "literal"]


class MaskPath(nn.Module):
    """Scale projectors and mask predictor of the paper's model.

    Args:
        capacity: Of the bank; None for the folded memory.
    """

    def __init__(self, capacity: int | None) -> None:
        super().__init__()
        memory: FoldedMemory | FoldingMemory
        if capacity is None:
            memory = FoldedMemory((CLASSES, SCALES, MEMORY_WIDTH, MEMORY_SIDE, MEMORY_SIDE))
        else:
            bank = Bank(CLASSES, SCALES, capacity, MEMORY_WIDTH, MEMORY_SIDE)
            memory = FoldingMemory(bank, FoldingFusion("conv3d", capacity))
        self.projectors = nn.ModuleList(ScaleProjector(CHANNELS, WIDTH, SIDE) for _ in range(SCALES))
        self.predictor = MaskPredictor(
            hidden=HIDDEN, tokens_per_scale=3, width=WIDTH, side=SIDE, n_scales=SCALES, n_classes=CLASSES,
            memory=memory, memory_size=(MEMORY_WIDTH, MEMORY_SIDE), memory_layers=1, ordinal=None, decoder_blocks=2,
            top_k=3,
        )  # fmt: skip

    def forward(self, features: Tensor, embeddings: Tensor, class_ids: Tensor) -> Tensor:
        """All targets at once: (1, L, n, channels), (1, m, L, 3, hidden), (1, m) -> logits (1, m, 128, 128)."""
        projected = [projector(features[:, scale]) for scale, projector in enumerate(self.projectors)]
        seen, scene = self.predictor.see(projected, features)
        logits: Tensor = self.predictor(seen, scene, embeddings, class_ids).logits
        return logits


def literally(path: MaskPath, features: Tensor, embeddings: Tensor, class_ids: Tensor) -> Tensor:
    """The same masks, one target at a time, nothing shared but the projected features."""
    projected = [projector(features[:, scale]) for scale, projector in enumerate(path.projectors)]
    masks = []
    for target in range(embeddings.shape[1]):
        one = slice(target, target + 1)
        seen, scene = path.predictor.see(projected, features)
        masks.append(path.predictor(seen, scene, embeddings[:, one], class_ids[:, one]).logits)
    return torch.cat(masks, dim=1)


def textbook_attention(self: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`Attention.forward` as the formula reads: project query, key and value, attend, project."""
    q, k, v = (
        projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        for projected in (self.query(query), self.key(key), self.value(value))
    )
    attended = functional.scaled_dot_product_attention(q, k, v)
    result: Tensor = self.out(attended.transpose(1, 2).flatten(-2))
    return result


def inputs(n_targets: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features, embeddings and classes of one image with some targets, always the same."""
    draw = torch.Generator().manual_seed(7)
    return (
        torch.randn(1, SCALES, PATCHES, CHANNELS, generator=draw),
        torch.randn(1, n_targets, SCALES, 3, HIDDEN, generator=draw),
        torch.arange(n_targets)[None] % (CLASSES - 1),
    )


def runner(variant: Variant, path: MaskPath) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """How a variant computes masks."""
    if variant == "geopix":
        return path
    Attention.forward = textbook_attention  # type: ignore[method-assign]
    return lambda *given: literally(path, *given)


def worker(variant: Variant, threads: int, pipe: Connection) -> None:
    """Answer every number of targets with (seconds, peak bytes above those of an idle process) until told to stop."""
    torch.set_num_threads(threads)
    idle = peak_bytes()
    torch.manual_seed(0)
    path = MaskPath(None if variant == "geopix" else CAPACITY).eval()
    run = runner(variant, path)
    with torch.no_grad():
        while (n_targets := pipe.recv()) is not None:
            given = inputs(n_targets)
            started = time.perf_counter()
            run(*given)
            pipe.send((time.perf_counter() - started, peak_bytes() - idle))


def peak_bytes() -> int:
    """The most memory that this process has had."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def check() -> float:
    """The largest difference between the variants' masks, with a small bank that both hold; 0 would be bit-equal."""
    torch.manual_seed(0)
    path = MaskPath(capacity=4).eval()
    given = inputs(3)
    forward = Attention.forward
    with torch.no_grad():
        expected = runner("literal", path)(*given)
        Attention.forward = forward  # type: ignore[method-assign]
        path.predictor.fold()
        return float((path(*given) - expected).abs().max())


def matmul_rate() -> float:
    """Floating-point operations a second that this machine's matrix products reach, in float32."""
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - started)
    return 2 * 1024**3 / min(seconds)


def operations(n_targets: int) -> int:
    """Operations in matrix products and convolutions of our variant, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    path = MaskPath(None).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        path(*inputs(n_targets))
    return int(counter.get_total_flops())


def measure(targets: Sequence[int], rounds: int, threads: int) -> dict[str, Any]:
    """Medians over rounds in which both variants take turns, and the floor of ours."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[Variant, Connection] = {}
    workers = []
    variants: tuple[Variant, ...] = ("geopix", "literal")
    for variant in variants:
        ours, theirs = context.Pipe()
        workers.append(context.Process(target=worker, args=(variant, threads, theirs), daemon=True))
        workers[-1].start()
        pipes[variant] = ours
    rows = []
    rate = matmul_rate()
    for n_targets in targets:
        seconds: dict[Variant, list[float]] = {variant: [] for variant in variants}
        peaks: dict[Variant, int] = {}
        for number in range(rounds + 1):
            for variant in variants if number % 2 else variants[::-1]:
                pipes[variant].send(n_targets)
                took, peaks[variant] = pipes[variant].recv()
                if number:  # the first warms up
                    seconds[variant].append(took)
        medians = {variant: statistics.median(values) for variant, values in seconds.items()}
        rows.append(
            {
                "targets": n_targets,
                "seconds": medians,
                "faster": medians["literal"] / medians["geopix"],
                "peak_mb": {variant: round(peak / 1e6) for variant, peak in peaks.items()},
                "memory_share": peaks["geopix"] / peaks["literal"],
                "operations": operations(n_targets),
                "share_of_matmul_rate": operations(n_targets) / medians["geopix"] / rate,
            }
        )
        print(f"{n_targets} targets done", file=sys.stderr)
    for pipe in pipes.values():
        pipe.send(None)
    return {"machine": f"{platform.machine()}, {threads} threads", "matmul_rate": rate, "rows": rows}


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    apart = check()
    result = measure(given.targets, given.rounds, given.threads) | {"largest_difference": apart}
    if given.json:
        print(json.dumps(result))
        return 0
    print(f"{result['machine']}; matrix products reach {result['matmul_rate'] / 1e9:.0f} GFLOP/s in float32")
    print(f"largest difference between the two variants' logits: {apart:.1e}\n")
    print("targets   literal    geopix   faster     peak memory, MB   share   GFLOP   share of the matmul rate")
    for row in result["rows"]:
        seconds, peak = row["seconds"], row["peak_mb"]
        print(
            f"{row['targets']:7}{seconds['literal']:9.2f} s{seconds['geopix']:8.3f} s{row['faster']:8.1f}x"
            f"{peak['literal']:10,} -> {peak['geopix']:5,}{row['memory_share']:8.2f}{row['operations'] / 1e9:8.1f}"
            f"{row['share_of_matmul_rate']:12.0%}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
