"""Multi-scale mask predictor: initial masks, memory, refined masks, and their learnable sum (§III-A, Fig. 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from geopix.model.attention import PositionEncoding, repeated, resample
from geopix.model.mask_decoder import MaskDecoder
from geopix.model.memory import FoldingMemory, MaskEncoder, Memory, MemoryAttention
from geopix.model.pointer import Pointer
from geopix.model.relations import OrdinalEncoding, Scene

ClassQuery = Literal["mixture", "top-1", "none"]
"""Where Q_c comes from where nobody named a class: the top-k predicted ones mixed, the first, or no memory at all."""
NUMBERS_AT_ONCE = 1 << 22
"""Numbers in the features of all targets that go through the decoder together: 16 targets at the paper's sizes, from
where on nothing gets faster and only memory grows."""


@dataclass(frozen=True)
class MaskPrediction:
    """Masks of m targets in each of B letterboxed images.

    ``logits`` is P_mask (B, m, h, w); ``by_scale`` the refined and ``initial`` the first masks of every scale, each
    at its own resolution; ``iou`` (B, m) the predicted IoU as a logit; ``class_logits`` (B, m, classes);
    ``class_weights`` the Q_c that was used; ``pointed`` (B, m, n) where the embedding points, logits over cells.
    What a network does not predict is None.
    """

    logits: Tensor
    by_scale: list[Tensor]
    initial: list[Tensor]
    iou: Tensor | None = None
    class_logits: Tensor | None = None
    class_weights: Tensor | None = None
    pointed: Tensor | None = None


class MaskPredictor(nn.Module):
    """Segmentation embeddings and image features -> masks, one scale guiding the next, memory in between.

    Args:
        hidden: Width of the LLM's embeddings.
        tokens_per_scale: Segmentation tokens of a scale.
        width: Channels of the mask path.
        side: Cells along a side of the mask path's features.
        n_scales: L.
        n_classes: Class slots, "unknown" included.
        memory: M and F, shared by all scales; None for w/o.
        memory_size: Channels and side of the memory's grid, of I(m_init) too.
        memory_layers: Depth of SA.
        ordinal: What tells where objects stand among their kind, and with it the pointer; None for the paper alone.
        decoder_blocks: Two-way blocks of a scale's decoder.
        top_k: How many classes Q_c mixes.

    Raises:
        ValueError: If the memory's grid does not divide a scale's mask.
    """

    def __init__(
        self,
        hidden: int,
        tokens_per_scale: int,
        width: int,
        side: int,
        n_scales: int,
        n_classes: int,
        memory: Memory | None,
        memory_size: tuple[int, int],
        memory_layers: int,
        ordinal: OrdinalEncoding | None,
        decoder_blocks: int,
        top_k: int,
    ) -> None:
        super().__init__()
        heads = width // 32
        memory_width, memory_side = memory_size
        if 2 * side % memory_side:
            raise ValueError(f"a memory of {memory_side} cells a side does not divide masks of {2 * side}")
        self.memory, self.top_k = memory, top_k
        self.n_scales, self.n_classes, self.side = n_scales, n_classes, side
        self.prompt = nn.Sequential(
            nn.LayerNorm(hidden), nn.Linear(hidden, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.scale_tokens = nn.Parameter(0.02 * torch.randn(n_scales, width))
        self.class_head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, n_classes)
        )
        self.position = PositionEncoding(side, width)
        self.memory_position = PositionEncoding(memory_side, memory_width, seed=1)
        self.attention = nn.ModuleList(
            MemoryAttention(width, memory_width, heads, memory_layers) for _ in range(n_scales)
        )
        self.decoders = nn.ModuleList(
            MaskDecoder(width, heads, decoder_blocks, doublings=scale + 1) for scale in range(n_scales)
        )
        self.memory_encoders = nn.ModuleList(
            MaskEncoder(side * 2 ** (scale + 1) // memory_side, memory_width) for scale in range(n_scales)
        )
        self.guides = nn.ModuleList(MaskEncoder(2**scale, width) for scale in range(1, n_scales))
        self.ordinal = ordinal
        self.pointer: Pointer | None = None
        if ordinal is not None:
            self.pointer = Pointer(hidden, tokens_per_scale, ordinal.described, width, n_scales)
        self.scale_weights = nn.Parameter(torch.full((n_scales,), 1 / n_scales))

    def fold(self) -> None:
        """Keep of the memory only what inference needs, where its F allows that; see `FoldingMemory.fold`."""
        if isinstance(self.memory, FoldingMemory):
            self.memory = self.memory.fold()

    def see(self, projected: list[Tensor], features: Tensor) -> tuple[list[Tensor], Scene | None]:
        """SA(F_img) of every scale with its ordinal encoding, once per image; and what was read for it.

        Args:
            projected: L times (B, n, width), the scale projectors' results.
            features: (B, L, n, channels), what the encoder gave.
        """
        position = self.position().to(features.dtype)
        seen = [
            cast(MemoryAttention, attention).see(scale + position)
            for attention, scale in zip(self.attention, projected, strict=True)
        ]
        if self.ordinal is None:
            return seen, None
        scene, encoding = self.ordinal(features.transpose(1, 2).flatten(2))
        encoding = resample(encoding, self.side)
        return [scale + encoding for scale in seen], scene

    def point(self, scene: Scene | None, embeddings: Tensor) -> Tensor | None:
        """Where each embedding points, logits over cells (B, m, n); ``embeddings`` as in `forward`."""
        if self.pointer is None or scene is None:
            return None
        logits: Tensor = self.pointer(embeddings[:, :, 0], scene.described, scene.there)
        return logits

    def forward(
        self,
        seen: list[Tensor],
        scene: Scene | None,
        embeddings: Tensor,
        class_ids: Tensor | None = None,
        query: ClassQuery = "mixture",
        refine: bool = True,
    ) -> MaskPrediction:
        """Predict the masks of m targets in each of B images.

        Args:
            seen: What `see` made of the images, L times (B, n, width).
            scene: What it read in them.
            embeddings: (B, m, L, tokens per scale, hidden), the LLM's states that predict the segmentation tokens.
            class_ids: (B, m) the class slot of every target where somebody named it, -1 where Q_c must be predicted;
                None predicts all.
            query: How to predict it.
            refine: False stops at the initial masks, which cost a tenth; training begins there, since what is hard
                to learn (which object is meant) is decided there.
        """
        n_images, n_targets = embeddings.shape[:2]
        if not n_targets:
            return _nothing(embeddings, self.n_scales, self.side, self.n_classes)
        prompts = self.prompt(embeddings) + self.scale_tokens[:, None]
        class_logits = self.class_head(prompts.mean(dim=(2, 3)))
        class_weights = self.class_query(class_logits, class_ids, query)
        pointed = self.point(scene, embeddings)
        by_scale: list[Tensor] = []
        initial: list[Tensor] = []
        position = self.position().to(prompts.dtype)
        for scale in range(self.n_scales):
            tokens = prompts[:, :, scale].flatten(0, 1)
            image = seen[scale]  # of all targets of an image, until something of their own is added
            if pointed is not None and self.pointer is not None:
                marks = resample(self.pointer.marked(pointed, scale), self.side)
                image = repeated(image, len(tokens)) + marks
            if scale:
                image = repeated(image, len(tokens)) + self.guides[scale - 1](by_scale[-1])
            mask, iou = self.decoders[scale](image, position, tokens)
            initial.append(mask)
            if refine:
                encoded = self.memory_encoders[scale](mask)
                memory = None
                if self.memory is not None and query != "none":
                    memory = self.memory(class_weights.flatten(0, 1), scale, encoded)
                enhanced = self.attention[scale](image, self.memory_position().to(prompts.dtype), encoded, memory)
                mask, iou = self.decoders[scale](enhanced, position, tokens)
            by_scale.append(mask)

        def by_image(flat: Tensor) -> Tensor:
            return flat.unflatten(0, (n_images, n_targets))

        return MaskPrediction(
            by_image(weighted_sum(by_scale, self.scale_weights)),
            [by_image(mask) for mask in by_scale],
            [by_image(mask) for mask in initial],
            by_image(iou),
            class_logits,
            class_weights,
            pointed,
        )

    def class_query(self, class_logits: Tensor, class_ids: Tensor | None, query: ClassQuery = "mixture") -> Tensor:
        """Q_c (..., classes): one-hot where the class was named, else the top-k predicted ones by probability."""
        probabilities = class_logits.float().softmax(dim=-1)
        top = probabilities.topk(1 if query == "top-1" else min(self.top_k, probabilities.shape[-1]), dim=-1)
        weights = torch.zeros_like(probabilities).scatter(-1, top.indices, top.values)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        if class_ids is None:
            return weights
        if (class_ids >= weights.shape[-1]).any():
            raise ValueError(f"class {int(class_ids.amax())} of {weights.shape[-1]}: give a slot below that, or -1")
        named = functional.one_hot(class_ids.clamp(min=0), weights.shape[-1]).to(weights.dtype)
        return torch.where((class_ids >= 0)[..., None], named, weights)


def in_pieces(
    predictor: Callable[..., MaskPrediction],
    seen: list[Tensor],
    scene: Scene | None,
    embeddings: Tensor,
    class_ids: Tensor | None = None,
    query: ClassQuery = "mixture",
    refine: bool = True,
) -> MaskPrediction:
    """What a mask predictor says of all targets, asked for some at a time where no gradient is wanted.

    Args:
        predictor: `MaskPredictor` or one that is used as it is; the other arguments are those of its `forward`.
    """
    n_images, n_targets = embeddings.shape[:2]
    at_once = max(1, NUMBERS_AT_ONCE // (seen[0].shape[1] * seen[0].shape[2] * max(1, n_images)))
    if n_targets <= at_once or torch.is_grad_enabled():
        return predictor(seen, scene, embeddings, class_ids, query, refine)
    pieces = []
    for start in range(0, n_targets, at_once):
        some = slice(start, start + at_once)
        named = None if class_ids is None else class_ids[:, some]
        pieces.append(predictor(seen, scene, embeddings[:, some], named, query, refine))
    return _joined(pieces)


def _joined(pieces: Sequence[MaskPrediction]) -> MaskPrediction:
    """Predictions of the same images, their targets one after the other."""

    def along(values: Sequence[Any]) -> Any:
        if values[0] is None:
            return None
        if isinstance(values[0], list):
            return [along(scale) for scale in zip(*values, strict=True)]
        return torch.cat(list(values), dim=1)

    columns = zip(*(vars(piece).values() for piece in pieces), strict=True)
    return MaskPrediction(*(along(column) for column in columns))


def _nothing(embeddings: Tensor, n_scales: int, side: int, n_classes: int) -> MaskPrediction:
    """The prediction of no target, in the shapes of any."""

    def empty(*shape: int) -> Tensor:
        return embeddings.new_zeros(len(embeddings), 0, *shape)

    masks = [empty(side * 2 ** (scale + 1), side * 2 ** (scale + 1)) for scale in range(n_scales)]
    return MaskPrediction(masks[-1].float(), masks, list(masks), empty(), empty(n_classes), empty(n_classes))


def weighted_sum(by_scale: list[Tensor], weights: Tensor) -> Tensor:
    """P_mask: the masks of all scales, L times (T, h, w), at the size of the last, times beta, added (T, H, W)."""
    size = by_scale[-1].shape[-2:]
    return torch.stack(
        [
            weight * functional.interpolate(mask[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]
            for weight, mask in zip(weights, by_scale, strict=True)
        ]
    ).sum(dim=0)
