from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import pytest
import torch
from torch import nn
from transformers import DynamicCache

from geopix.model.configuration import GeoPixConfig
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora, branching
from geopix.model.mask_decoder import LARGEST_LOGIT
from geopix.records import Turn
from tests.tiny_model import GROUP, tiny_geopix


def test_a_batch_equals_single_calls() -> None:
    model, _ = tiny_geopix()
    features = torch.randn(3, 2, 16, 32)
    embeddings = torch.randn(3, 4, GROUP, 48)
    together = model.predict_masks(model.see_features(features), embeddings)
    for image in range(3):
        seen = model.see_features(features[image : image + 1])
        for target in range(4):
            alone = model.predict_masks(seen, embeddings[image : image + 1, target : target + 1])
            assert alone.iou is not None
            assert together.iou is not None
            assert torch.allclose(alone.logits[0, 0], together.logits[image, target], atol=1e-5)
            assert torch.allclose(alone.iou[0, 0], together.iou[image, target], atol=1e-5)


def test_the_encoder_is_frozen_and_drops_the_class_token() -> None:
    model, _ = tiny_geopix()
    features = model.encoder(torch.randn(2, 3, 56, 56))
    assert features.shape == (2, 2, 16, 32)
    assert not features.requires_grad
    assert not any(p.requires_grad for p in model.encoder.parameters())


def test_the_language_model_sees_only_the_past() -> None:
    model, _ = tiny_geopix()
    ids = torch.randint(0, 200, (1, 9))
    changed = ids.clone()
    changed[0, 6] += 1
    before, after = (model.language(model.language.embed(one)) for one in (ids, changed))
    assert torch.allclose(before[:, :6], after[:, :6], atol=1e-6)
    assert not torch.allclose(before[:, 6:], after[:, 6:], atol=1e-3)


def test_left_padding_changes_nothing() -> None:
    model, _ = tiny_geopix()
    ids = torch.randint(0, 200, (1, 7))
    plain = model.language(model.language.embed(ids), torch.ones(1, 7, dtype=torch.long))
    padded = torch.cat([torch.zeros(1, 5, dtype=torch.long), ids], dim=1)
    mask = torch.tensor([[0] * 5 + [1] * 7])
    shifted = model.language(model.language.embed(padded), mask)[:, 5:]
    assert torch.allclose(plain, shifted, atol=1e-5)


def test_dialogues_that_share_an_image_read_as_each_does_alone() -> None:
    model, _ = tiny_geopix()
    beginning, one, other = (torch.randint(0, 200, (1, n)) for n in (5, 4, 6))
    padding = torch.full((1, 3), 7)
    branches = torch.tensor([[0] * 5 + [1] * 4 + [2] * 6 + [-1] * 3])
    positions = torch.tensor([[*range(5), *range(5, 9), *range(5, 11), 0, 0, 0]])
    together = torch.cat([beginning, one, other, padding], dim=1)
    hidden = model.language(model.language.embed(together), branching(branches), positions=positions)
    assert torch.isfinite(hidden).all()
    for places, words in ((slice(5, 9), one), (slice(9, 15), other)):
        alone = model.language(model.language.embed(torch.cat([beginning, words], dim=1)))
        assert torch.allclose(hidden[:, :5], alone[:, :5], atol=1e-5)
        assert torch.allclose(hidden[:, places], alone[:, 5:], atol=1e-5)


def test_what_the_cells_say_reaches_the_image_tokens_once_it_is_trained() -> None:
    plain_model, _ = tiny_geopix()
    assert plain_model.multimodal_projector.relations is None
    config = cast(GeoPixConfig, plain_model.config)
    config.relations_in_words = True
    model = GeoPixModel(config).eval()
    features = torch.randn(2, 2, 16, 32)
    plain = model.multimodal_projector(features[:, 0])
    assert torch.equal(model.see_features(features).tokens, plain)
    assert model.multimodal_projector.relations is not None
    model.multimodal_projector.relations[2].bias.data.fill_(0.5)
    assert torch.allclose(model.see_features(features).tokens, plain + 0.5)
    assert model.see_features(features).tokens.shape == (2, 4, 48)


def test_a_cache_equals_reading_everything_again() -> None:
    model, _ = tiny_geopix()
    ids = torch.randint(0, 200, (1, 12))
    whole = model.language(model.language.embed(ids))
    cache = DynamicCache()
    pieces = [model.language(model.language.embed(ids[:, a:b]), cache=cache) for a, b in ((0, 5), (5, 6), (6, 12))]
    assert torch.allclose(torch.cat(pieces, dim=1), whole, atol=1e-5)


def test_segmentation_embeddings_are_the_states_that_predict_the_tokens() -> None:
    model, dialogue = tiny_geopix()
    turn = Turn("Segment the ship and the bridge.", "<p> the ship[SEG], <p> the bridge[SEG].", "segment", (0, 1))
    encoded = dialogue.encode([turn], with_image=False)
    hidden = torch.arange(len(encoded.ids)).float()[None, :, None].expand(1, -1, 48)
    found = model.segmentation_embeddings(hidden, torch.tensor([encoded.groups]))
    for target, first in enumerate(encoded.groups):
        assert encoded.ids[first : first + GROUP] == list(dialogue.group_ids)
        assert found[0, target, :, 0].tolist() == list(range(first - 1, first + GROUP - 1))


def test_image_tokens_take_their_places_in_order() -> None:
    model, dialogue = tiny_geopix()
    ids = torch.tensor([[5, dialogue.image_id, dialogue.image_id, dialogue.image_id, dialogue.image_id, 7]])
    tokens = torch.randn(1, 4, 48)
    assert torch.equal(model.language.embed(ids, tokens)[0, 1:5], tokens[0])
    with pytest.raises(ValueError, match="4 image places"):
        model.language.embed(ids, tokens[:, :3])


