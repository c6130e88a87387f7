"""A training step of nano: what a question costs, and what it would cost the plain way (§III-C, §V-A).

    python benchmarks/train_step.py [--pool 4] [--images 2] [--dialogues 6] [--rounds 1] [--json]

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.mask_path import textbook_attention, textbook_decoder
from geopix import checkpoint
from geopix.classes import ClassVocabulary
from geopix.config import Stage
from geopix.dialogue import Dialogue
from geopix.losses import CellFacts, iou_loss, mask_iou, mask_loss, pointer_loss, relation_loss, word_loss
from geopix.model.attention import Attention, repeated
from geopix.model.encoder import to_pixels
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora, branching
from geopix.model.mask_predictor import MaskDecoder
from geopix.model.memory import Bank
from geopix.train.batches import Batch, Sampler
from geopix.train.bucketing import by_length, padding
from geopix.train.features import FeatureStore
from geopix.train.loop import step_losses, to_device, total_loss
from geopix.train.madeup import MadeUpStore
from geopix.train.optimizer import MasterAdamW

TARGET = 4.0
"""How many times as many questions a second as the plain way (issue 6)."""


@dataclass(frozen=True)
class Levers:
    """What is done better than plainly: features kept, logits at answers alone, dialogues that share their image,
    batches by length, the mask path's shortcuts."""

    cached: bool = False
    answers: bool = False
    shared: bool = False
    bucketed: bool = False
    masks: bool = False


LADDER = {
    "plain": Levers(),
    "+ cached features": Levers(cached=True),
    "+ logits at answers only": Levers(cached=True, answers=True),
    "+ the mask path": Levers(cached=True, answers=True, masks=True),
    "+ dialogues share an image": Levers(cached=True, answers=True, masks=True, shared=True),
    "+ batches by length (ours)": Levers(cached=True, answers=True, masks=True, shared=True, bucketed=True),
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
        batch.features[index], cut(batch.coverage, m), cut(batch.class_ids, m), cut(batch.present, m), cells, None,
        cut(batch.ids, n), cut(batch.positions, n), cut(batch.branches, n), cut(batch.answers, n),
        cut(batch.groups, m),
    )  # fmt: skip


def one_by_one(batch: Batch, end_id: int) -> tuple[Batch, list[int]]:
    """Every dialogue of a batch as a sequence of its own, padded to the longest; and each one's image."""
    assert batch.ids is not None
    assert batch.branches is not None
    assert batch.answers is not None
    assert batch.groups is not None
    alone: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []  # ids, answers, places of targets, groups
    images: list[int] = []
    for row, branches in enumerate(batch.branches):
        for number in range(1, int(branches.max()) + 1):
            own = (branches == 0) | (branches == number)
            groups = batch.groups[row]
            mine = (batch.present[row] & (branches[groups] == number)).nonzero()[:, 0]
            alone.append((batch.ids[row][own], batch.answers[row][own], mine, own.cumsum(0)[groups[mine]] - 1))
            images.append(row)
    n, m = (max(1, *(len(one[part]) for one in alone)) for part in (0, 2))
    shape, places = (len(alone), n), (len(alone), m)
    ids, positions = batch.ids.new_full(shape, end_id), batch.ids.new_zeros(shape)
    branches, answers = batch.ids.new_full(shape, -1), batch.answers.new_zeros(shape)
    groups, present = batch.groups.new_ones(places), batch.present.new_zeros(places)
    class_ids, coverage = (
        batch.class_ids.new_zeros(places),
        batch.coverage.new_zeros(*places, *batch.coverage.shape[2:]),
    )
    for row, (own_ids, own_answers, mine, own_groups) in enumerate(alone):
        size = len(own_ids)
        ids[row, :size], answers[row, :size], branches[row, :size] = own_ids, own_answers, 1
        positions[row, :size] = torch.arange(size, device=ids.device)
        count = len(mine)
        groups[row, :count], present[row, :count] = own_groups, True
        class_ids[row, :count] = batch.class_ids[images[row]][mine]
        coverage[row, :count] = batch.coverage[images[row]][mine]
    cells = CellFacts(*(value[images] for value in vars(batch.cells).values()))
    features = batch.features[images]
    return (
        Batch(features, coverage, class_ids, present, cells, None, ids, positions, branches, answers, groups),
        images,
    )


