"""Frozen vision encoder and the letterbox in front of it (§III-A, Fig. 2): an image in, L scales of features out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor, nn

from geopix.records import Image, Mask

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_PIXELS_AT_ONCE = 20_000_000
"""Mask logits held at a time while a mask is brought to the image's size."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """An image scaled to fit a square and centred in it; nothing is stretched, nothing is cut off.

    Args:
        size_hw: The image's own height and width in pixels.
        side: The square's side in pixels.
    """

    size_hw: tuple[int, int]
    side: int

    @property
    def inner_hw(self) -> tuple[int, int]:
        """Height and width of the scaled image inside the square, at least one pixel each."""
        height, width = self.size_hw
        longest = max(height, width)
        return max(1, round(height * self.side / longest)), max(1, round(width * self.side / longest))

    @property
    def offset_yx(self) -> tuple[int, int]:
        """Rows above and columns left of the scaled image."""
        height, width = self.inner_hw
        return (self.side - height) // 2, (self.side - width) // 2

    def apply(self, image: Image) -> Image:
        """(H, W, 3) uint8 -> (side, side, 3) uint8, the mean colour of ImageNet around it."""
        height, width = self.inner_hw
        top, left = self.offset_yx
        square = np.empty((self.side, self.side, 3), dtype=np.uint8)
        square[:] = [round(255 * channel) for channel in IMAGENET_MEAN]
        scaled = PillowImage.fromarray(image).resize((width, height), PillowImage.Resampling.BICUBIC)
        square[top : top + height, left : left + width] = np.asarray(scaled)
        return square

    def invert(self, logits: Tensor, rows: slice | None = None) -> Tensor:
        """Mask logits of the square, at any resolution, at the image's own size.

        Bilinear, and sampled at the centres of the image's pixels: a border that falls inside a cell of the mask
        stays there, and nothing of the padding is left.

        Args:
            logits: (n, h, w).
            rows: The rows of the image that are wanted; all of them by default.

        Returns:
            (n, H, W) float32, or (n, len(rows), W).
        """
        (height, width), (inner_h, inner_w), (top, left) = self.size_hw, self.inner_hw, self.offset_yx
        down = _bilinear(height, inner_h, top, self.side, logits.shape[-2]).to(logits.device)
        across = _bilinear(width, inner_w, left, self.side, logits.shape[-1]).to(logits.device)
        return down[rows or slice(None)] @ logits.float() @ across.T

    def to_mask(self, logits: Tensor) -> Mask:
        """One mask's logits (h, w) as a mask of the image, in bands of rows so that large images fit in memory.

        The most likely pixel always belongs to the mask: an answer that points at something is never empty.
        """
        height, width = self.size_hw
        mask = np.zeros((height, width), dtype=np.bool_)
        band = max(1, _PIXELS_AT_ONCE // width)
        best, place = -np.inf, 0
        for top in range(0, height, band):
            rows = self.invert(logits[None], slice(top, top + band))[0]
            mask[top : top + band] = (rows > 0).cpu().numpy()
            if float(rows.max()) > best:
                best, place = float(rows.max()), top * width + int(rows.argmax())
        mask.flat[place] = True
        return mask


def _bilinear(pixels: int, inner: int, offset: int, side: int, cells: int) -> Tensor:
    """(pixels, cells) weights that sample cells of a square's side at the centres of an image's pixels."""
    at = (offset + (torch.arange(pixels) + 0.5) * inner / pixels) / side * cells - 0.5
    at = at.clamp(0, cells - 1)
    before = at.floor().long()
    share = at - before
    weights = torch.zeros(pixels, cells)
    weights.scatter_add_(1, before[:, None], 1 - share[:, None])
    weights.scatter_add_(1, (before + 1).clamp(max=cells - 1)[:, None], share[:, None])
    return weights


def to_pixels(
    squares: Sequence[Image], mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> Tensor:
    """Letterboxed (S, S, 3) uint8 images -> normalised (B, 3, S, S) float32, by channel means and deviations."""
    pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255
    means, deviations = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return (pixels - means) / deviations


class VisionEncoder(nn.Module):
    """The frozen encoder: hidden states of chosen layers, without the tokens that stand for no patch.

    Args:
        backbone: Any transformers vision model whose output has ``hidden_states`` (B, tokens, channels), patches last.
        layers: Index into ``hidden_states`` for each scale, coarse (deepest) first.
        patches: How many patches a square has.
    """

    def __init__(self, backbone: nn.Module, layers: tuple[int, ...], patches: int) -> None:
        super().__init__()
        self.backbone, self.layers, self.patches = backbone, layers, patches
        backbone.requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, scales, patches, channels); never a gradient.

        Raises:
            ValueError: If the hidden states are not patches in a row.
        """
        with torch.no_grad():
            states = self.backbone(pixels, output_hidden_states=True).hidden_states
        chosen = [states[layer] for layer in self.layers]
        for state in chosen:  # class and register tokens lead, where there are any
            if state.ndim != 3 or state.shape[1] < self.patches:
                raise ValueError(
                    f"the vision model gives hidden states of shape {tuple(state.shape)}, expected (images, "
                    f"{self.patches} patches, channels); choose a plain vision transformer"
                )
        return torch.stack([state[:, -self.patches :] for state in chosen], dim=1)
