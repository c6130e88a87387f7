"""The mask decoder: quarters in their places, and a shared image like one of a target's own."""

from __future__ import annotations

import torch

from geopix.model.attention import repeated
from geopix.model.mask_decoder import MaskDecoder, quarters_to_grid


def test_quarters_of_quarters_form_the_grid() -> None:
    # Four cells, each of four quarters: 0 to 3 lie in the upper left cell, 4 to 7 right of it.
    once = quarters_to_grid(torch.arange(16.0)[None], n_cells=4, doublings=1)
    assert once[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    # One cell, doubled twice: each quarter's quarters lie together.
    assert torch.equal(quarters_to_grid(torch.arange(16.0)[None], n_cells=1, doublings=2), once)


def test_an_image_that_targets_share_is_as_good_as_their_own() -> None:
    torch.manual_seed(0)
    decoder = MaskDecoder(width=32, heads=1, blocks=2, doublings=2).eval()
    shared, position, prompts = torch.randn(2, 9, 32), torch.randn(9, 32), torch.randn(6, 3, 32)
    with torch.no_grad():
        masks, ious = decoder(shared, position, prompts)
        own_masks, own_ious = decoder(repeated(shared, 6), position, prompts)
    assert masks.shape == (6, 12, 12)
    assert ious.shape == (6,)
    torch.testing.assert_close(masks, own_masks)
    torch.testing.assert_close(ious, own_ious)
    assert not torch.allclose(masks[0], masks[3])  # the first three targets see the first image, the others the second
