"""Class-wise learnable memory (§III-B, Eq. 1-3, Table IX)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from geopix.model.attention import Attention, SelfAttentionLayer, repeated

Fusion = Literal["argmax", "conv2d", "conv3d", "attention", "dual_attention", "none"]
"""How F folds the capacity axis (Table IX); "none" is the table's w/o: key and value are I(m_init) alone."""
_HEADS = 4


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


class Bank(nn.Module):
    """The bank M of Eq. 1: one row for every class at every scale.

    In a step only the rows of the classes in the batch are read, and only they get a gradient (a sparse one), so the
    cost of a step does not grow with the number of classes.

    Args:
        n_classes: Number of class slots, the "unknown" one included.
        n_scales: Number of visual scales L.
        capacity: N, how many entries a class has.
        width: D, channels of an entry.
        side: H = W of an entry, in cells.
        sparse: False gives a dense gradient, as torch's own optimisers want it.
    """

    def __init__(
        self, n_classes: int, n_scales: int, capacity: int, width: int, side: int, sparse: bool = True
    ) -> None:
        super().__init__()
        self.shape = (n_classes, n_scales, capacity, width, side, side)
        self.sparse = sparse
        self.rows = nn.Parameter(torch.empty(n_classes * n_scales, capacity * width * side * side))
        nn.init.normal_(self.rows, std=0.02)

    def forward(self, classes: Tensor, scale: int) -> Tensor:
        """Eq. 1: class slots (r,) at the scale Q_l -> h, (r, capacity, width, side, side)."""
        rows = classes.to(self.rows.device) * self.shape[1] + scale
        return functional.embedding(rows, self.rows, sparse=self.sparse).unflatten(1, self.shape[2:])


class FoldingFusion(nn.Module):
    """F where it sees nothing but the bank: argmax, conv2d and conv3d of Table IX.

    Args:
        fusion: Which.
        capacity: How many entries it folds into one.
    """

    def __init__(self, fusion: Literal["argmax", "conv2d", "conv3d"], capacity: int) -> None:
        super().__init__()
        self.fusion = fusion
        self.layers = None if fusion == "argmax" else _convolutions(capacity, dimensions=2 if fusion == "conv2d" else 3)

    def forward(self, h: Tensor) -> Tensor:
        """(r, capacity, width, side, side) -> (r, width, side, side)."""
        if self.layers is None:
            return h.amax(dim=1)
        if self.fusion == "conv2d":  # classes times channels are the batch
            return self.layers(h.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(h), -1))[:, :, 0]
        return self.layers(h.permute(2, 1, 0, 3, 4))[:, 0].transpose(0, 1)  # (width, capacity, class, side, side)


class AttendingFusion(nn.Module):
    """F where it looks at the mask too: attention and dual attention of Table IX.

    Args:
        fusion: Which.
        capacity, width: Of the bank; cells attend with ``width`` channels to cells of capacity times as many.
        heads: Attention heads; must divide ``width``.
    """

    def __init__(self, fusion: Literal["attention", "dual_attention"], capacity: int, width: int, heads: int) -> None:
        super().__init__()
        entries = capacity * width
        self.remembering = None  # the bank's cells look at the mask first
        if fusion == "dual_attention":
            self.remembering = nn.MultiheadAttention(entries, heads, kdim=width, vdim=width, batch_first=True)
        self.recalling = nn.MultiheadAttention(width, heads, kdim=entries, vdim=entries, batch_first=True)

    def forward(self, h: Tensor, encoded_mask: Tensor) -> Tensor:
        """(T, capacity, width, side, side), I(m_init) (T, cells, width) -> (T, cells, width)."""
        cells = h.flatten(1, 2).flatten(2).transpose(1, 2)  # (T, side * side, capacity * width)
        if self.remembering is not None:
            cells = self.remembering(cells, encoded_mask, encoded_mask, need_weights=False)[0]
        recalled: Tensor = self.recalling(encoded_mask, cells, cells, need_weights=False)[0]
        return recalled


