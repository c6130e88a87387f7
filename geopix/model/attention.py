"""What the boxes of the mask path share: attention, grids of cells, and where a cell is (Eq. 2's SA and CA)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention whose query may have another width than its key and value.

    Where a few tokens look at many cells, or many cells at a few tokens, projecting the cells is most of the work and
    is left out: by associativity (W_q t)(W_k x) = (W_k' W_q t) x, the tokens carry the projection instead. The result
    is the same but for rounding.

    What T = G * m targets share in groups of m is given once for a group, with G rows instead of T.

    Args:
        width: Channels of the query and of the result.
        heads: Number of heads; must divide ``inner``.
        memory_width: Channels of key and value; ``width`` by default.
        inner: Channels inside; ``width`` by default.
    """

    def __init__(self, width: int, heads: int, memory_width: int | None = None, inner: int | None = None) -> None:
        super().__init__()
        inner, memory_width = inner or width, memory_width or width
        self.heads, self.inner = heads, inner
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(memory_width, inner)
        self.value = nn.Linear(memory_width, inner)
        self.out = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(T, q, width), (T, k, memory_width), (T, k, memory_width) -> (T, q, width); see above for G rows."""
        n_queries, n_keys = query.shape[1], key.shape[1]
        if self.heads * n_queries < min(self.inner, n_keys):
            return self._few_look_at_many(query, key, value)
        if self.heads * n_keys < min(self.inner, n_queries):
            return self._many_look_at_few(query, key, value)
        q, k, v = self._by_head(self.query(query)), self._by_head(self.key(key)), self._by_head(self.value(value))
        q, k, v = (repeated(part, max(len(query), len(key))) for part in (q, k, v))
        if torch.is_grad_enabled() and q.device.type == "cpu":
            # On a CPU the fused kernel's backward costs several times what three plain matrix products do.
            attended = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1) @ v
        else:
            attended = functional.scaled_dot_product_attention(q, k, v)
        return self.out(attended.transpose(1, 2).flatten(-2))

    def _by_head(self, projected: Tensor) -> Tensor:
        """(T, n, inner) -> (T, heads, n, inner / heads)."""
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _few_look_at_many(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Keys and values stay as they are: W_k goes to the queries, W_v to what they found.

        A key's bias adds the same to all scores of a query, so the softmax takes it away.
        """
        n_targets, n_queries = max(len(query), len(key)), query.shape[1]
        query = repeated(query, n_targets)
        asked = self._by_head(self.query(query)) @ self.key.weight.unflatten(0, (self.heads, -1))  # (T, h, q, memory)
        asked = asked.reshape(len(key), -1, key.shape[-1])  # the queries of a group look at the same keys
        scores = asked @ key.transpose(1, 2) / (self.inner // self.heads) ** 0.5
        found = (scores.softmax(dim=-1) @ value).view(n_targets, self.heads, n_queries, -1)
        values = found @ self.value.weight.unflatten(0, (self.heads, -1)).transpose(1, 2)  # (T, h, q, inner / h)
        return self.out(values.transpose(1, 2).flatten(-2) + self.value.bias)

    def _many_look_at_few(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Queries stay as they are: W_q goes to the keys, W_o to the values."""
        n_targets, n_keys = max(len(query), len(key)), key.shape[1]
        key, value = repeated(key, n_targets), repeated(value, n_targets)
        keys = self._by_head(self.key(key)) / (self.inner // self.heads) ** 0.5
        bias = (keys @ self.query.bias.view(self.heads, -1, 1)).flatten(1)  # (T, h * k)
        keys = (keys @ self.query.weight.unflatten(0, (self.heads, -1))).flatten(1, 2)  # (T, h * k, width)
        values = self._by_head(self.value(value))
        values = (values @ self.out.weight.T.unflatten(0, (self.heads, -1))).flatten(1, 2)
        # Keys before queries: then the softmax over a handful of keys runs along the many queries.
        together = keys.reshape(len(query), -1, keys.shape[-1]) @ query.transpose(1, 2)  # a group's keys, side by side
        scores = together.view(n_targets, self.heads * n_keys, -1) + bias[..., None]
        shares = scores.unflatten(1, (self.heads, n_keys)).softmax(dim=2).flatten(1, 2)
        return torch.baddbmm(self.out.bias.expand(1, 1, -1), shares.transpose(1, 2), values)


class SelfAttentionLayer(nn.Module):
    """One layer of SA: attention and a feed-forward part, each behind a norm and beside a residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, n, width) -> the same shape."""
        normed = self.attention_norm(features)
        features = features + self.attention(normed, normed, normed)
        return features + self.feed_forward(features)


def repeated(shared: Tensor, n_targets: int) -> Tensor:
    """(G, n, width) -> (T, n, width), every group's row once for each of its targets."""
    return shared if len(shared) == n_targets else shared.repeat_interleave(n_targets // len(shared), dim=0)


def resample(cells: Tensor, side: int) -> Tensor:
    """(B, n, c) of a square grid -> (B, side * side, c), bilinear; as it is where the side is the same."""
    if cells.shape[1] == side * side:
        return cells
    own = round(cells.shape[1] ** 0.5)
    grid = cells.transpose(1, 2).unflatten(2, (own, own))
    return functional.interpolate(grid, (side, side), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


class PositionEncoding(nn.Module):
    """Random Fourier features of the cell centres of a square grid, fixed at construction.

    Args:
        side: Cells along a side.
        width: Channels; even.
        seed: Names the random frequencies.
    """

    table: Tensor

    def __init__(self, side: int, width: int, seed: int = 0) -> None:
        super().__init__()
        frequencies = torch.randn(2, width // 2, generator=torch.Generator().manual_seed(seed))
        centres = 2 * (torch.arange(side) + 0.5) / side - 1
        grid = torch.stack(torch.meshgrid(centres, centres, indexing="ij"), dim=-1).flatten(0, 1)
        angles = math.tau * grid @ frequencies
        self.register_buffer("table", torch.cat([angles.sin(), angles.cos()], dim=-1), persistent=True)

    def forward(self) -> Tensor:
        """(side * side, width)."""
        return self.table
