"""The plain way to take a training step, one lever at a time away from ours; `train_step.py` times it (§III-C).

Not a script. `losses_of` gives the losses of `geopix.train.step.step_losses` for the same questions, dearer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.mask_path import textbook_attention, textbook_decoder
from geopix.config import Stage
from geopix.losses import CellFacts, iou_loss, mask_iou, mask_loss, pointer_loss, relation_loss, word_loss
from geopix.model.attention import Attention, repeated
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import branching
from geopix.model.mask_decoder import MaskDecoder
from geopix.train.batches import Batch
from geopix.train.step import step_losses


@dataclass(frozen=True)
class Levers:
    """What is done better than plainly: features kept, logits at answers alone, dialogues that share their image,
    the mask path's shortcuts."""

    cached: bool = False
    answers: bool = False
    shared: bool = False
    masks: bool = False


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
    heads = features, coverage, class_ids, present, cells
    return Batch(*heads, ids=ids, positions=positions, branches=branches, answers=answers, groups=groups), images


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
    """The losses of `geopix.train.step.step_losses`, with or without the levers that lie inside a step."""
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
        batch: Of whole sequences, as `geopix.train.batches` packs them.
        pixels: Of its images, letterboxed.
    """
    images = list(range(len(batch.features)))
    if not levers.shared:
        batch, images = one_by_one(batch, end_id)
    if not levers.cached:
        batch = replace(batch, features=model.encoder(pixels[images]))
    if levers.shared and levers.masks and levers.answers:
        return step_losses(model, batch, stage, 0.0, None).losses
    if levers.masks:
        return plain_losses(model, batch, stage, levers)
    with textbook():
        return plain_losses(model, batch, stage, levers)