def unshared_attention(self: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`benchmarks.mask_path.textbook_attention` for targets that have nothing in common."""
    count = max(len(query), len(key), len(value))
    return textbook_attention(self, repeated(query, count), repeated(key, count), repeated(value, count))


@contextmanager
def textbook() -> Iterator[None]:
    """The mask path as its formulas read, while this is open."""
    attention, decoder = Attention.forward, MaskDecoder.forward
    Attention.forward, MaskDecoder.forward = unshared_attention, textbook_decoder  # type: ignore[method-assign]
    try:
        yield
    finally:
        Attention.forward, MaskDecoder.forward = attention, decoder  # type: ignore[method-assign]


def plain_losses(model: GeoPixModel, batch: Batch, stage: Stage, levers: Levers) -> dict[str, Tensor]:
    """The losses of `geopix.train.loop.step_losses`, with or without the levers that lie inside a step."""
    assert batch.ids is not None
    assert batch.branches is not None
    assert batch.answers is not None
    assert batch.groups is not None
    seen = model.see_features(batch.features)
    embedded = model.language.embed(batch.ids, seen.tokens)
    hidden = model.language(embedded, branching(batch.branches), positions=batch.positions)
    said, following = batch.answers[:, 1:], batch.ids[:, 1:]
    if levers.answers:
        words = word_loss(model.language.words(hidden[:, :-1][said]), following[said])
    else:
        logits = model.language.words(hidden[:, :-1]).float().flatten(0, 1)
        words = functional.cross_entropy(logits, following.masked_fill(~said, -100).flatten())
    losses = {"word": words}
    embeddings = model.segmentation_embeddings(hidden, batch.groups)
    if seen.scene is not None:
        losses["relation"] = relation_loss(facts=batch.cells, **vars(seen.scene.relations))
    present = batch.present
    if levers.masks:
        out, chosen = model.predict_masks(seen, embeddings, refine=stage.refine), present
    else:  # a row for every target
        rows = present.nonzero()[:, 0].tolist()
        out = model.predict_masks(seen.rows(rows), embeddings[present][:, None], refine=stage.refine)
        chosen = torch.ones(len(rows), 1, dtype=torch.bool, device=present.device)
    coverage, weights = batch.coverage[present], (stage.loss.bce, stage.loss.dice)
    sides = [mask_loss(mask[chosen], coverage, *weights) for mask in (*out.by_scale, *out.initial)]
    losses["mask"] = mask_loss(out.logits[chosen], coverage, *weights) + stage.loss.side_masks * sum(sides)
    with torch.no_grad():
        side = out.logits.shape[-1]
        iou = mask_iou(out.logits[chosen], functional.adaptive_avg_pool2d(coverage, side))
    if out.pointed is not None:
        losses["pointer"] = pointer_loss(out.pointed[chosen], coverage)
    assert out.iou is not None
    assert out.class_logits is not None
    losses["iou"] = iou_loss(out.iou[chosen], iou)
    losses["class_query"] = word_loss(out.class_logits[chosen], batch.class_ids[present])
    losses["mask_iou"] = iou.mean()
    return losses


def losses_of(
    model: GeoPixModel, batch: Batch, pixels: Tensor, stage: Stage, levers: Levers, end_id: int
) -> dict[str, Tensor]:
    """All losses of one batch whose dialogues share their images, as the levers have it.

    Args:
        batch: From `rows_of`.
        pixels: Of its images, letterboxed.
    """
    images = list(range(len(batch.features)))
    if not levers.shared:
        batch, images = one_by_one(batch, end_id)
    if not levers.cached:
        batch = replace(batch, features=model.encoder(pixels[images]))
    if levers.shared and levers.masks and levers.answers:
        return step_losses(model, batch, stage, 0.0, None)
    if levers.masks:
        return plain_losses(model, batch, stage, levers)
    with textbook():
        return plain_losses(model, batch, stage, levers)


def steps(
    model: GeoPixModel, pool: Batch, pixels: Tensor, stage: Stage, size: int, end_id: int
) -> Callable[[Levers], None]:
    """What takes all steps of the pool, with AdamW, as levers have it."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    banks = {f"{name}.rows" for name, module in model.named_modules() if isinstance(module, Bank)}
    optimizer = MasterAdamW(named, {name: 1e-6 for name, _ in named}, stage.betas, 0.0, row_wise=banks)

    def take(levers: Levers) -> None:
        for rows in batches_of(pool, size, levers):
            losses = losses_of(model, rows_of(pool, rows), pixels[rows], stage, levers, end_id)
            total_loss(losses, stage).backward()
            optimizer.step(1.0, stage.clip)

    return take


def batches_of(pool: Batch, size: int, levers: Levers) -> list[list[int]]:
    """Which images go together."""
    if levers.bucketed:
        return by_length(lengths_of(pool), size)
    every = list(range(len(pool.features)))
    return [every[start : start + size] for start in every[::size]]


def clock(device: torch.device) -> float:
    """Seconds: of this process on a CPU, of the wall elsewhere, once the device is done."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second that matrix products reach by the same clock, the best of five."""
    left, right = (torch.randn(1536, 1536, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(5):
        started = clock(device)
        left @ right
        seconds.append(clock(device) - started)
    return 2 * 1536**3 / min(seconds)


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
    rates = [matmul_rate(device, model.dtype)]
    seconds: dict[str, list[float]] = {name: [] for name in LADDER}
    for turn in range(rounds):
        for name in list(LADDER)[:: 1 if turn % 2 == 0 else -1]:
            started = clock(device)
            take(LADDER[name])
            seconds[name].append(clock(device) - started)
            print(f"round {turn + 1}, {name}: {seconds[name][-1]:.1f} s", file=sys.stderr)
    rates.append(matmul_rate(device, model.dtype))
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
            "shared": padding(lengths_of(pool), batches_of(pool, images, Levers())),
            "shared, by length": padding(lengths_of(pool), batches_of(pool, images, Levers(bucketed=True))),
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
    groups = batches_of(pool, size, Levers())
    return lengths_of(apart), [[row for row, image in enumerate(images) if image in group] for group in groups]


def _longer(pool: Batch, first: int, size: int, name: str, end_id: int) -> float:
    """How many times the places of the pool's first image, whose operations were counted, all steps have."""
    levers = LADDER[name]
    if levers.shared:
        lengths = lengths_of(pool)
        return sum(len(group) * max(lengths[row] for row in group) for group in batches_of(pool, size, levers)) / first
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
    head = f"{'':30}{'seconds':>9}{'questions/s':>13}{'faster':>9}{'share of matmul rate':>22}"
    rows = [
        f"{name:30}{row['seconds']:9.1f}{row['questions_per_s']:13.2f}{row['faster']:8.2f}x"
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
    command = f"python benchmarks/train_step.py {' '.join(sys.argv[1:])}".rstrip()
    print(json.dumps({"command": command, **found}, indent=2) if given.json else table(found, command))
    ours = list(found["rows"].values())[-1]["faster"]
    if ours < TARGET:
        print(f"{ours:.2f} times the plain way is less than {TARGET:.0f}", file=sys.stderr)


if __name__ == "__main__":
    main()
