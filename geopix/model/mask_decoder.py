"""The mask decoder 𝒟 of one scale: a target's tokens and the image look at each other, and make a mask (§III-A)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from geopix.model.attention import Attention, repeated

LARGEST_LOGIT = 6e4
"""Half precision ends at 65,504; a mask's logit that overflowed there is as sure as one can be, and stays a number."""


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
        """(T, k, width), (T, n, width), (n, width) -> the first two, each having seen the other.

        The image may come with G rows, where groups of targets still share it; it leaves with T.
        """
        tokens = self.norms[0](tokens + self.self_attention(tokens, tokens, tokens))
        placed = image + position
        tokens = self.norms[1](tokens + self.tokens_to_image(tokens, placed, image))
        tokens = self.norms[2](tokens + self.feed_forward(tokens))
        image = self.norms[3](repeated(image, len(tokens)) + self.image_to_tokens(placed, tokens, tokens))
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
            image: (T, n, width), the features as each target sees them; (G, n, width) where groups share them.
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
        n_cells = image.shape[1]
        for step in self.doubling:  # every cell's four quarters lie behind one another: nothing moves but the logits
            image = functional.gelu(step(image)).unflatten(2, (4, -1)).flatten(1, 2)
        weights = self.hyper(tokens[:, 1])
        logits = torch.bmm(image, weights[:, :-1, None])[..., 0] / weights.shape[-1] ** 0.5 + weights[:, -1:]
        logits = quarters_to_grid(logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT), n_cells, len(self.doubling))
        return logits, self.iou(tokens[:, 0])[:, 0]


def quarters_to_grid(quarters: Tensor, n_cells: int, doublings: int) -> Tensor:
    """(T, n * 4^d), quarters of quarters of n cells in their order -> the square grid (T, s, s) they form."""
    side = round(n_cells**0.5)
    grid = quarters.unflatten(1, (side, side, *[2] * (2 * doublings)))  # rows, columns, then row and column of quarters
    rows = [1, *range(3, 3 + 2 * doublings, 2)]
    columns = [2, *range(4, 4 + 2 * doublings, 2)]
    size = side * 2**doublings
    return grid.permute(0, *rows, *columns).reshape(len(quarters), size, size)
