"""Ordinal position encoding: where an object stands among its kind (an addition of ours to Fig. 2, docs/paper.md).

"The second airplane from the left" asks for an order among objects. Attention learns to count only slowly, so the
counting is written down. Every cell tells its class, its object's centre and its object's size, and votes for that
centre with the share of one object that it is; where votes pile up there is an object. From these follow, by plain
comparison, an object's ranks from the left, right, top and bottom and by size, and how many of its kind there are.
The ranks are encoded into the image's features, where a phrase can find them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_RANKS = 5
"""Ranks 0..4 have a place of their own; the filter keeps fewer than five of a class (§IV-A)."""
_FREQUENCIES = 4
_ENOUGH = 0.4
"""Votes, in objects, from which a pile of them is taken for one."""
_APART = 3
"""Side, in cells, of the square in which the highest pile stands for all."""
_LARGER = 0.2
"""Difference of log areas from which one object is larger than another."""


@dataclass(frozen=True)
class Relations:
    """What the cells of a grid say, before anything is counted; B images, n cells.

    ``class_logits`` (B, n, classes), the last for "nothing"; ``offset`` (B, n, 2) from the cell to its object's
    centre, x then y, in shares of the side; ``log_area`` (B, n) of its object, in cells.
    """

    class_logits: Tensor
    offset: Tensor
    log_area: Tensor


@dataclass(frozen=True)
class Scene:
    """Relations with what was counted from them: ``described`` (B, n, numbers), ``there`` (B, n, 1) in 0..1."""

    relations: Relations
    described: Tensor
    there: Tensor

    def rows(self, index: list[int]) -> Scene:
        """Chosen images as a batch, in the order given."""
        parts = {name: value[index] for name, value in vars(self.relations).items()}
        return Scene(Relations(**parts), self.described[index], self.there[index])


class Neighbourhood(nn.Module):
    """A residual look at the cells around, ``reach`` cells away: how a cell learns where its object ends."""

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.look = nn.Conv2d(width, width, 3, padding=reach, dilation=reach)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, grid: Tensor) -> Tensor:
        """(B, width, side, side) -> the same shape."""
        return grid + self.mix(functional.gelu(self.look(self.norm(grid))))


class OrdinalEncoding(nn.Module):
    """The encoder's features in, relations and their encoding out; once per image.

    Args:
        channels: Channels of the encoder's features, all scales together.
        width: Channels of the encoding.
        n_classes: Class slots; the last serves as "nothing" here.
        side: Cells along a side of the grid.
        inner: Channels inside.
    """

    centres: Tensor

    def __init__(self, channels: int, width: int, n_classes: int, side: int, inner: int = 192) -> None:
        super().__init__()
        self.sizes = [n_classes, 2, 1]
        self.side = side
        self.enter = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, inner))
        self.around = nn.Sequential(*(Neighbourhood(inner, reach) for reach in (1, 2, 4, 1)))
        last = nn.Linear(inner, sum(self.sizes))
        self.head = nn.Sequential(nn.LayerNorm(inner), nn.Linear(inner, inner), nn.GELU(), last)
        features = 7 * _RANKS + 2 * (1 + 2 * _FREQUENCIES) + 1
        self.described = features + n_classes
        self.encode = nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Linear(width, width))
        along = (torch.arange(side) + 0.5) / side
        grid = torch.stack(torch.meshgrid(along, along, indexing="ij"), dim=-1).flatten(0, 1).flip(-1)
        self.register_buffer("centres", grid, persistent=True)  # else from_pretrained would leave it unfilled

    def relate(self, features: Tensor) -> Relations:
        """(B, n, channels) -> what the cells say."""
        grid = self.enter(features).transpose(1, 2).unflatten(2, (self.side, self.side))
        said = self.head(self.around(grid).flatten(2).transpose(1, 2)).float()
        classes, offset, log_area = said.split(self.sizes, dim=-1)
        return Relations(classes, offset, log_area[..., 0])

    def forward(self, features: Tensor) -> tuple[Scene, Tensor]:
        """(B, n, channels) -> what the cells say, and its encoding (B, n, width), zero where there is nothing.

        No gradient runs from the encoding to the head: what the cells say is taught by `losses.relation_loss`.
        """
        relations = self.relate(features)
        with torch.no_grad():
            numbers, there = self.describe(relations)
            described = torch.cat([numbers, relations.class_logits.softmax(dim=-1)], dim=-1)
        encoding = self.encode(numbers.to(features.dtype)) * there.to(features.dtype)
        return Scene(relations, described, there), encoding

    def describe(self, relations: Relations) -> tuple[Tensor, Tensor]:
        """The numbers that are encoded (B, n, features), and the probability that a cell is an object's (B, n, 1)."""
        chances = relations.class_logits.softmax(dim=-1)
        there = 1 - chances[..., -1:]
        # What is not a number must stay so in the loss, where it is told, and not fail here as an index.
        centre = (self.centres.float() + relations.offset).nan_to_num().clamp(0, 0.999)
        objects, area = self.find(chances[..., :-1], centre, relations.log_area)
        kind = chances[..., :-1].argmax(dim=-1)  # (B, n)
        mine = objects.transpose(1, 2).gather(1, kind[..., None].expand(-1, -1, objects.shape[1]))  # (B, n, n) by cell
        apart = torch.cdist(centre, self.centres.float()[None]).masked_fill(~mine, torch.inf)
        own = apart.argmin(dim=-1)  # the object that a cell belongs to, by the cell of its centre
        x, y = self.centres[own].float().unbind(dim=-1)
        size = area.transpose(1, 2).gather(1, kind[..., None].expand(-1, -1, area.shape[1]))
        of_own = size.gather(2, own[..., None])
        others_x, others_y = self.centres.float().T[:, None, None]
        numbers = torch.stack(
            [
                (mine & (others_x < x[..., None] - 1e-4)).sum(dim=-1),
                (mine & (others_x > x[..., None] + 1e-4)).sum(dim=-1),
                (mine & (others_y < y[..., None] - 1e-4)).sum(dim=-1),
                (mine & (others_y > y[..., None] + 1e-4)).sum(dim=-1),
                (mine & (size > of_own + _LARGER)).sum(dim=-1),
                (mine & (size < of_own - _LARGER)).sum(dim=-1),
                (mine.sum(dim=-1) - 1).clamp(min=0),
            ],
            dim=-1,
        )  # (B, n, 7)
        told = functional.one_hot(numbers.clamp(max=_RANKS - 1), _RANKS).flatten(-2).float()
        waves = torch.pi * 2.0 ** torch.arange(_FREQUENCIES, device=centre.device)
        angles = (centre[..., None] * waves).flatten(-2)
        absolute = torch.cat([2 * centre - 1, angles.sin(), angles.cos()], dim=-1)
        return torch.cat([told, absolute, relations.log_area[..., None] / 3], dim=-1), there

    def find(self, chances: Tensor, centre: Tensor, log_area: Tensor) -> tuple[Tensor, Tensor]:
        """Where votes pile up: (B, n, classes - 1) whether an object has its centre in a cell, and its log area.

        Args:
            chances: (B, n, classes - 1) probability of every class of objects.
            centre: (B, n, 2) where a cell's object has its centre, x then y, in shares of the side.
            log_area: (B, n) how many cells it has.
        """
        side = self.side
        votes = chances * torch.exp(-log_area.clamp(min=0))[..., None]
        column, row = (centre * side).long().unbind(dim=-1)
        at = (row * side + column)[..., None].expand_as(votes)
        both = torch.stack([votes, votes * log_area[..., None]])  # votes, and what they say of the area
        piled = torch.zeros_like(both).scatter_add_(2, at.expand_as(both), both)
        grids = piled.transpose(2, 3).unflatten(3, (side, side)).flatten(0, 1)  # (2 B, classes - 1, side, side)
        weights, areas = (9 * functional.avg_pool2d(grids, 3, 1, 1, count_include_pad=True)).chunk(2)
        # A single vote would be a flat square: its own cell stands out a little, and of equals the last wins.
        peaks = weights + 0.25 * grids.chunk(2)[0]
        peaks = peaks + 1e-6 * torch.arange(side * side, device=weights.device).view(side, side)
        found = (peaks == functional.max_pool2d(peaks, _APART, 1, _APART // 2)) & (weights > _ENOUGH)
        log_areas = areas / weights.clamp(min=1e-6)
        return found.flatten(2).transpose(1, 2), log_areas.flatten(2).transpose(1, 2)
