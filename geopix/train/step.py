"""The losses of one micro-batch, and how they add up (§III-A, §V-A)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from geopix.config import Stage
from geopix.losses import (
    CellFacts,
    alignment_loss,
    iou_loss,
    mask_iou,
    mask_loss,
    pointer_loss,
    relation_loss,
    telling_loss,
    word_loss,
)
from geopix.model.geopix import GeoPixModel, Seen
from geopix.model.llm import branching
from geopix.model.projectors import merged
from geopix.model.relations import OrdinalEncoding, Relations
from geopix.train.batches import Batch

NUMBERS = ("word", "mask", "iou", "class_query", "relation", "pointer", "mask_iou")
"""What `step_losses` may tell; the last is no loss."""

States = Callable[[Batch], Tensor]
"""What stands in for the LLM in the stages that train without it."""


@dataclass
class Told:
    """What a micro-batch came to.

    ``losses`` by the names of `NUMBERS`, each before its weight; ``logits`` (B, m, side, side) of the final masks
    without gradient, None in stages or batches without masks.
    """

    losses: dict[str, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None


def step_losses(model: GeoPixModel, batch: Batch, stage: Stage, progress: float, states: States | None) -> Told:
    """All losses of one micro-batch, and the mean IoU ("mask_iou", no gradient).

    Args:
        model: In training mode.
        batch: On the model's device.
        stage: What is on and what it weighs.
        progress: Share of the stage that is done; the true class is named to Q_c less and less (docs/paper.md).
        states: For the mask side alone, the frozen LLM's states of the batch's phrases (B, m, group, hidden); for
            the projector alone, the LLM's embeddings of the class names (classes, hidden).
    """
    losses: dict[str, Tensor] = {}
    predictor = model.trainable_predictor
    if stage.language == "words":
        assert states is not None
        return Told({"word": _word_alignment(model, batch, states(batch))})
    if stage.language == "relations":
        relations = _ordinal(model).relate(batch.features.transpose(1, 2).flatten(2))
        return Told({"relation": _relation_loss(relations, batch.cells)})
    if stage.language == "pointing" or not stage.masks:
        assert states is not None
        scene, _ = _ordinal(model)(batch.features.transpose(1, 2).flatten(2))
        pointed = predictor.point(scene, states(batch).unflatten(2, (predictor.n_scales, -1)))
        assert pointed is not None
        return Told({"pointer": pointer_loss(pointed[batch.present], batch.coverage[batch.present])})
    if batch.ids is None:
        seen = Seen(batch.features, *model.see_scales(batch.features))
        assert states is not None
        embeddings = states(batch)
    else:
        seen = model.see_features(batch.features)
        assert batch.branches is not None
        assert batch.answers is not None
        assert batch.groups is not None
        embedded = model.language.embed(batch.ids, seen.tokens)
        hidden = model.language(embedded, branching(batch.branches), positions=batch.positions)
        said = batch.answers[:, 1:]
        losses["word"] = word_loss(model.language.words(hidden[:, :-1][said]), batch.ids[:, 1:][said])
        embeddings = model.segmentation_embeddings(hidden, batch.groups)
    if seen.scene is not None:
        losses["relation"] = _relation_loss(seen.scene.relations, batch.cells)
    if not batch.present.any():
        return Told(losses)
    return _mask_losses(model, batch, stage, progress, seen, embeddings, losses)


def _mask_losses(
    model: GeoPixModel,
    batch: Batch,
    stage: Stage,
    progress: float,
    seen: Seen,
    embeddings: Tensor,
    losses: dict[str, Tensor],
) -> Told:
    present = batch.present
    named = torch.rand(present.shape, device=present.device) < stage.named_class * (1 - progress)
    class_ids = torch.where(named & present, batch.class_ids, -1)
    out = model.predict_masks(seen, embeddings, class_ids, refine=stage.refine)
    coverage = batch.coverage[present]
    weights = stage.loss.bce, stage.loss.dice
    sides = [mask_loss(mask[present], coverage, *weights) for mask in (*out.by_scale, *out.initial)]
    losses["mask"] = mask_loss(out.logits[present], coverage, *weights) + stage.loss.side_masks * sum(sides)
    with torch.no_grad():
        side = out.logits.shape[-1]  # nano's masks are as fine as the stored ones: nothing is pooled
        iou = mask_iou(out.logits[present], functional.adaptive_avg_pool2d(coverage, side))
    if out.pointed is not None:
        losses["pointer"] = pointer_loss(out.pointed[present], coverage)
    assert out.iou is not None
    assert out.class_logits is not None
    losses["iou"] = iou_loss(out.iou[present], iou)
    losses["class_query"] = word_loss(out.class_logits[present], batch.class_ids[present])
    losses["mask_iou"] = iou.mean()
    return Told(losses, out.logits.detach())


def _word_alignment(model: GeoPixModel, batch: Batch, words: Tensor) -> Tensor:
    """Image tokens against words: the class of what they show, where it is known, else what was said of the image."""
    described = None
    if model.config.relations_in_words:
        scene, _ = _ordinal(model)(batch.features.transpose(1, 2).flatten(2))
        described = scene.described
    tokens = model.multimodal_projector(batch.features[:, 0], described)
    labels = token_labels(batch.cells.classes, model.config.merge)
    if batch.told is None:
        return alignment_loss(tokens, words, labels)
    n_told = batch.told.shape[-1]
    return alignment_loss(tokens, words[:-n_told], labels) + telling_loss(tokens, words[-n_told:], batch.told)


def _ordinal(model: GeoPixModel) -> OrdinalEncoding:
    ordinal = model.trainable_predictor.ordinal
    if ordinal is None:
        raise ValueError("this model has no relations to train; leave stages of relations and pointing out")
    return ordinal


def _relation_loss(said: Relations, cells: CellFacts) -> Tensor:
    return relation_loss(facts=cells, **vars(said))


def token_labels(cells: Tensor, merge: int) -> Tensor:
    """What every image token shows: the class of any object among its cells, else what the cells say.

    Args:
        cells: (B, n) class slots of the features' cells, the highest meaning nothing, -1 unknown.
        merge: Side of the square of cells that becomes a token.
    """
    return merged(cells[..., None], merge).amin(dim=-1)


def total_loss(losses: dict[str, Tensor], stage: Stage) -> Tensor:
    """The weighted sum; "mask" already holds its two weights."""
    weights = {
        "word": stage.loss.word, "mask": 1.0, "iou": stage.loss.iou,
        "class_query": stage.loss.class_query, "relation": stage.loss.relation,
        "pointer": stage.loss.pointer,
    }  # fmt: skip
    return torch.stack([weights[name] * value for name, value in losses.items() if name in weights]).sum()


def to_device(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    """The batch with every tensor on a device, the features in the model's precision."""
    moved = _each(batch, lambda tensor: tensor.to(device))
    return replace(moved, features=moved.features.to(dtype))


def one_image(batch: Batch, row: int) -> Batch:
    """One image's part of a batch, with all that is asked about it."""
    alone = _each(batch, lambda tensor: tensor[row : row + 1])
    return alone if batch.phrases is None else replace(alone, phrases=batch.phrases[row : row + 1])


def _each(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with every tensor changed."""

    def changed(holder: Any) -> dict[str, Any]:
        found = {part.name: getattr(holder, part.name) for part in fields(holder)}
        return {name: change(value) for name, value in found.items() if isinstance(value, Tensor)}

    return replace(batch, **changed(batch), cells=CellFacts(**changed(batch.cells)))
