"""Class-wise learnable memory (§III-B, Eq. 1-3, Table IX)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Fusion = Literal["argmax", "conv2d", "conv3d", "none"]
"""How F folds the capacity axis (Table IX); "none" is the table's w/o: key and value are I(m_init) alone."""


class Attention(nn.Module):
    """Multi-head attention whose query may have another width than its key and value.

    Args:
        width: Channels of the query and of the result.
        heads: Number of heads; must divide ``inner``.
        memory_width: Channels of key and value; ``width`` by default.
        inner: Channels inside; ``width`` by default.
    """

    def __init__(self, width: int, heads: int, memory_width: int | None = None, inner: int | None = None) -> None:
        super().__init__()
        inner, memory_width = inner or width, memory_width or width
        self.heads = heads
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(memory_width, inner)
        self.value = nn.Linear(memory_width, inner)
        self.out = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, q, width), (B, k, memory_width), (B, k, memory_width) -> (B, q, width)."""
        q, k, v = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.query(query), self.key(key), self.value(value))
        )
        if torch.is_grad_enabled() and q.device.type == "cpu":
            # On a CPU the fused kernel's backward costs several times what three plain matrix products do.
            attended = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1) @ v
        else:
            attended = functional.scaled_dot_product_attention(q, k, v)
        return self.out(attended.transpose(1, 2).flatten(-2))


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


class MaskEncoder(nn.Module):
    """The memory encoder I: mask logits into a coarser grid of channels (Eq. 2).

    Every cell of the coarse grid reads the square of probabilities below it, so a mask is encoded in two matrix
    products whatever its size.

    Args:
        patch: Side of the square that becomes one cell, in mask cells.
        width: Channels of the result.
    """

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.layers = nn.Sequential(nn.Linear(patch * patch, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, logits: Tensor) -> Tensor:
        """(T, h, w) logits -> (T, h/patch * w/patch, width)."""
        squares = functional.pixel_unshuffle(logits.sigmoid()[:, None], self.patch)
        return self.layers(squares.flatten(2).transpose(1, 2))


class MemoryBank(nn.Module):
    """The bank M of Eq. 1 together with F: what is remembered of a class at a scale.

    F's convolutions see nothing but the bank, so in evaluation F(h) is a constant for every (class, scale); `fold`
    keeps that constant and drops the bank (capacity times smaller), with equal results.

    Args:
        n_classes: Number of class slots, the "unknown" one included.
        n_scales: Number of visual scales L.
        capacity: N, how many entries a class has.
        width: D, channels of an entry.
        side: H = W of an entry, in cells.
        fusion: How F folds the capacity axis.
    """

    def __init__(self, n_classes: int, n_scales: int, capacity: int, width: int, side: int, fusion: Fusion) -> None:
        super().__init__()
        self.shape = (n_classes, n_scales, capacity, width, side, side)
        self.fusion = fusion
        self.bank: nn.Parameter | None = None
        self.fuse: nn.Module | None = None
        self.folded: Tensor | None
        self.register_buffer("folded", None)
        if fusion == "none":
            return
        self.bank = nn.Parameter(0.02 * torch.randn(self.shape))
        if fusion in ("conv2d", "conv3d"):
            self.fuse = _convolutions(capacity, dimensions=2 if fusion == "conv2d" else 3)

    def forward(self, class_weights: Tensor, scale: int) -> Tensor | None:
        """F(h) for every target: its classes' folded memories, mixed by Q_c.

        Args:
            class_weights: Q_c, (T, n_classes), rows summing to one; a zero weight leaves that class untouched.
            scale: Q_l, the scale's index.

        Returns:
            (T, side * side, width), or None without a memory.
        """
        if self.fusion == "none":
            return None
        used = torch.nonzero(class_weights.detach().amax(dim=0) > 0).flatten()
        rows = self.folded[used, scale] if self.folded is not None else self._fused(used, scale)
        return torch.einsum("tr,rdp->tpd", class_weights[:, used].to(rows.dtype), rows.flatten(2))

    def fold(self) -> None:
        """Replace the bank by F(h) of every class and scale, as evaluation computes it; training ends here."""
        if self.bank is None:
            return
        was_training, everything = self.training, torch.arange(self.shape[0])
        self.eval()
        with torch.no_grad():
            self.folded = torch.stack([self._fused(everything, scale) for scale in range(self.shape[1])], dim=1)
        self.train(was_training)
        self.bank = self.fuse = None

    def expect_folded(self) -> None:
        """Become the folded form with empty values, so that a checkpoint of that form can be loaded."""
        if self.fusion != "none":
            n_classes, n_scales, _, width, side, _ = self.shape
            self.folded = torch.zeros(n_classes, n_scales, width, side, side)
            self.bank = self.fuse = None

    def _fused(self, classes: Tensor, scale: int) -> Tensor:
        """F over the capacity axis of some classes: (r, width, side, side)."""
        if self.bank is None:
            raise RuntimeError("the bank was folded away; load the training checkpoint to train it further")
        h = self.bank[classes.to(self.bank.device), scale]  # (r, capacity, width, side, side)
        if self.fuse is None:
            return h.amax(dim=1)
        if self.fusion == "conv2d":  # classes times channels are the batch
            return self.fuse(h.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(classes), -1))[:, :, 0]
        return self.fuse(h.permute(2, 1, 0, 3, 4))[:, 0].transpose(0, 1)  # (width, capacity, class, side, side)


def _convolutions(capacity: int, dimensions: Literal[2, 3]) -> nn.Sequential:
    """capacity -> 1/2 -> 1/4 -> 1 with kernels of one cell: 64, 32, 16, 1 in the paper (2,723 parameters)."""
    convolution = nn.Conv2d if dimensions == 2 else nn.Conv3d
    norm = nn.BatchNorm2d if dimensions == 2 else nn.BatchNorm3d
    channels = (capacity, max(1, capacity // 2), max(1, capacity // 4), 1)
    layers: list[nn.Module] = []
    for index in range(3):
        layers += [convolution(channels[index], channels[index + 1], 1), norm(channels[index + 1])]
        if index < 2:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class MemoryAttention(nn.Module):
    """SA and CA of Eq. 2 with the residual of Eq. 3, for one scale.

    Args:
        width: Channels of the visual features.
        memory_width: D.
        heads: Attention heads of SA and CA.
        layers: Depth of SA.
    """

    def __init__(self, width: int, memory_width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.self_attention = nn.Sequential(*(SelfAttentionLayer(width, heads) for _ in range(layers)))
        self.self_attention_norm = nn.LayerNorm(width)
        self.memory_norm = nn.LayerNorm(memory_width)
        self.cross_attention = Attention(width, memory_width // 32 or 1, memory_width, inner=memory_width)
        self.memory_gain = nn.Parameter(torch.tensor(0.2))

    def see(self, features: Tensor) -> Tensor:
        """SA(F_img), (B, n, width): the same for every target of an image, so computed once per image."""
        return self.self_attention_norm(self.self_attention(features))

    def forward(self, seen: Tensor, position: Tensor, encoded_mask: Tensor, memory: Tensor | None) -> Tensor:
        """Eq. 2 and 3: SA(F) + alpha * CA(SA(F), I(m_init) + F(h)).

        Args:
            seen: SA(F_img), (T, n, width).
            position: Position encoding of the memory's grid, (p, memory_width), added to the key only.
            encoded_mask: I(m_init), (T, p, memory_width).
            memory: F(h), (T, p, memory_width), or None.
        """
        remembered = encoded_mask if memory is None else encoded_mask + memory
        remembered = self.memory_norm(remembered)
        attended = self.cross_attention(seen, remembered + position, remembered)
        return seen + self.memory_gain * attended


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
