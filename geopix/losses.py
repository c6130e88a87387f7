"""Training losses on (prediction, target): masks, class query, predicted IoU, relations, words (§V-A)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def mask_loss(logits: Tensor, coverage: Tensor, bce_weight: float, dice_weight: float) -> Tensor:
    """Binary cross-entropy plus Dice, mean over targets.

    Args:
        logits: (T, h, w).
        coverage: (T, H, W) in 0..1, the share of every cell that the object covers; pooled to (h, w).
    """
    if coverage.shape[-1] != logits.shape[-1]:
        coverage = functional.adaptive_avg_pool2d(coverage[:, None], (logits.shape[-2], logits.shape[-1]))[:, 0]
    logits, coverage = logits.float().flatten(1), coverage.float().flatten(1)
    bce = functional.binary_cross_entropy_with_logits(logits, coverage, reduction="none").mean(dim=1)
    chances = logits.sigmoid()
    overlap = (chances * coverage).sum(dim=1)
    dice = 1 - (2 * overlap + 1) / (chances.sum(dim=1) + coverage.sum(dim=1) + 1)
    return (bce_weight * bce + dice_weight * dice).mean()


def mask_iou(logits: Tensor, coverage: Tensor) -> Tensor:
    """IoU of thresholded masks, (T,); 1 where both are empty."""
    predicted, true = logits > 0, coverage > 0.5
    union = (predicted | true).flatten(1).sum(dim=1)
    return torch.where(union > 0, (predicted & true).flatten(1).sum(dim=1) / union.clamp(min=1), 1.0)


def iou_loss(iou_logits: Tensor, iou: Tensor) -> Tensor:
    """How far the predicted IoU is from the true one, as cross-entropy against a soft label."""
    return functional.binary_cross_entropy_with_logits(iou_logits.float(), iou)


def word_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Next-token cross-entropy at answer positions: (n, vocabulary) against (n,)."""
    return functional.cross_entropy(logits.float(), labels)


@dataclass(frozen=True)
class CellFacts:
    """What `relation_loss` compares with; B images, n cells (or one image, without the B).

    ``classes`` (B, n) class slot, the last where there is nothing, -1 where nobody knows; ``owned`` (B, n) whether
    the cell is an object's; ``density`` (B, n) the share of that object that it is; ``offset`` (B, n, 2) to the
    object's centre, x then y, in shares of the side; ``log_area`` (B, n) of the object, in cells.
    """

    classes: Tensor
    owned: Tensor
    density: Tensor
    offset: Tensor
    log_area: Tensor


def cell_facts(classes: Tensor, coverage: Tensor, n_classes: int) -> CellFacts:
    """What is true of every cell of one image.

    Args:
        classes: (k,) class slots of its objects.
        coverage: (k, g, g) in 0..1, the share of every cell that each object covers.
        n_classes: Class slots; the last stands for "nothing here".
    """
    side = coverage.shape[-1]
    facts = CellFacts(
        torch.full((side * side,), n_classes - 1),
        torch.zeros(side * side, dtype=torch.bool),
        torch.zeros(side * side),
        torch.zeros(side * side, 2),
        torch.zeros(side * side),
    )
    if not len(classes):
        return facts
    flat = coverage.flatten(1)
    best, owner = flat.max(dim=0)
    there = best > 0.3
    for index in flat.sum(dim=1).argsort(descending=True):  # a small object keeps at least its best cell
        cell = flat[index].argmax()
        owner[cell], there[cell] = index, True
    along = (torch.arange(side) + 0.5) / side
    grid = torch.stack(torch.meshgrid(along, along, indexing="ij"), dim=-1).flatten(0, 1).flip(-1)
    area = flat.sum(dim=1).clamp(min=1e-3)
    centres = flat @ grid / area[:, None]
    owner = owner[there]
    cells = torch.bincount(owner, minlength=len(classes)).clamp(min=1)
    facts.classes[there] = torch.where(classes[owner] < n_classes - 1, classes[owner], -1)
    facts.owned[there] = classes[owner] < n_classes - 1
    facts.density[there] = 1 / cells[owner].float()
    facts.offset[there] = centres[owner] - grid[there]
    facts.log_area[there] = area[owner].log()
    return facts


def relation_loss(class_logits: Tensor, offset: Tensor, log_area: Tensor, facts: CellFacts) -> Tensor:
    """What every cell says of itself against what is true: class, centre and size of its object.

    Objects cover few cells, yet their cells together weigh as much as all the others in the class's part. The
    arguments are the fields of `geopix.model.relations.Relations`.
    """
    owned, empty = facts.owned, (facts.classes >= 0) & ~facts.owned
    words = class_logits
    loss = functional.cross_entropy(words[empty], facts.classes[empty], reduction="sum") / empty.sum().clamp(min=1)
    n_objects = facts.density.sum().clamp(min=1)
    if owned.any():
        loss = loss + functional.cross_entropy(words[owned], facts.classes[owned])
        far = functional.smooth_l1_loss(offset[owned], facts.offset[owned], beta=0.02, reduction="none")
        size = functional.smooth_l1_loss(log_area[owned], facts.log_area[owned], beta=0.2, reduction="none")
        share = facts.density[owned] / n_objects  # every object weighs the same, whatever its size
        loss = loss + 10 * (far.sum(dim=-1) * share).sum() + (size * share).sum()
    return loss


def pointer_loss(logits: Tensor, coverage: Tensor) -> Tensor:
    """Cross-entropy of where an embedding points against where its object is.

    Args:
        logits: (T, n) over the cells of a square grid.
        coverage: (T, H, W) share of every finer cell that the object covers.
    """
    side = round(logits.shape[-1] ** 0.5)
    true = functional.adaptive_avg_pool2d(coverage[:, None].float(), side).flatten(1)
    true = true / true.sum(dim=1, keepdim=True).clamp(min=1e-6)
    return -(true * logits.log_softmax(dim=-1)).sum(dim=1).mean()


def telling_loss(tokens: Tensor, words: Tensor, shares: Tensor) -> Tensor:
    """Image tokens against words that were said about the whole image, nobody knows of which part.

    Every token shows one word; all of the image's words should be found among its tokens.

    Args:
        tokens: (B, m, hidden) image tokens, as the LLM will read them.
        words: (w, hidden) embeddings of words.
        shares: (B, w) each word's share of what was said, zeros where nothing was.
    """
    shown = _likeness(tokens.float(), words.float()).softmax(dim=-1).mean(dim=1)
    each = -(shares * shown.clamp(min=1e-6).log()).sum(dim=-1)
    return each.sum() / (shares.sum(dim=-1) > 0).sum().clamp(min=1)


def _likeness(tokens: Tensor, words: Tensor) -> Tensor:
    return 20 * functional.normalize(tokens, dim=-1) @ functional.normalize(words, dim=-1).T


def alignment_loss(tokens: Tensor, words: Tensor, labels: Tensor) -> Tensor:
    """Image tokens against the LLM's own word embeddings: what a token shows should be the word it resembles most.

    Args:
        tokens: (B, m, hidden) image tokens, as the LLM will read them.
        words: (w, hidden) embeddings of class names, the last of "ground".
        labels: (B, m) the word of every token, -1 where nobody knows.
    """
    tokens, words = tokens.float(), words.float()
    likeness = _likeness(tokens, words)
    length = words.norm(dim=-1).mean()
    asked = (labels >= 0).sum().clamp(min=1)
    named = functional.cross_entropy(likeness.flatten(0, 1), labels.flatten(), ignore_index=-1, reduction="sum") / asked
    return named + ((tokens.norm(dim=-1) / length - 1) ** 2).mean()
