"""Multi-scale mask predictor: initial masks, memory, refined masks, and their learnable sum (§III-A, Fig. 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from geopix.model.memory import (
    Attention,
    MaskEncoder,
    MemoryAttention,
    MemoryBank,
    PositionEncoding,
)
from geopix.model.pointer import Pointer
from geopix.model.relations import OrdinalEncoding, Scene


@dataclass(frozen=True)
class MaskPrediction:
    """Masks of m targets in each of B letterboxed images.

    ``logits`` is P_mask (B, m, h, w); ``by_scale`` the refined and ``initial`` the first masks of every scale, each
    at its own resolution; ``iou`` (B, m) the predicted IoU as a logit; ``class_logits`` (B, m, classes);
    ``class_weights`` the Q_c that was used; ``pointed`` (B, m, n) where the embedding points, logits over cells.
    """

    logits: Tensor
    by_scale: list[Tensor]
    initial: list[Tensor]
    iou: Tensor
    class_logits: Tensor
    class_weights: Tensor
    pointed: Tensor


class TwoWayBlock(nn.Module):
    """A target's tokens look at the image, and the image at the tokens, after segment-anything's decoder.

    Args:
        width: Channels of tokens and image.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attention = Attention(width, heads)
        self.tokens_to_image = Attention(width, heads)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.image_to_tokens = Attention(width, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))

    def forward(self, tokens: Tensor, image: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """(T, k, width), (T, n, width), (n, width) -> the first two, each having seen the other."""
        tokens = self.norms[0](tokens + self.self_attention(tokens, tokens, tokens))
        placed = image + position
        tokens = self.norms[1](tokens + self.tokens_to_image(tokens, placed, image))
        tokens = self.norms[2](tokens + self.feed_forward(tokens))
        image = self.norms[3](image + self.image_to_tokens(placed, tokens, tokens))
        return tokens, image


class MaskDecoder(nn.Module):
    """Image features and segmentation tokens -> mask logits and a predicted IoU, for one scale.

    Args:
        width: Channels.
        heads: Attention heads.
        blocks: Number of two-way blocks.
        doublings: How many times the features' side is doubled for the mask.
    """

    def __init__(self, width: int, heads: int, blocks: int, doublings: int) -> None:
        super().__init__()
        self.own_tokens = nn.Parameter(0.02 * torch.randn(2, width))  # one asks for the IoU, one for the mask
        self.blocks = nn.ModuleList(TwoWayBlock(width, heads) for _ in range(blocks))
        self.last_look = Attention(width, heads)
        self.last_norm = nn.LayerNorm(width)
        channels = [width, *(max(width // 2 ** (step + 1), 32) for step in range(doublings))]
        self.doubling = nn.ModuleList(
            nn.Linear(channels[step], 4 * channels[step + 1]) for step in range(doublings)
        )  # a transposed convolution with stride two, as one matrix product
        self.hyper = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, channels[-1] + 1))
        self.iou = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, image: Tensor, position: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            image: (T, n, width), the features as each target sees them.
            position: (n, width).
            prompts: (T, k, width), the segmentation tokens of every target.

        Returns:
            Mask logits (T, s, s) and IoU logits (T,).
        """
        own = self.own_tokens.to(prompts.dtype).expand(len(prompts), -1, -1)
        tokens = torch.cat([own, prompts], dim=1)
        for block in self.blocks:
            tokens, image = block(tokens, image, position)
        tokens = self.last_norm(tokens + self.last_look(tokens, image + position, image))
        side = round(image.shape[1] ** 0.5)
        for step in self.doubling:
            grid = functional.gelu(step(image)).view(len(image), side, side, 2, 2, -1)
            side *= 2
            image = grid.transpose(2, 3).reshape(len(image), side * side, -1)
        weights = self.hyper(tokens[:, 1])
        logits = torch.bmm(image, weights[:, :-1, None])[..., 0] / weights.shape[-1] ** 0.5 + weights[:, -1:]
        return logits.unflatten(1, (side, side)), self.iou(tokens[:, 0])[:, 0]


class MaskPredictor(nn.Module):
    """Segmentation embeddings and image features -> masks, one scale guiding the next, memory in between.

    Args:
        channels: Channels of the encoder's features, all scales together.
        hidden: Width of the LLM's embeddings.
        tokens_per_scale: Segmentation tokens of a scale.
        width: Channels of the mask path.
        grid_side: Cells along a side of the features.
        n_scales: L.
        n_classes: Class slots, "unknown" included.
        memory: The bank, shared by all scales.
        memory_layers: Depth of SA.
        decoder_blocks: Two-way blocks of a scale's decoder.
        top_k: How many classes Q_c mixes.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        tokens_per_scale: int,
        width: int,
        grid_side: int,
        n_scales: int,
        n_classes: int,
        memory: MemoryBank,
        memory_layers: int,
        decoder_blocks: int,
        top_k: int,
    ) -> None:
        super().__init__()
        heads = width // 32
        memory_width, memory_side = memory.shape[3], memory.shape[4]
        self.memory, self.top_k, self.n_scales = memory, top_k, n_scales
        self.prompt = nn.Sequential(
            nn.LayerNorm(hidden), nn.Linear(hidden, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.scale_tokens = nn.Parameter(0.02 * torch.randn(n_scales, width))
        self.class_head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, n_classes)
        )
        self.position = PositionEncoding(grid_side, width)
        self.memory_position = PositionEncoding(memory_side, memory_width, seed=1)
        self.attention = nn.ModuleList(
            MemoryAttention(width, memory_width, heads, memory_layers) for _ in range(n_scales)
        )
        self.decoders = nn.ModuleList(
            MaskDecoder(width, heads, decoder_blocks, doublings=scale + 1) for scale in range(n_scales)
        )
        self.memory_encoders = nn.ModuleList(
            MaskEncoder(grid_side * 2 ** (scale + 1) // memory_side, memory_width) for scale in range(n_scales)
        )
        self.guides = nn.ModuleList(MaskEncoder(2**scale, width) for scale in range(1, n_scales))
        self.ordinal = OrdinalEncoding(channels, width, n_classes, grid_side)
        self.pointer = Pointer(hidden, tokens_per_scale, self.ordinal.described, width, n_scales)
        self.scale_weights = nn.Parameter(torch.full((n_scales,), 1 / n_scales))

    def see(self, projected: list[Tensor], features: Tensor) -> tuple[list[Tensor], Scene]:
        """SA(F_img) of every scale with its ordinal encoding, once per image; and what was read for it.

        Args:
            projected: L times (B, n, width), the scale projectors' results.
            features: (B, L, n, channels), what the encoder gave.
        """
        position = self.position().to(features.dtype)
        scene, encoding = self.ordinal(features.transpose(1, 2).flatten(2))
        seen = [
            cast(MemoryAttention, attention).see(scale + position) + encoding
            for attention, scale in zip(self.attention, projected, strict=True)
        ]
        return seen, scene

    def point(self, scene: Scene, embeddings: Tensor) -> Tensor:
        """Where each embedding points, logits over cells (B, m, n); ``embeddings`` as in `forward`."""
        logits: Tensor = self.pointer(embeddings[:, :, 0], scene.described, scene.there)
        return logits

    def forward(
        self,
        seen: list[Tensor],
        scene: Scene,
        embeddings: Tensor,
        class_ids: Tensor | None = None,
        refine: bool = True,
    ) -> MaskPrediction:
        """Predict the masks of m targets in each of B images.

        Args:
            seen: What `see` made of the images, L times (B, n, width).
            scene: What it read in them.
            embeddings: (B, m, L, tokens per scale, hidden), the LLM's states that predict the segmentation tokens.
            class_ids: (B, m) the class slot of every target where somebody named it, -1 where Q_c must be predicted;
                None predicts all.
            refine: False stops at the initial masks, which cost a tenth; training begins there, since what is hard
                to learn (which object is meant) is decided there.
        """
        n_images, n_targets = embeddings.shape[:2]
        prompts = self.prompt(embeddings) + self.scale_tokens[:, None]
        class_logits = self.class_head(prompts.mean(dim=(2, 3)))
        class_weights = self.class_query(class_logits, class_ids)
        pointed = self.point(scene, embeddings)
        by_scale: list[Tensor] = []
        initial: list[Tensor] = []
        iou = class_logits[..., 0].flatten()
        position = self.position().to(prompts.dtype)
        for scale in range(self.n_scales):
            tokens = prompts[:, :, scale].flatten(0, 1)
            image = seen[scale].repeat_interleave(n_targets, dim=0) + self.pointer.marked(pointed, scale)
            if scale:
                image = image + self.guides[scale - 1](by_scale[-1])
            first, iou = self.decoders[scale](image, position, tokens)
            initial.append(first)
            if refine:
                memory = self.memory(class_weights.flatten(0, 1), scale)
                encoded = self.memory_encoders[scale](first)
                enhanced = self.attention[scale](image, self.memory_position().to(prompts.dtype), encoded, memory)
                first, iou = self.decoders[scale](enhanced, position, tokens)
            by_scale.append(first)
        size = by_scale[-1].shape[-2:]
        logits = torch.stack(
            [
                weight * functional.interpolate(mask[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]
                for weight, mask in zip(self.scale_weights, by_scale, strict=True)
            ]
        ).sum(dim=0)

        def by_image(flat: Tensor) -> Tensor:
            return flat.unflatten(0, (n_images, n_targets))

        return MaskPrediction(
            by_image(logits),
            [by_image(mask) for mask in by_scale],
            [by_image(mask) for mask in initial],
            by_image(iou),
            class_logits,
            class_weights,
            pointed,
        )

    def class_query(self, class_logits: Tensor, class_ids: Tensor | None) -> Tensor:
        """Q_c (..., classes): one-hot where the class was named, else the top-k predicted ones by probability."""
        probabilities = class_logits.float().softmax(dim=-1)
        top = probabilities.topk(min(self.top_k, probabilities.shape[-1]), dim=-1)
        weights = torch.zeros_like(probabilities).scatter(-1, top.indices, top.values)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        if class_ids is None:
            return weights
        named = functional.one_hot(class_ids.clamp(min=0), weights.shape[-1]).to(weights.dtype)
        return torch.where((class_ids >= 0)[..., None], named, weights)
