"""The letterbox there and back, to under a pixel of the image, for every shape of image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from geopix.model import encoder as module
from geopix.model.encoder import IMAGENET_MEAN, Letterbox, to_pixels
from geopix.records import Image, Mask
from tests.tiny_model import tiny_geopix

SIDE, CELLS = 336, 96
SHAPES = [(336, 336), (84, 336), (336, 84), (400, 1600), (1600, 400), (333, 517), (61, 97), (1001, 250), (97, 97)]


def rectangle(size_hw: tuple[int, int]) -> tuple[Mask, tuple[int, int, int, int]]:
    """A mask that fills rows top to bottom and columns left to right, at odd places."""
    height, width = size_hw
    top, bottom, left, right = height // 5 + 1, 3 * height // 4, width // 7 + 2, 2 * width // 3 + 1
    mask = np.zeros(size_hw, dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask, (top, bottom, left, right)


def square_of(mask: Mask, box: Letterbox) -> Tensor:
    """What a perfect model would say of a mask: the share of every cell it covers, as logits, 0 for one half."""
    (top, left), (inner_h, inner_w) = box.offset_yx, box.inner_hw
    edges = torch.arange(box.side * 4).add(0.5) / 4
    rows = ((edges - top) / inner_h * box.size_hw[0]).floor().long()
    columns = ((edges - left) / inner_w * box.size_hw[1]).floor().long()
    inside = ((rows >= 0) & (rows < box.size_hw[0]))[:, None] & ((columns >= 0) & (columns < box.size_hw[1]))
    known = torch.from_numpy(mask)
    drawn = known[rows.clamp(0, box.size_hw[0] - 1)][:, columns.clamp(0, box.size_hw[1] - 1)] & inside
    return functional.adaptive_avg_pool2d(drawn[None].float(), CELLS)[0] - 0.5


@pytest.mark.parametrize("size_hw", SHAPES)
def test_a_mask_comes_back_to_under_a_pixel(size_hw: tuple[int, int]) -> None:
    mask, edges = rectangle(size_hw)
    box = Letterbox(size_hw, SIDE)
    back = box.to_mask(square_of(mask, box))
    assert back.shape == size_hw
    rows, columns = np.flatnonzero(back.any(axis=1)), np.flatnonzero(back.any(axis=0))
    found = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    pixel = max(1.0, max(size_hw) / SIDE)  # of the image, or of the square where that is the coarser one
    for expected, edge in zip(edges, found, strict=True):
        assert abs(float(edge) - expected) <= pixel
    # the border in the middle of an edge: where the two shapes differ, they differ by less than a pixel
    different = (back != mask)[edges[0] + (edges[1] - edges[0]) // 2].sum()
    assert different <= 2 * pixel


@pytest.mark.parametrize("size_hw", SHAPES)
def test_a_ramp_comes_back_exactly(size_hw: tuple[int, int]) -> None:
    box = Letterbox(size_hw, SIDE)
    centres = (torch.arange(CELLS) + 0.5) / CELLS * SIDE
    for axis in (0, 1):
        ramp = centres[:, None].expand(CELLS, CELLS) if axis == 0 else centres.expand(CELLS, CELLS)
        back = box.invert(ramp[None])[0].select(1 - axis, 0)
        inner, offset, size = box.inner_hw[axis], box.offset_yx[axis], size_hw[axis]
        expected = offset + (torch.arange(size) + 0.5) * inner / size
        reach = (expected >= centres[0]) & (expected <= centres[-1])  # beyond the outermost centres there is no slope
        torch.testing.assert_close(back[reach], expected[reach], rtol=0, atol=1e-3)


@pytest.mark.parametrize("size_hw", [(40, 160), (160, 40), (57, 91)])
def test_bands_of_rows_are_the_whole(size_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 24, 24)
    box = Letterbox(size_hw, 56)
    whole = box.invert(logits)
    assert whole.shape == (2, *size_hw)
    bands = [box.invert(logits, slice(top, top + 7)) for top in range(0, size_hw[0], 7)]
    torch.testing.assert_close(torch.cat(bands, dim=1), whole, rtol=0, atol=1e-6)
    mask = box.to_mask(logits[0])
    assert np.array_equal(mask, whole[0].numpy() > 0)
    monkeypatch.setattr(module, "_PIXELS_AT_ONCE", 3 * size_hw[1] + 1)
    assert np.array_equal(box.to_mask(logits[0]), mask)


@pytest.mark.parametrize("size_hw", [(40, 160), (160, 40), (1, 2000), (57, 57)])
def test_a_mask_is_never_empty(size_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    box = Letterbox(size_hw, 56)
    logits = torch.full((24, 24), -9.0)
    logits[0, 0] = logits[23, 23] = 5.0  # in the padding of all but the last
    logits[12, 12] = -1.0
    monkeypatch.setattr(module, "_PIXELS_AT_ONCE", 3 * size_hw[1])
    mask = box.to_mask(logits)
    assert mask.any()
    if size_hw != (57, 57):
        row, column = np.argwhere(mask).mean(axis=0)
        assert mask.sum() == 1
        assert abs((row + 0.5) / size_hw[0] - 0.5) < 0.1
        assert abs((column + 0.5) / size_hw[1] - 0.5) < 0.1


@pytest.mark.parametrize(
    ("size_hw", "inner_hw", "offset_yx"),
    [
        ((1, 2000), (1, 336), (167, 0)),
        ((2000, 1), (336, 1), (0, 167)),
        ((1, 1), (336, 336), (0, 0)),
        ((84, 336), (84, 336), (126, 0)),
        ((1600, 400), (336, 84), (0, 126)),
    ],
)
def test_the_scaled_image_lies_in_the_middle(
    size_hw: tuple[int, int], inner_hw: tuple[int, int], offset_yx: tuple[int, int]
) -> None:
    box = Letterbox(size_hw, SIDE)
    assert box.inner_hw == inner_hw
    assert box.offset_yx == offset_yx
    image: Image = np.full((*size_hw, 3), 255, np.uint8)
    square = box.apply(image)
    assert square.shape == (SIDE, SIDE, 3)
    white = (square == 255).all(axis=-1)
    top, left = offset_yx
    assert white.sum() == inner_hw[0] * inner_hw[1]
    assert white[top : top + inner_hw[0], left : left + inner_hw[1]].all()
    assert box.to_mask(torch.ones(CELLS, CELLS)).shape == size_hw


def test_padding_is_nothing_to_the_encoder() -> None:
    box = Letterbox((10, 56), 56)
    pixels = to_pixels([box.apply(np.zeros((10, 56, 3), np.uint8))])
    assert pixels.shape == (1, 3, 56, 56)
    assert pixels.dtype == torch.float32
    assert pixels[:, :, 0].abs().max() < 0.01  # the mean colour becomes zero
    black = torch.tensor([-mean for mean in IMAGENET_MEAN])
    assert (pixels[0, :, 28, 28].sign() == black.sign()).all()


def test_scales_are_the_chosen_hidden_states() -> None:
    model, _ = tiny_geopix()
    pixels = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        states = model.encoder.backbone(pixels, output_hidden_states=True).hidden_states
    features = model.encoder(pixels)
    for scale, layer in enumerate((3, 2)):
        assert torch.equal(features[:, scale], states[layer][:, 1:])
