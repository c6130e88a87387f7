"""A training step of nano: what a question costs, and what it would cost the plain way (§III-C, §V-A).

    python -m benchmarks.train_step [--pool 4] [--images 2] [--dialogues 6] [--rounds 1] [--json]

The plain way has one question a sequence, padded to the longest of its batch; the encoder looks at every sequence's
image in every step; logits of all words are computed for all positions; a target's masks are drawn from features of
its own, with every projection of the attention formula carried out. Then the levers are pulled one after the other,
until the last row is the step that `geopix train` takes. All rows answer the same questions, about made-up windows
with noise in them, forwards, backwards and with AdamW, and a test says that their losses are the same. On a CPU the
seconds are those that the process had the processor, so that others on the machine count for little.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_step import Levers, losses_of, one_by_one
from geopix import checkpoint
from geopix.classes import ClassVocabulary
from geopix.config import Stage
from geopix.dialogue import Dialogue
from geopix.losses import CellFacts
from geopix.model.encoder import to_pixels
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora
from geopix.model.memory import Bank
from geopix.train.batches import Batch, Sampler
from geopix.train.costs import matmul_rate
from geopix.train.features import FeatureStore
from geopix.train.madeup import MadeUpStore
from geopix.train.optimizer import MasterAdamW
from geopix.train.step import to_device, total_loss

TARGET = 4.0
"""How many times as many questions a second as the plain way (issue 6)."""


LADDER = {
    "plain": Levers(),
    "+ cached features": Levers(cached=True),
    "+ logits at answers only": Levers(cached=True, answers=True),
    "+ the mask path": Levers(cached=True, answers=True, masks=True),
    "+ dialogues share an image (ours)": Levers(cached=True, answers=True, masks=True, shared=True),
}


def stage_of(images: int, dialogues: int) -> Stage:
    """Whole dialogues of one question, nothing left to chance, every target with a place."""
    return Stage(
        name="benchmark", sources={"made up": 1.0}, steps=1, images=images, dialogues=dialogues, turns=1,
        targets=8 * dialogues, named_class=0, lora_dropout=0, lora_rank=32,
    )  # fmt: skip


def prepare(model: GeoPixModel, dialogue: Dialogue, stage: Stage) -> None:
    """As a stage of whole dialogues trains it."""
    model.language.llm = add_lora(
        model.language.causal, stage.lora_rank, stage.lora_alpha, stage.lora_dropout, dialogue.new_ids
    )
    model.train()
    model.encoder.eval()


def questions(model: GeoPixModel, dialogue: Dialogue, stage: Stage) -> tuple[Batch, Tensor]:
    """A pool of images with their dialogues as one batch, and pixels; the features are the encoder's of these."""
    config = model.config
    shape = (len(config.encoder_layers), config.grid_side**2, config.vision_config.hidden_size)
    store = cast(FeatureStore, MadeUpStore(shape, class_names=tuple(config.class_names)))
    vocabulary = ClassVocabulary(tuple(config.class_names))
    batch = Sampler(stage, {"made up": store}, vocabulary, dialogue, config.grid_side).batch(0)
    noise = np.random.default_rng(0).integers(0, 256, (stage.images, config.image_size, config.image_size, 3), np.uint8)
    pixels = to_pixels(list(noise)).to(model.device, model.dtype)
    moved = to_device(batch, model.device, model.dtype)
    return replace(moved, features=model.encoder(pixels)), pixels


def lengths_of(batch: Batch) -> list[int]:
    """Tokens of every sequence, padding aside."""
    assert batch.branches is not None
    lengths: list[int] = (batch.branches >= 0).sum(dim=1).tolist()
    return lengths


