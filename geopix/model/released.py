"""The mask path as the authors released it (Fig. 2 with a memory that does nothing), so that their weights run.

docs/paper.md says where it differs from the paper. It predicts masks and nothing else: no class, no IoU. It can't be
trained here.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from geopix.model.attention import Attention, PositionEncoding, repeated
from geopix.model.mask_decoder import LARGEST_LOGIT
from geopix.model.mask_predictor import ClassQuery, MaskPrediction, weighted_sum

_HEADS = 8
_MASK_TOKENS = 4
"""segment-anything asks for four masks at once; only the first is used, but all take part in the attention."""


class Neck(nn.Module):
    """The projector of one scale: encoder channels to the mask path's width, by convolutions.

    Args:
        channels: Channels of the encoder.
        width: Channels of the mask path.
        side: Cells along a side of the mask path's grid.
    """

    def __init__(self, channels: int, width: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.narrow = nn.Sequential(nn.Conv2d(channels, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU())
        self.project = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        """(B, patches, channels) -> (B, side * side, width); patches form a square grid, row by row."""
        own = round(features.shape[1] ** 0.5)
        grid = self.narrow(features.transpose(1, 2).unflatten(2, (own, own)))
        grid = functional.interpolate(grid, (self.side, self.side), mode="bilinear", align_corners=False)
        return self.project(grid).flatten(2).transpose(1, 2)


class Doubling(nn.Module):
    """Twice as many cells along a side: a transposed convolution, a norm over the channels, GELU.

    Args:
        width, out: Channels before and after.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(width, out, 2, stride=2)
        self.norm = nn.LayerNorm(out, eps=1e-6)

    def forward(self, cells: Tensor) -> Tensor:
        """(T, n, width) -> (T, 4 n, out); cells form a square grid, row by row."""
        side = round(cells.shape[1] ** 0.5)
        grid = self.conv(cells.transpose(1, 2).unflatten(2, (side, side)))
        return functional.gelu(self.norm(grid.flatten(2).transpose(1, 2)))


