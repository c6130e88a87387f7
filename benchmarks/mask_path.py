"""The mask path at the paper's sizes: what a target costs, and what it would cost by a literal reading (Eq. 1-3).

    python benchmarks/mask_path.py [--targets 1 4 16 64] [--rounds 3] [--named] [--json]

Features of 2 scales x 576 patches x 1,024 channels, masks of 64 and 128 cells, 75 classes and "unknown". All variants
have the same weights but for the bank; each lives in a process of its own, so that its peak memory is its own, and
they take turns. The literal reading keeps the whole bank, takes one target at a time, and computes SA(F_img) and F for
each; its attention projects everything that the equations name, and its masks grow by transposed convolutions. Ours is
timed in float32 and, where the processor multiplies bfloat16 natively and GeoPix would therefore choose it, in
bfloat16.
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

from geopix import checkpoint
from geopix.model.attention import Attention
from geopix.model.mask_decoder import LARGEST_LOGIT, MaskDecoder
from geopix.model.mask_predictor import MaskPredictor, in_pieces
from geopix.model.memory import Bank, FoldedMemory, FoldingFusion, FoldingMemory
from geopix.model.projectors import ScaleProjector
from geopix.train.costs import matmul_rate

CHANNELS, PATCHES, HIDDEN, WIDTH, SIDE, SCALES, CLASSES = 1024, 576, 4096, 256, 32, 2, 76
CAPACITY, MEMORY_WIDTH, MEMORY_SIDE = 64, 64, 32
Variant = Literal["literal", "float32", "bfloat16"]


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
        """As a model asks for them: (1, L, n, channels), (1, m, L, 3, hidden), (1, m) -> logits (1, m, 128, 128)."""
        projected = [projector(features[:, scale]) for scale, projector in enumerate(self.projectors)]
        seen, scene = self.predictor.see(projected, features)
        return in_pieces(self.predictor, seen, scene, embeddings, class_ids).logits


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


def textbook_decoder(self: MaskDecoder, image: Tensor, position: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """`MaskDecoder.forward` with its features on a grid, doubled by transposed convolutions of stride two."""
    tokens = torch.cat([self.own_tokens.expand(len(prompts), -1, -1), prompts], dim=1)
    for block in self.blocks:
        tokens, image = block(tokens, image, position)
    tokens = self.last_norm(tokens + self.last_look(tokens, image + position, image))
    side = round(image.shape[1] ** 0.5)
    grid = image.transpose(1, 2).unflatten(2, (side, side))
    for step in self.doubling:
        assert isinstance(step, nn.Linear)
        kernel = step.weight.unflatten(0, (2, 2, -1)).permute(3, 2, 0, 1)  # (in, out, 2, 2)
        bias = step.bias.unflatten(0, (4, -1))
        grid = functional.conv_transpose2d(grid, kernel, stride=2)
        quarters = bias.unflatten(0, (2, 2)).permute(2, 0, 1)
        grid = functional.gelu(grid + quarters.tile(1, grid.shape[2] // 2, grid.shape[3] // 2))
    weights = self.hyper(tokens[:, 1])
    logits = torch.einsum("tchw,tc->thw", grid, weights[:, :-1]) / weights.shape[-1] ** 0.5 + weights[:, -1:, None]
    return logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT), self.iou(tokens[:, 0])[:, 0]


def inputs(n_targets: int, predicted: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Features, embeddings and classes of one image with some targets, always the same; -1 leaves Q_c to the model."""
    draw = torch.Generator().manual_seed(7)
    return (
        torch.randn(1, SCALES, PATCHES, CHANNELS, generator=draw),
        torch.randn(1, n_targets, SCALES, 3, HIDDEN, generator=draw),
        torch.full((1, n_targets), -1) if predicted else torch.arange(n_targets)[None] % (CLASSES - 1),
    )


def runner(variant: Variant, path: MaskPath) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """How a variant computes masks."""
    if variant != "literal":
        return path
    Attention.forward = textbook_attention  # type: ignore[method-assign]
    MaskDecoder.forward = textbook_decoder  # type: ignore[method-assign]
    return lambda *given: literally(path, *given)