def rows_of(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some sequences of a batch, no longer than the longest of them, with no more places than the most targets."""
    index = torch.tensor(list(rows), device=batch.features.device)
    n, m = max(lengths_of(batch)[row] for row in rows), max(1, int(batch.present[index].sum(dim=1).max()))

    def cut(tensor: Tensor | None, size: int) -> Tensor:
        assert tensor is not None
        return tensor[index][:, :size]

    cells = CellFacts(*(value[index] for value in vars(batch.cells).values()))
    return Batch(
        batch.features[index], cut(batch.coverage, m), cut(batch.class_ids, m), cut(batch.present, m), cells,
        ids=cut(batch.ids, n), positions=cut(batch.positions, n), branches=cut(batch.branches, n),
        answers=cut(batch.answers, n), groups=cut(batch.groups, m),
    )  # fmt: skip


def steps(
    model: GeoPixModel, pool: Batch, pixels: Tensor, stage: Stage, size: int, end_id: int
) -> Callable[[Levers], None]:
    """What takes all steps of the pool, with AdamW, as levers have it."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    banks = {f"{name}.rows" for name, module in model.named_modules() if isinstance(module, Bank)}
    optimizer = MasterAdamW(named, {name: 1e-6 for name, _ in named}, stage.betas, 0.0, row_wise=banks)

    def take(levers: Levers) -> None:
        for rows in batches_of(pool, size):
            losses = losses_of(model, rows_of(pool, rows), pixels[rows], stage, levers, end_id)
            total_loss(losses, stage).backward()
            optimizer.step(1.0, stage.clip)

    return take


def batches_of(pool: Batch, size: int) -> list[list[int]]:
    """Which images go together."""
    every = list(range(len(pool.features)))
    return [every[start : start + size] for start in every[::size]]


def padding(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """The share of all places in batches, each as long as its longest sequence, that nothing stands in."""
    places = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    return 1 - sum(lengths[row] for batch in batches for row in batch) / places


def clock(device: torch.device) -> float:
    """Seconds: of this process on a CPU, of the wall elsewhere, once the device is done."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(
    model: GeoPixModel, dialogue: Dialogue, pool_size: int, images: int, dialogues: int, rounds: int
) -> dict[str, Any]:
    """Time every row of the ladder; see the module's docstring."""
    device = model.device
    stage = stage_of(pool_size, dialogues)
    prepare(model, dialogue, stage)
    pool, pixels = questions(model, dialogue, stage)
    take = steps(model, pool, pixels, stage, images, dialogue.end_id)
    warm = rows_of(pool, [0])
    operations: dict[str, int] = {}
    for name, levers in LADDER.items():  # also pays for what later steps reuse
        counts = FlopCounterMode(display=False)
        with sdpa_kernel(SDPBackend.MATH), counts:  # torch counts no other attention on a CPU
            total_loss(losses_of(model, warm, pixels[:1], stage, levers, dialogue.end_id), stage).backward()
        model.zero_grad(set_to_none=True)
        operations[name] = int(counts.get_total_flops())
        print(f"{name}: counted", file=sys.stderr)
    rates = [matmul_rate(device, model.dtype, clock=lambda: clock(device))]
    seconds: dict[str, list[float]] = {name: [] for name in LADDER}
    for turn in range(rounds):
        for name in list(LADDER)[:: 1 if turn % 2 == 0 else -1]:
            started = clock(device)
            take(LADDER[name])
            seconds[name].append(clock(device) - started)
            print(f"round {turn + 1}, {name}: {seconds[name][-1]:.1f} s", file=sys.stderr)
    rates.append(matmul_rate(device, model.dtype, clock=lambda: clock(device)))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    asked = pool_size * dialogues
    first = lengths_of(warm)[0]
    rows = {
        name: {
            "seconds": medians[name],
            "questions_per_s": asked / medians[name],
            "faster": medians["plain"] / medians[name],
            "share_of_matmul_rate": operations[name] * _longer(pool, first, images, name, dialogue.end_id)
            / medians[name] / max(rates),
        }
        for name in LADDER
    }  # fmt: skip
    return {
        "rows": rows,
        "questions": asked,
        "images": pool_size,
        "images_a_step": images,
        "dialogues_an_image": dialogues,
        "padding": {
            "one by one": padding(*_alone(pool, images, dialogue.end_id)),
            "shared": padding(lengths_of(pool), batches_of(pool, images)),
        },
        "matmul_rate": max(rates),
        "rounds": rounds,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }


def _alone(pool: Batch, size: int, end_id: int) -> tuple[list[int], list[list[int]]]:
    """Lengths of sequences of one question, and which of them the plain way puts together."""
    apart, images = one_by_one(pool, end_id)
    groups = batches_of(pool, size)
    return lengths_of(apart), [[row for row, image in enumerate(images) if image in group] for group in groups]


def _longer(pool: Batch, first: int, size: int, name: str, end_id: int) -> float:
    """How many times the places of the pool's first image, whose operations were counted, all steps have."""
    if LADDER[name].shared:
        lengths = lengths_of(pool)
        return sum(len(group) * max(lengths[row] for row in group) for group in batches_of(pool, size)) / first
    lengths, groups = _alone(pool, size, end_id)
    alone = lengths_of(one_by_one(rows_of(pool, [0]), end_id)[0])
    return sum(len(group) * max(lengths[row] for row in group) for group in groups) / (len(alone) * max(alone))


def table(found: dict[str, Any], command: str) -> str:
    """The numbers for people."""
    about = (
        f"nano, {found['dtype']} on {found['device']}, {found['threads']} threads of {found['machine']} (load "
        f"{found['load_average']:.1f}); matrix products reach {found['matmul_rate'] / 1e9:.0f} GFLOP/s; "
        f"{found['questions']} questions about {found['images']} images, {found['images_a_step']} a step, "
        f"{found['rounds']} rounds"
    )
    head = f"{'':34}{'seconds':>9}{'questions/s':>13}{'faster':>9}{'share of matmul rate':>22}"
    rows = [
        f"{name:34}{row['seconds']:9.1f}{row['questions_per_s']:13.2f}{row['faster']:8.2f}x"
        f"{row['share_of_matmul_rate']:22.0%}"
        for name, row in found["rows"].items()
    ]
    spare = ", ".join(f"{name} {share:.0%}" for name, share in found["padding"].items())
    return "\n".join([f"$ {command}", about, head, *rows, f"padding: {spare}"])


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pool", type=int, default=4, help="images in all")
    parser.add_argument("--images", type=int, default=2, help="images in a step")
    parser.add_argument("--dialogues", type=int, default=6, help="questions about an image")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    if min(given.pool, given.images, given.dialogues, given.rounds) < 1:
        parser.error("--pool, --images, --dialogues and --rounds must be at least 1")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, dialogue = checkpoint.fresh_nano()
    cast(nn.Module, model).to(device, checkpoint.fast_dtype(device))
    found = measure(model, dialogue, given.pool, given.images, given.dialogues, given.rounds)
    command = f"python -m benchmarks.train_step {' '.join(sys.argv[1:])}".rstrip()
    print(json.dumps({"command": command, **found}, indent=2) if given.json else table(found, command))
    ours = list(found["rows"].values())[-1]["faster"]
    if ours < TARGET:
        print(f"{ours:.2f} times the plain way is less than {TARGET:.0f}", file=sys.stderr)


if __name__ == "__main__":
    main()
