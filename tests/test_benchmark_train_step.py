"""The training benchmark compares like with like: its rows have the same losses for the same questions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks import train_step
from benchmarks.plain_step import losses_of, one_by_one
from benchmarks.train_step import LADDER
from geopix.dialogue import Dialogue
from geopix.model.attention import Attention
from geopix.model.geopix import GeoPixModel
from geopix.model.memory import FoldingMemory
from geopix.train.batches import Batch
from geopix.train.step import total_loss
from tests.tiny_model import tiny_geopix

STAGE = train_step.stage_of(images=3, dialogues=4)


@pytest.fixture
def made() -> tuple[GeoPixModel, Dialogue, Batch, Tensor]:
    model, dialogue = tiny_geopix()
    train_step.prepare(model, dialogue, STAGE)
    return model, dialogue, *train_step.questions(model, dialogue, STAGE)


def test_every_row_has_the_same_losses_and_gradients(made: tuple[GeoPixModel, Dialogue, Batch, Tensor]) -> None:
    model, dialogue, pool, pixels = made
    memory = model.trainable_predictor.memory
    assert isinstance(memory, FoldingMemory)
    memory.fusion.eval()  # its batch norm sees places without a target, too, and some rows have more
    batch = train_step.rows_of(pool, [0, 2])
    attention = Attention.forward
    found: dict[str, dict[str, float]] = {}
    gradients: dict[str, dict[str, Tensor]] = {}
    for name, levers in LADDER.items():
        losses = losses_of(model, batch, pixels[[0, 2]], STAGE, levers, dialogue.end_id)
        total_loss(losses, STAGE).backward()
        found[name] = {key: float(value.detach()) for key, value in losses.items()}
        gradients[name] = {
            key: parameter.grad.to_dense() for key, parameter in model.named_parameters() if parameter.grad is not None
        }
        model.zero_grad(set_to_none=True)
    assert Attention.forward is attention
    plain = found["plain"]
    assert set(plain) == {"word", "relation", "mask", "pointer", "iou", "class_query", "mask_iou"}
    assert plain["mask"] > 0.1
    for name in LADDER:
        assert found[name] == pytest.approx(plain, rel=2e-4, abs=1e-5), name
        assert gradients[name].keys() <= gradients["plain"].keys()
        for key, gradient in gradients["plain"].items():  # a key's bias has none: the softmax takes it away
            ours = gradients[name].get(key, torch.zeros_like(gradient))
            torch.testing.assert_close(ours, gradient, rtol=5e-3, atol=2e-5)


def test_the_rows_differ_by_one_lever_and_the_last_has_all() -> None:
    rows = [vars(levers) for levers in LADDER.values()]
    assert [sum(row.values()) for row in rows] == list(range(len(rows)))
    assert all(rows[-1].values())


def test_one_by_one_every_question_is_there_with_its_targets(
    made: tuple[GeoPixModel, Dialogue, Batch, Tensor],
) -> None:
    _, dialogue, pool, _ = made
    alone, images = one_by_one(pool, dialogue.end_id)
    assert images == [0] * 4 + [1] * 4 + [2] * 4
    assert alone.ids is not None
    assert alone.answers is not None
    assert alone.groups is not None
    assert pool.answers is not None
    assert int(alone.present.sum()) == int(pool.present.sum()) > 3
    assert int(alone.answers.sum()) == int(pool.answers.sum())
    assert ((alone.ids == dialogue.image_id).sum(dim=1) == dialogue.image_tokens).all()
    assert (alone.ids[torch.arange(12)[:, None], alone.groups][alone.present] == dialogue.group_ids[0]).all()


def test_rows_are_no_longer_than_they_need_be(made: tuple[GeoPixModel, Dialogue, Batch, Tensor]) -> None:
    _, _, pool, _ = made
    lengths = train_step.lengths_of(pool)
    for row in range(3):
        one = train_step.rows_of(pool, [row])
        assert one.ids is not None
        assert one.ids.shape == (1, lengths[row])
        assert one.present.all() or not one.present.any()
    assert train_step.batches_of(pool, 2) == [[0, 1], [2]]


def test_padding_is_what_nothing_stands_in() -> None:
    assert train_step.padding([30, 10, 31], [[0, 1], [2]]) == pytest.approx(1 - 71 / (60 + 31))