class FoldedMemory(nn.Module):
    """F(h) of every class and scale as numbers, the bank dropped: what an inference checkpoint holds.

    Args:
        shape: (n_classes, n_scales, width, side, side).
    """

    folded: Tensor

    def __init__(self, shape: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        self.register_buffer("folded", torch.zeros(shape))

    def forward(self, class_weights: Tensor, scale: int, encoded_mask: Tensor) -> Tensor:
        """As `FoldingMemory.forward`."""
        used = _used(class_weights)
        return _mix(class_weights[:, used], self.folded[used, scale])


class FoldingMemory(nn.Module):
    """M and an F that sees nothing but M: in evaluation F(h) is a constant for every (class, scale).

    Args:
        bank: M.
        fusion: F.
    """

    def __init__(self, bank: Bank, fusion: FoldingFusion) -> None:
        super().__init__()
        self.bank, self.fusion = bank, fusion

    def forward(self, class_weights: Tensor, scale: int, encoded_mask: Tensor) -> Tensor:
        """F(h) for every target: its classes' folded memories, mixed by Q_c.

        Args:
            class_weights: Q_c, (T, n_classes); a zero weight leaves that class untouched.
            scale: Q_l, the scale's index.
            encoded_mask: I(m_init), (T, side * side, width); not looked at.

        Returns:
            (T, side * side, width).
        """
        used = _used(class_weights)
        return _mix(class_weights[:, used], self.fusion(self.bank(used, scale)))

    @torch.no_grad()
    def fold(self) -> FoldedMemory:
        """F(h) of every class and scale as evaluation computes it, capacity times smaller than the bank."""
        n_classes, n_scales, _, width, side, _ = self.bank.shape
        folded = FoldedMemory((n_classes, n_scales, width, side, side)).to(self.bank.rows.device, self.bank.rows.dtype)
        was_training = self.training
        self.eval()
        for class_id in range(n_classes):  # one at a time: the bank is large
            for scale in range(n_scales):
                one = torch.tensor([class_id])
                folded.folded[class_id, scale] = self.fusion(self.bank(one, scale))[0]
        self.train(was_training)
        return folded.train(was_training)


class AttendingMemory(nn.Module):
    """M and an F that looks at the mask: every mask its own F(h), so there is nothing to fold.

    Args:
        bank: M.
        fusion: F.
    """

    def __init__(self, bank: Bank, fusion: AttendingFusion) -> None:
        super().__init__()
        self.bank, self.fusion = bank, fusion

    def forward(self, class_weights: Tensor, scale: int, encoded_mask: Tensor) -> Tensor:
        """F(h, I(m_init)) for every target, its classes' results mixed by Q_c; see `FoldingMemory.forward`."""
        recalled = torch.zeros_like(encoded_mask)
        for class_id in _used(class_weights).tolist():
            asked = torch.nonzero(class_weights[:, class_id] > 0).flatten()
            h = self.bank(torch.tensor([class_id]), scale).expand(len(asked), -1, -1, -1, -1)
            own = self.fusion(h, encoded_mask[asked]) * class_weights[asked, class_id, None, None].to(h.dtype)
            recalled = recalled.index_add(0, asked, own)
        return recalled


Memory = FoldedMemory | FoldingMemory | AttendingMemory


def make_memory(
    fusion: Fusion, n_classes: int, n_scales: int, capacity: int, width: int, side: int, folded: bool = False
) -> Memory | None:
    """The memory of a model before training, or None for "none".

    Args:
        fusion: How F folds the capacity axis.
        n_classes, n_scales, capacity, width, side: See `Bank`.
        folded: Whether to make the folded form, empty, for a checkpoint that holds it.

    Raises:
        ValueError: If a fusion that looks at the mask is to be folded.
    """
    if fusion == "none":
        return None
    if fusion == "attention" or fusion == "dual_attention":
        if folded:
            raise ValueError(f"the fusion {fusion!r} depends on the mask, so its memory can't be folded")
        return AttendingMemory(
            Bank(n_classes, n_scales, capacity, width, side), AttendingFusion(fusion, capacity, width, _HEADS)
        )
    if folded:
        return FoldedMemory((n_classes, n_scales, width, side, side))
    return FoldingMemory(Bank(n_classes, n_scales, capacity, width, side), FoldingFusion(fusion, capacity))


def _used(class_weights: Tensor) -> Tensor:
    """The classes that any target weighs; a weight that is no number counts, so that it shows in what comes out."""
    return torch.nonzero(~(class_weights.detach().amax(dim=0) <= 0)).flatten()


def _mix(weights: Tensor, rows: Tensor) -> Tensor:
    """(T, r) of Q_c and F(h) (r, width, side, side) -> (T, side * side, width)."""
    return torch.einsum("tr,rdp->tpd", weights.to(rows.dtype), rows.flatten(2))


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
            seen: SA(F_img), (T, n, width), or (G, n, width) where groups of targets share it.
            position: Position encoding of the memory's grid, (p, memory_width), added to the key only.
            encoded_mask: I(m_init), (T, p, memory_width).
            memory: F(h), (T, p, memory_width), or None.
        """
        remembered = encoded_mask if memory is None else encoded_mask + memory
        remembered = self.memory_norm(remembered)
        attended = self.cross_attention(seen, remembered + position, remembered)
        return repeated(seen, len(attended)) + self.memory_gain * attended
