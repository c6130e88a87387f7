"""Scale projectors of the mask path and the multi-modal projector into the LLM (§III-A, Table X)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from geopix.model.attention import resample


class ScaleProjector(nn.Module):
    """P of one scale: encoder channels to the mask path's width, with a look at the neighbours.

    Args:
        channels: Channels of the encoder.
        width: Channels of the mask path.
        side: Cells along a side of the mask path's grid; where the encoder's has fewer, cells are interpolated.
    """

    def __init__(self, channels: int, width: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, width)
        self.neighbours = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, patches, channels) -> (B, side * side, width); patches form a square grid, row by row."""
        projected = resample(functional.gelu(self.project(self.norm(features))), self.side)
        grid = projected.transpose(1, 2).unflatten(2, (self.side, self.side))
        return projected + self.neighbours(grid).flatten(2).transpose(1, 2)


class MultiModalProjector(nn.Module):
    """The projector into the LLM: squares of neighbouring patches become one image token each.

    Args:
        channels: Channels of the encoder.
        hidden: Width of the LLM.
        merge: Side of the square of patches that become one token.
        inner: Channels between the two layers.
        norm: Whether the features are normalised first; LLaVA's projector does not.
        described: How many numbers a cell says of itself (see `relations`), which are added to the token (ours,
            docs/paper.md); 0 for the paper alone. That part begins at zero, so that a language model that already
            reads images is not disturbed.
    """

    def __init__(self, channels: int, hidden: int, merge: int, inner: int, norm: bool, described: int = 0) -> None:
        super().__init__()
        self.merge = merge
        read = channels * merge * merge
        self.layers = nn.Sequential(
            nn.LayerNorm(read) if norm else nn.Identity(),
            nn.Linear(read, inner),
            nn.GELU(),
            nn.Linear(inner, hidden),
        )
        self.relations: nn.Sequential | None = None
        if described:
            last = nn.Linear(hidden, hidden)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.relations = nn.Sequential(nn.Linear(described * merge * merge, hidden), nn.GELU(), last)

    def forward(self, features: Tensor, described: Tensor | None = None) -> Tensor:
        """(B, patches, channels), (B, patches, numbers) -> (B, patches / merge^2, hidden), row by row."""
        tokens = self.layers(merged(features, self.merge))
        if self.relations is None or described is None:
            return tokens
        return tokens + self.relations(merged(described, self.merge).to(tokens.dtype))


def merged(cells: Tensor, merge: int) -> Tensor:
    """(B, n, c) of a square grid -> (B, n / merge^2, merge^2 * c): squares of neighbours side by side."""
    side = round(cells.shape[1] ** 0.5) // merge
    grid = cells.unflatten(1, (side, merge, side, merge))
    return grid.transpose(2, 3).flatten(3).flatten(1, 2)
