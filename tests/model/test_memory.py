"""The memory must matter: these tests fail where it stops doing so (Eq. 1-3)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from geopix.losses import mask_loss
from geopix.model.geopix import GeoPixModel, Seen
from geopix.model.memory import Fusion, MemoryBank
from tests.tiny_model import GROUP, tiny_geopix


def _fill(model: GeoPixModel) -> None:
    bank = model.mask_predictor.memory.bank
    assert bank is not None
    torch.nn.init.normal_(bank)


def _inputs(n_images: int = 2, n_targets: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    features = torch.randn(n_images, 2, 16, 32, generator=draw)
    return features, torch.randn(n_images, n_targets, GROUP, 48, generator=draw)


@pytest.mark.parametrize("fusion", ["argmax", "conv2d", "conv3d"])
def test_another_class_gives_another_mask(fusion: Fusion) -> None:
    model, _ = tiny_geopix(fusion=fusion)
    _fill(model)
    features, embeddings = _inputs()
    seen = model.see_features(features)
    ships, bridges = (model.predict_masks(seen, embeddings, torch.full((2, 3), class_id)).logits for class_id in (1, 8))
    assert (ships - bridges).abs().max() > 1e-3


@pytest.mark.parametrize("fusion", ["argmax", "conv2d", "conv3d"])
def test_gradients_reach_the_cells_of_the_batch_and_no_other(fusion: Fusion) -> None:
    model, _ = tiny_geopix(fusion=fusion)
    model.train()
    features, embeddings = _inputs()
    class_ids = torch.tensor([[1, 8, 1], [8, 1, 1]])
    out = model.predict_masks(model.see_features(features), embeddings, class_ids)
    mask_loss(out.logits.flatten(0, 1), torch.rand(6, 16, 16), 2.0, 0.5).backward()
    bank = model.mask_predictor.memory.bank
    assert bank is not None
    assert bank.grad is not None
    touched = bank.grad.abs().amax(dim=(2, 3, 4, 5)) > 0  # (classes, scales)
    assert touched[[1, 8]].all()
    assert not touched[[index for index in range(11) if index not in (1, 8)]].any()
    predictor = model.mask_predictor
    for scale in range(2):
        attention: Any = predictor.attention[scale]
        for part in (
            predictor.memory_encoders[scale],  # I(m_init)
            attention.self_attention,  # SA
            attention.cross_attention,  # CA
        ):
            # A key's bias moves every score of a query alike, so the softmax takes its gradient away.
            grads = [p.grad for name, p in part.named_parameters() if not name.endswith("key.bias")]
            assert all(grad is not None and grad.abs().max() > 0 for grad in grads)
        assert attention.memory_gain.grad != 0  # alpha
    beta = predictor.scale_weights.grad
    assert beta is not None
    assert beta.all()


@pytest.mark.parametrize("fusion", ["argmax", "conv2d", "conv3d"])
def test_folded_equals_unfolded(fusion: Fusion) -> None:
    model, _ = tiny_geopix(fusion=fusion)
    bank = model.mask_predictor.memory
    model.train()
    for _ in range(3):  # batch norm's running statistics away from their start
        bank(torch.softmax(torch.randn(5, 11), dim=1), 0)
    model.eval()
    features, embeddings = _inputs()
    seen = model.see_features(features)
    before = model.predict_masks(seen, embeddings).logits
    bank.fold()
    assert bank.bank is None
    assert torch.allclose(model.predict_masks(seen, embeddings).logits, before, atol=1e-5)


def test_no_gain_no_effect() -> None:
    model, _ = tiny_geopix()
    attentions: Any = model.mask_predictor.attention
    for attention in attentions:
        torch.nn.init.zeros_(attention.memory_gain)
    _fill(model)
    features, embeddings = _inputs()
    seen = model.see_features(features)
    ships, bridges = (model.predict_masks(seen, embeddings, torch.full((2, 3), class_id)).logits for class_id in (1, 8))
    assert torch.equal(ships, bridges)


def test_the_mixture_is_linear_in_the_class_query() -> None:
    torch.manual_seed(0)
    bank = MemoryBank(5, 2, 8, 16, 3, "conv3d").eval()
    assert bank.bank is not None
    torch.nn.init.normal_(bank.bank)
    one, other = torch.eye(5)[[0]], torch.eye(5)[[3]]
    mixed = bank(0.25 * one + 0.75 * other, 1)
    assert torch.allclose(mixed, 0.25 * bank(one, 1) + 0.75 * bank(other, 1), atol=1e-6)
    assert not torch.allclose(bank(one, 0), bank(one, 1))  # Q_l matters too


def test_class_query_mixes_the_most_likely_and_obeys_a_name() -> None:
    model, _ = tiny_geopix()
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.125, 0.0625] + [0.0625 / 7] * 7]))
    predicted = model.mask_predictor.class_query(logits, None)
    assert torch.allclose(predicted[0, :4], torch.tensor([4.0, 2.0, 1.0, 0.0]) / 7)
    named = model.mask_predictor.class_query(logits, torch.tensor([9]))
    assert named[0].tolist() == [0.0] * 9 + [1.0, 0.0]


@pytest.mark.parametrize(("fusion", "count"), [("argmax", 0), ("conv2d", 2723), ("conv3d", 2723)])
def test_parameters_of_table_ix(fusion: Fusion, count: int) -> None:
    bank = MemoryBank(2, 1, 64, 4, 2, fusion)
    assert sum(p.numel() for p in (bank.fuse.parameters() if bank.fuse is not None else ())) == count


def test_without_a_memory_the_mask_is_still_refined() -> None:
    model, _ = tiny_geopix(fusion="none")
    features, embeddings = _inputs()
    out = model.predict_masks(Seen(features[:, 0], *model.see_scales(features)), embeddings)
    assert not torch.equal(out.by_scale[0], out.initial[0])
