"""Where an embedding points: segmentation tokens against what the cells say (an addition of ours, docs/paper.md)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_INNER = 256


class Pointer(nn.Module):
    """A segmentation embedding picks cells of the image by what they say of themselves (see `relations`).

    The cells' descriptions are few numbers (class, ranks, count, place, size), the same for every image that shows
    the same arrangement; so matching words to them is learned from few images, and costs one matrix product.

    Args:
        hidden: Width of the LLM's embeddings.
        tokens: Segmentation tokens that are read together, those of the coarsest scale.
        described: How many numbers describe a cell.
        width: Channels of the mask path.
        n_scales: L.
    """

    def __init__(self, hidden: int, tokens: int, described: int, width: int, n_scales: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.query = nn.Sequential(nn.Linear(tokens * hidden, _INNER), nn.GELU(), nn.Linear(_INNER, _INNER))
        self.key = nn.Sequential(nn.Linear(described, _INNER), nn.GELU(), nn.Linear(_INNER, _INNER))
        self.mark = nn.Parameter(torch.randn(n_scales, width))  # added to the features where the pointer points

    def forward(self, embeddings: Tensor, described: Tensor, there: Tensor) -> Tensor:
        """Logits over cells, (B, m, n).

        Args:
            embeddings: (B, m, tokens, hidden).
            described: (B, n, numbers) what every cell says.
            there: (B, n, 1) the probability that it is an object's.
        """
        query = self.query(self.norm(embeddings).flatten(2))
        key = self.key(described.to(query.dtype))
        likeness = (query @ key.transpose(1, 2)).float() / _INNER**0.5
        return likeness + there.float().clamp(min=1e-3).log().transpose(1, 2)

    def marked(self, logits: Tensor, scale: int) -> Tensor:
        """What to add to the features of a scale for every target: (B * m, n, width)."""
        heat = (logits - logits.amax(dim=-1, keepdim=True)).exp().flatten(0, 1)
        return heat[..., None].to(self.mark.dtype) * self.mark[scale]
