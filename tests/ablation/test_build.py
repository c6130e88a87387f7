"""Every row's model builds, and all of them begin by one rule."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from geopix.ablation.build import FRESH, build, parameters_of_fusion
from geopix.ablation.plan import Design
from geopix.config import Stage
from geopix.model.geopix import Seen
from geopix.train.answers import digest
from tests.tiny_ablation import ROWS, Tiny, plan_of

DESIGNS = [name for name, row in ROWS.items() if "design" in row and name != "attention"]


@pytest.mark.parametrize("name", DESIGNS)
def test_what_no_row_changes_is_the_models_and_the_rest_is_new(tiny: Tiny, name: str) -> None:
    model = build(tiny.model, tiny.dialogue, plan_of().design_of(name), 3)
    again = build(tiny.model, tiny.dialogue, plan_of().design_of(name), 3)
    other = build(tiny.model, tiny.dialogue, plan_of().design_of(name), 4)
    theirs = tiny.model.state_dict()
    drawn = 0
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key
        if not key.startswith(("mask_predictor.", "scale_projectors.")):
            assert torch.equal(tensor, theirs[key]), key
        elif FRESH.match(key):
            if tensor.ndim > 1 and tensor.dtype.is_floating_point:
                drawn += 1
                assert not torch.equal(tensor, other.state_dict()[key]), key
                assert key not in theirs or not torch.equal(tensor, theirs[key]), key
        elif not name.startswith("lisa"):
            assert torch.equal(tensor, theirs[key]), key
    assert drawn > 5
    trained = {key.split(".")[0] for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"mask_predictor", "scale_projectors"}


@pytest.mark.parametrize(("kind", "scale"), [("coarse", 0), ("fine", 1)])
def test_one_token_is_the_first_of_many(tiny: Tiny, kind: Literal["coarse", "fine"], scale: int) -> None:
    model = build(tiny.model, tiny.dialogue, Design(fusion="none", one_token=kind), 0)
    own, theirs = model.trainable_predictor, tiny.model.trainable_predictor
    assert own.pointer is not None
    assert theirs.pointer is not None
    hidden = model.language.hidden
    name = "query.0.weight"
    assert torch.equal(own.pointer.state_dict()[name], theirs.pointer.state_dict()[name][:, :hidden])
    assert torch.equal(own.scale_tokens, theirs.scale_tokens[:1])
    for key, tensor in theirs.decoders[scale].state_dict().items():
        assert torch.equal(own.decoders[0].state_dict()[key], tensor)
    features = torch.randn(1, 2, 16, 32)
    scales, scene = model.see_scales(features)
    seen = Seen(features, scales, scene)
    assert model.predict_masks(seen, torch.randn(1, 3, 1, hidden)).logits.shape == (1, 3, 8 << scale, 8 << scale)
    assert scene is not None
    fine = tiny.model.see_scales(features)[1]
    assert fine is not None
    assert torch.equal(scene.described, fine.described)


def test_a_full_row_trains_a_language_model_of_its_own(tiny: Tiny) -> None:
    before = digest(tiny.model)
    stage = Stage.model_validate({"name": "f", "sources": {"a": 1}, "steps": 1, "lora_rank": 2})
    model = build(tiny.model, tiny.dialogue, Design(capacity=4), 0, stage)
    assert any("lora_" in key and parameter.requires_grad for key, parameter in model.named_parameters())
    assert digest(tiny.model) == before
    assert digest(model) != before


def test_the_parameters_that_table_ix_counts(tiny: Tiny) -> None:
    counts = {}
    for capacity in (32, 64):
        counts[capacity] = parameters_of_fusion(build(tiny.model, tiny.dialogue, Design(capacity=capacity), 0))
    assert counts == {32: 723, 64: 2723}
    assert parameters_of_fusion(build(tiny.model, tiny.dialogue, Design(fusion="none"), 0)) == 0
