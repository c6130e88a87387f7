"""The memory must matter: these tests fail where it stops doing so (Eq. 1-3)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from geopix.losses import mask_loss
from geopix.model.geopix import GeoPixModel, Seen
from geopix.model.mask_predictor import ClassQuery
from geopix.model.memory import AttendingMemory, Bank, FoldedMemory, FoldingMemory, Fusion, make_memory
from tests.tiny_model import GROUP, tiny_geopix

FOLDING: tuple[Fusion, ...] = ("argmax", "conv2d", "conv3d")
ATTENDING: tuple[Fusion, ...] = ("attention", "dual_attention")
ALL = (*FOLDING, *ATTENDING)


def _bank(model: GeoPixModel) -> Bank:
    memory = model.mask_predictor.memory
    assert isinstance(memory, FoldingMemory | AttendingMemory)
    return memory.bank


def _fill(model: GeoPixModel) -> None:
    torch.nn.init.normal_(_bank(model).rows)


def _inputs(n_images: int = 2, n_targets: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    features = torch.randn(n_images, 2, 16, 32, generator=draw)
    return features, torch.randn(n_images, n_targets, GROUP, 48, generator=draw)


@pytest.mark.parametrize("fusion", [*FOLDING, "attention"])
def test_another_class_gives_another_mask(fusion: Fusion) -> None:
    model, _ = tiny_geopix(fusion=fusion)
    _fill(model)
    features, embeddings = _inputs()
    seen = model.see_features(features)
    ships, bridges = (model.predict_masks(seen, embeddings, torch.full((2, 3), class_id)).logits for class_id in (1, 8))
    assert (ships - bridges).abs().max() > 1e-4  # rounding is a thousand times smaller


@pytest.mark.parametrize("fusion", ALL)
def test_gradients_reach_the_cells_of_the_batch_and_no_other(fusion: Fusion) -> None:
    model, _ = tiny_geopix(fusion=fusion)
    model.train()
    features, embeddings = _inputs()
    class_ids = torch.tensor([[1, 8, 1], [8, 1, 1]])
    out = model.predict_masks(model.see_features(features), embeddings, class_ids)
    mask_loss(out.logits.flatten(0, 1), torch.rand(6, 16, 16), 2.0, 0.5).backward()
    gradient = _bank(model).rows.grad
    assert gradient is not None
    assert gradient.is_sparse  # rows of absent classes are not even there
    gradient = gradient.coalesce()
    assert gradient.indices()[0].tolist() == [2 * class_id + scale for class_id in (1, 8) for scale in (0, 1)]
    assert (gradient.values().abs().amax(dim=1) > 0).all()
    predictor = model.trainable_predictor
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


@pytest.mark.parametrize("fusion", FOLDING)
def test_folded_equals_unfolded(fusion: Fusion) -> None:
    model, _ = tiny_geopix(fusion=fusion)
    memory = model.mask_predictor.memory
    assert isinstance(memory, FoldingMemory)
    model.train()
    for _ in range(3):  # batch norm's running statistics away from their start
        memory(torch.softmax(torch.randn(5, 11), dim=1), 0, torch.zeros(5, 4, 32))
    model.eval()
    features, embeddings = _inputs()
    seen = model.see_features(features)
    before = model.predict_masks(seen, embeddings).logits
    model.mask_predictor.fold()
    assert isinstance(model.mask_predictor.memory, FoldedMemory)
    assert torch.allclose(model.predict_masks(seen, embeddings).logits, before, atol=1e-5)


@pytest.mark.parametrize("fusion", ATTENDING)
def test_a_memory_that_looks_at_the_mask_stays_as_it_is(fusion: Fusion) -> None:
    model, _ = tiny_geopix(fusion=fusion)
    model.mask_predictor.fold()
    assert isinstance(model.mask_predictor.memory, AttendingMemory)
    with pytest.raises(ValueError, match="depends on the mask, so its memory can't be folded"):
        make_memory(fusion, 2, 1, 4, 32, 2, folded=True)


@pytest.mark.parametrize("fusion", ATTENDING)
def test_what_it_recalls_depends_on_the_mask(fusion: Fusion) -> None:
    torch.manual_seed(0)
    memory = make_memory(fusion, 3, 2, 4, 32, 2)
    assert isinstance(memory, AttendingMemory)
    torch.nn.init.normal_(memory.bank.rows)
    ones, masks = torch.eye(3)[[1, 1]], torch.randn(2, 4, 32)
    first, second = memory(ones, 0, masks)
    assert (first - second).abs().max() > 1e-3
    other = memory(torch.eye(3)[[2, 2]], 0, masks)  # another class recalls something else
    assert (first - other).abs().max() > 1e-3
    alone = memory(ones[1:], 0, masks[1:])
    assert torch.allclose(alone[0], second, atol=1e-6)  # and on no other target's
    both = memory(torch.tensor([[0.3, 0.7, 0.0]]), 0, masks[:1])
    parts = [memory(torch.eye(3)[[index]], 0, masks[:1]) for index in (0, 1)]
    assert torch.allclose(both, 0.3 * parts[0] + 0.7 * parts[1], atol=1e-6)


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
    memory = make_memory("conv3d", 5, 2, 8, 16, 3)
    assert isinstance(memory, FoldingMemory)
    memory.eval()
    torch.nn.init.normal_(memory.bank.rows)
    one, other, unread = torch.eye(5)[[0]], torch.eye(5)[[3]], torch.zeros(1, 9, 16)
    mixed = memory(0.25 * one + 0.75 * other, 1, unread)
    assert torch.allclose(mixed, 0.25 * memory(one, 1, unread) + 0.75 * memory(other, 1, unread), atol=1e-6)
    assert not torch.allclose(memory(one, 0, unread), memory(one, 1, unread))  # Q_l matters too


def test_class_query_mixes_the_most_likely_and_obeys_a_name() -> None:
    model, _ = tiny_geopix()
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.125, 0.0625] + [0.0625 / 7] * 7]))
    predicted = model.trainable_predictor.class_query(logits, None)
    assert torch.allclose(predicted[0, :4], torch.tensor([4.0, 2.0, 1.0, 0.0]) / 7)
    named = model.trainable_predictor.class_query(logits, torch.tensor([9]))
    assert named[0].tolist() == [0.0] * 9 + [1.0, 0.0]


@pytest.mark.parametrize(
    ("fusion", "count"),
    [("argmax", 0), ("conv2d", 2723), ("conv3d", 2723), ("attention", 532_736), ("dual_attention", 34_627_840)],
)
def test_parameters_of_table_ix(fusion: Fusion, count: int) -> None:
    memory = make_memory(fusion, n_classes=2, n_scales=1, capacity=64, width=64, side=1)
    assert isinstance(memory, FoldingMemory | AttendingMemory)
    assert sum(p.numel() for p in memory.fusion.parameters()) == count


@pytest.mark.parametrize(("query", "alike"), [("mixture", False), ("top-1", False), ("none", True)])
def test_how_the_class_is_asked_for(query: ClassQuery, alike: bool) -> None:
    model, _ = tiny_geopix()
    _fill(model)
    features, embeddings = _inputs()
    seen = model.see_features(features)
    mixed = model.predict_masks(seen, embeddings).logits
    asked = model.predict_masks(seen, embeddings, query=query).logits
    assert torch.equal(asked, mixed) == (query == "mixture")
    named = model.predict_masks(seen, embeddings, torch.full((2, 3), 10), query).logits
    assert torch.equal(named, asked) == alike  # without a memory no class matters


def test_an_absent_class_is_told() -> None:
    model, _ = tiny_geopix()
    features, embeddings = _inputs()
    with pytest.raises(ValueError, match="class 11 of 11"):
        model.predict_masks(model.see_features(features), embeddings, torch.full((2, 3), 11))


def test_an_absurd_bank_is_refused_before_it_is_made() -> None:
    with pytest.raises(ValueError, match=r"11 x 2 x 100000 x 64 x 32 x 32 takes 576.7 GB in float32, and 4.0 are"):
        tiny_geopix(capacity=100_000, width=64, side=32)


def test_without_a_memory_the_mask_is_still_refined() -> None:
    model, _ = tiny_geopix(fusion="none")
    features, embeddings = _inputs()
    out = model.predict_masks(Seen(features[:, 0], *model.see_scales(features)), embeddings)
    assert not torch.equal(out.by_scale[0], out.initial[0])