class TwoWayBlock(nn.Module):
    """segment-anything's block: tokens look at themselves and at the image, the image looks at the tokens.

    Args:
        width: Channels of tokens and image; the attention between them is half as wide inside.
        first: In the first block the tokens are still only their own position, so neither that nor a residual is
            added to their self-attention.
    """

    def __init__(self, width: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attention = Attention(width, _HEADS)
        self.tokens_to_image = Attention(width, _HEADS, inner=width // 2)
        self.feed_forward = nn.Sequential(nn.Linear(width, 8 * width), nn.ReLU(), nn.Linear(8 * width, width))
        self.image_to_tokens = Attention(width, _HEADS, inner=width // 2)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))

    def forward(self, tokens: Tensor, image: Tensor, asked: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """(T, k, width), (T, n, width), (T, k, width), (n, width) -> the first two, each having seen the other.

        ``asked`` is what the tokens were at first, their position. The image may come with G rows, where groups of
        targets share it; it leaves with T.
        """
        if self.first:
            tokens = self.self_attention(tokens, tokens, tokens)
        else:
            query = tokens + asked
            tokens = tokens + self.self_attention(query, query, tokens)
        tokens = self.norm1(tokens)
        placed = image + position
        tokens = self.norm2(tokens + self.tokens_to_image(tokens + asked, placed, image))
        tokens = self.norm3(tokens + self.feed_forward(tokens))
        looked = self.image_to_tokens(placed, tokens + asked, tokens)
        return tokens, self.norm4(repeated(image, len(tokens)) + looked)


class TwoWayTransformer(nn.Module):
    """The blocks of one scale, and a last look of the tokens at the image.

    Args:
        width: Channels.
        blocks: How many.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TwoWayBlock(width, first=index == 0) for index in range(blocks))
        self.last_look = Attention(width, _HEADS, inner=width // 2)
        self.last_norm = nn.LayerNorm(width)

    def forward(self, asked: Tensor, image: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """(T, k, width), (G, n, width), (n, width) -> (T, k, width), (T, n, width)."""
        tokens = asked
        for block in self.blocks:
            tokens, image = block(tokens, image, asked, position)
        looked = self.last_look(tokens + asked, image + position, image)
        return self.last_norm(tokens + looked), image


class ReleasedMaskPredictor(nn.Module):
    """Segmentation embeddings and image features -> masks at two scales; used as `MaskPredictor` is.

    Args:
        hidden: Width of the LLM's embeddings.
        tokens_per_scale: Segmentation tokens of a scale, added up with learned weights.
        width: Channels of the mask path; a multiple of 16.
        side: Cells along a side of the necks' features.
        blocks: Two-way blocks of a scale.
    """

    n_scales = 2
    memory = None  # the released code computes one and drops it

    def __init__(self, hidden: int, tokens_per_scale: int, width: int, side: int, blocks: int) -> None:
        super().__init__()
        self.side = side
        self.prompt = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.token_weights = nn.Parameter(torch.full((tokens_per_scale,), 1 / tokens_per_scale))
        self.iou_token = nn.Parameter(torch.randn(1, width))  # its answer is not used, yet the others look at it
        self.mask_tokens = nn.Parameter(torch.randn(_MASK_TOKENS, width))
        self.scale_tokens = nn.Parameter(torch.randn(self.n_scales, width))
        self.no_prompt = nn.Parameter(torch.randn(1, width))
        self.positions = nn.ModuleList(
            PositionEncoding(side * 2**scale, width, seed=scale) for scale in range(self.n_scales)
        )
        self.transformers = nn.ModuleList(TwoWayTransformer(width, blocks) for _ in range(self.n_scales))
        self.finer = Doubling(width, width)
        self.upscaling = Doubling(width, width // 8)
        self.hyper = nn.ModuleList(nn.Linear(width, out) for out in (width, width, width // 8))
        self.memory_gain = nn.Parameter(torch.zeros(width))
        self.memory_norm = nn.LayerNorm(width)
        self.scale_weights = nn.Parameter(torch.full((self.n_scales,), 1 / self.n_scales))

    def fold(self) -> None:
        """There is no memory to fold."""

    def see(self, projected: list[Tensor], features: Tensor) -> tuple[list[Tensor], None]:
        """What the necks gave, 2 times (B, n, width), as it is; and nothing was read in it."""
        return projected, None

    def fuse(self, embeddings: Tensor) -> Tensor:
        """(..., tokens per scale, hidden) -> (..., width): every token by itself, then their weighted sum."""
        return torch.einsum("...tw,t->...w", self.prompt(embeddings), self.token_weights)

    def remember(self, features: Tensor) -> Tensor:
        """What the released memory comes to: (B, n, width) scaled and normed, whatever the class and the mask."""
        return self.memory_norm((1 + self.memory_gain) * features)

    def forward(
        self,
        seen: list[Tensor],
        scene: None,
        embeddings: Tensor,
        class_ids: Tensor | None = None,
        query: ClassQuery = "mixture",
        refine: bool = True,
    ) -> MaskPrediction:
        """Predict the masks of m targets in each of B images.

        The memory does not look at the initial masks, so they are decoded only where they are asked for.

        Args:
            seen: What `see` gave, 2 times (B, n, width).
            scene: Nothing.
            embeddings: (B, m, 2, tokens per scale, hidden), the LLM's states that predict the segmentation tokens.
            class_ids, query: Without effect: no class is remembered.
            refine: False gives the initial masks, in ``initial`` as well as in ``by_scale``.
        """
        n_images, n_targets = embeddings.shape[:2]
        if not n_targets:
            sides = [2 * self.side * 2**scale for scale in range(self.n_scales)]
            empty = [embeddings.new_zeros(n_images, 0, side, side) for side in sides]
            return MaskPrediction(empty[-1].float(), empty, [])
        fused = self.fuse(embeddings)
        masks: list[Tensor] = []
        for scale in range(self.n_scales):
            image = self.remember(seen[scale]) if refine else seen[scale]
            masks.append(self.decode(scale, image, fused[:, :, scale].flatten(0, 1), masks[-1] if masks else None))

        def by_image(flat: Tensor) -> Tensor:
            return flat.unflatten(0, (n_images, n_targets))

        by_scale = [by_image(mask) for mask in masks]
        logits = by_image(weighted_sum(masks, self.scale_weights))
        return MaskPrediction(logits, by_scale, [] if refine else list(by_scale))

    def decode(self, scale: int, image: Tensor, fused: Tensor, previous: Tensor | None) -> Tensor:
        """One scale's masks.

        Args:
            scale: 0 is the coarse one.
            image: (G, n, width), shared by groups of targets.
            fused: (T, width), a target each.
            previous: (T, 2 side, 2 side) mask logits of the coarser scale; the finer one looks harder where they are.

        Returns:
            (T, s, s) mask logits, s = 2 side at scale 0 and twice that at scale 1.
        """
        if previous is not None:
            weight = 1 + previous.sigmoid().flatten(1)[..., None]  # (T, 4 n, 1)
            image = repeated(self.finer(image), len(fused)) * weight.to(image.dtype)
        own = torch.cat([self.iou_token, self.mask_tokens]).expand(len(fused), -1, -1)
        asked = torch.cat([own, fused[:, None]], dim=1) + self.scale_tokens[scale]
        position = cast(PositionEncoding, self.positions[scale])().to(image.dtype)
        tokens, image = self.transformers[scale](asked, image + self.no_prompt, position)
        weights = tokens[:, 1]
        for index, layer in enumerate(self.hyper):
            weights = layer(functional.relu(weights) if index else weights)
        logits = torch.bmm(self.upscaling(image), weights[..., None])[..., 0]
        side = round(logits.shape[1] ** 0.5)
        return logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT).unflatten(1, (side, side))


def fourier_table(frequencies: Tensor, side: int) -> Tensor:
    """The position encoding that goes with released frequencies (2, width / 2), x before y: (side * side, width)."""
    centres = 2 * (torch.arange(side) + 0.5) / side - 1
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    angles = math.tau * torch.stack([columns, rows], dim=-1).flatten(0, 1) @ frequencies.float()
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