def worker(variant: Variant, threads: int, predicted: bool, pipe: Connection) -> None:
    """Answer every number of targets with (seconds, peak bytes above those of an idle process) until told to stop."""
    torch.set_num_threads(threads)
    idle = peak_bytes()
    torch.manual_seed(0)
    path = MaskPath(CAPACITY if variant == "literal" else None).eval()
    if variant == "bfloat16":
        path.to(torch.bfloat16)
    dtype = next(path.parameters()).dtype
    run = runner(variant, path)
    with torch.no_grad():
        while (n_targets := pipe.recv()) is not None:
            features, embeddings, class_ids = inputs(n_targets, predicted)
            given = features.to(dtype), embeddings.to(dtype), class_ids
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
    given = inputs(3, predicted=True)
    attention, decoder = Attention.forward, MaskDecoder.forward
    with torch.no_grad():
        expected = runner("literal", path)(*given)
        Attention.forward, MaskDecoder.forward = attention, decoder  # type: ignore[method-assign]
        path.predictor.fold()
        return float((path(*given) - expected).abs().max())


def operations(n_targets: int) -> int:
    """Operations in matrix products and convolutions of our variant, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    path = MaskPath(None).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        path(*inputs(n_targets, predicted=False))
    return int(counter.get_total_flops())


def measure(targets: Sequence[int], rounds: int, threads: int, predicted: bool) -> dict[str, Any]:
    """Medians over rounds in which both variants take turns, and the floor of ours."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[Variant, Connection] = {}
    workers = []
    fast = checkpoint.fast_dtype(torch.device("cpu")) == torch.bfloat16
    variants: tuple[Variant, ...] = ("literal", "float32", "bfloat16") if fast else ("literal", "float32")
    for variant in variants:
        ours, theirs = context.Pipe()
        workers.append(context.Process(target=worker, args=(variant, threads, predicted, theirs), daemon=True))
        workers[-1].start()
        pipes[variant] = ours
    rows = []
    dtypes = {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if fast else {})
    rates = {name: matmul_rate(torch.device("cpu"), dtype) for name, dtype in dtypes.items()}
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
        work = operations(n_targets)
        rows.append(
            {
                "targets": n_targets,
                "operations": work,
                "variants": {
                    variant: {
                        "seconds": medians[variant],
                        "faster": medians["literal"] / medians[variant],
                        "peak_mb": round(peaks[variant] / 1e6),
                        "memory_share": peaks[variant] / peaks["literal"],
                        "share_of_matmul_rate": work
                        / medians[variant]
                        / rates["bfloat16" if variant == "bfloat16" else "float32"],
                    }
                    for variant in variants
                },
            }
        )
        print(f"{n_targets} targets done", file=sys.stderr)
    for pipe in pipes.values():
        pipe.send(None)
    return {"machine": f"{platform.machine()}, {threads} threads", "matmul_rates": rates, "rows": rows}


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--named", action="store_true", help="one class is named as Q_c; by default it is predicted, three mixed"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    result = measure(given.targets, given.rounds, given.threads, not given.named)
    apart = check()  # afterwards: the most memory that this process has had counts as had by those that it starts
    result |= {"largest_difference": apart}
    if given.json:
        print(json.dumps(result))
        return 0
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in result["matmul_rates"].items())
    print(f"{result['machine']}; matrix products reach {rates}")
    print(f"largest difference between the two ways' logits in float32: {apart:.1e}\n")
    print("targets  variant      seconds  faster   peak memory, MB   share   GFLOP   share of the matmul rate")
    for row in result["rows"]:
        for variant, one in row["variants"].items():
            told = f"{row['operations'] / 1e9:8.1f}{one['share_of_matmul_rate']:12.0%}" if variant != "literal" else ""
            print(
                f"{row['targets']:7}  {variant:10}{one['seconds']:10.3f}{one['faster']:7.1f}x{one['peak_mb']:18,}"
                f"{one['memory_share']:8.2f}{told}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