def test_only_adapters_and_new_rows_train_in_the_language_model() -> None:
    model, dialogue = tiny_geopix()
    llm = add_lora(model.language.causal, rank=2, alpha=4, dropout=0.0, new_ids=dialogue.new_ids)
    trainable = {name.split(".")[-3 if "lora" in name else -2] for name, p in llm.named_parameters() if p.requires_grad}
    assert trainable == {"lora_A", "lora_B", "trainable_tokens_delta"} or all(
        "lora_" in name or "trainable_tokens" in name for name, p in llm.named_parameters() if p.requires_grad
    )
    assert sum("trainable_tokens" in name for name, _ in llm.named_parameters()) == 1  # the head is tied
    touched = {name.split("self_attn.")[1].split(".")[0] for name, _ in llm.named_parameters() if "lora_" in name}
    assert touched == {"q_proj", "v_proj"}


def test_save_and_load(tmp_path: Path) -> None:
    model, _ = tiny_geopix()
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"config.json", "model.safetensors"}
    loaded: Any = GeoPixModel.from_pretrained(tmp_path, output_loading_info=True)
    again, found = loaded
    assert not any(found.values()), found
    pixels, embeddings = torch.randn(1, 3, 56, 56), torch.randn(1, 2, GROUP, 48)
    with torch.no_grad():
        ours, theirs = (m.eval().predict_masks(m.see(pixels), embeddings).logits for m in (model, again))
    assert torch.equal(ours, theirs)


def test_a_folded_model_saves_and_loads(tmp_path: Path) -> None:
    model, _ = tiny_geopix()
    model.mask_predictor.fold()
    model.config.memory["folded"] = True
    model.save_pretrained(tmp_path)
    loaded: Any = GeoPixModel.from_pretrained(tmp_path, output_loading_info=True)
    again, found = loaded
    assert not any(found.values()), found
    with torch.no_grad():
        seen = model.see_features(torch.randn(1, 2, 16, 32))
    embeddings = torch.randn(1, 2, GROUP, 48)
    with torch.no_grad():
        assert torch.equal(
            model.predict_masks(seen, embeddings).logits, again.eval().predict_masks(seen, embeddings).logits
        )


@torch.no_grad()
@pytest.mark.parametrize("n_targets", [0, 1, 300])
@pytest.mark.parametrize("fusion", ["conv3d", "none"])
def test_any_number_of_targets(n_targets: int, fusion: str) -> None:
    model, _ = tiny_geopix(fusion=fusion)
    seen = model.see_features(torch.randn(2, 2, 16, 32))
    embeddings = torch.randn(2, n_targets, GROUP, 48)
    out = model.predict_masks(seen, embeddings, torch.full((2, n_targets), 10))
    assert out.logits.shape == (2, n_targets, 16, 16)
    assert torch.isfinite(out.logits).all()
    assert out.iou is not None
    assert out.iou.shape == (2, n_targets)
    if n_targets:
        last = model.predict_masks(seen, embeddings[:, -1:], torch.full((2, 1), 10))
        torch.testing.assert_close(out.logits[:, -1:], last.logits, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("sure", [1.0, 6e4, -6e4])
@pytest.mark.parametrize("mask_path", ["geopix", "released"])
def test_a_mask_too_sure_for_half_precision_stays_a_number(
    mask_path: Literal["geopix", "released"], sure: float
) -> None:
    settings = {**tiny_geopix()[0].config.to_dict(), "mask_path": mask_path, "mask_side": 4}
    torch.manual_seed(0)
    model = GeoPixModel(GeoPixConfig(**settings)).eval()
    heads = [module for name, module in model.mask_predictor.named_modules() if name.endswith("hyper.2")]
    assert len(heads) == (2 if mask_path == "geopix" else 1)
    for head in heads:  # what the cells' features are multiplied by
        cast(nn.Linear, head).weight.zero_()
        cast(nn.Linear, head).bias.fill_(sure)
    cast(nn.Module, model).half()
    out = model.predict_masks(model.see_features(torch.randn(1, 2, 16, 32).half()), torch.randn(1, 3, GROUP, 48))
    assert out.by_scale[0].dtype == torch.float16
    assert torch.isfinite(out.logits).all()
    largest = max(float(mask.abs().max()) for mask in out.by_scale)
    assert (largest == LARGEST_LOGIT) == (abs(sure) > 1)  # would have been infinite


def test_where_the_head_is_not_tied_its_new_rows_train_too() -> None:
    model, dialogue = tiny_geopix()
    causal = model.language.causal
    causal.config.tie_word_embeddings, causal.all_tied_weights_keys = False, {}
    causal.lm_head.weight = torch.nn.Parameter(causal.lm_head.weight.detach().clone())
    model.language.llm = add_lora(causal, rank=2, alpha=4, dropout=0.0, new_ids=dialogue.new_ids)
    rows = {name: p for name, p in model.language.llm.named_parameters() if "trainable_tokens_delta" in name}
    assert len(rows) == 2
    hidden = torch.randn(3, 48)
    before = model.language.words(hidden).detach()
    head = next(parameter for name, parameter in rows.items() if "lm_head" in name)
    model.language.words(hidden)[:, list(dialogue.new_ids)].sum().backward()
    assert head.grad is not None
    with torch.no_grad():
        head.add_(1)
    changed = (model.language.words(hidden) - before).abs().amax(dim=0) > 1e-4
    assert set(changed.nonzero()[:, 0].tolist()) == set(dialogue.new_ids)
