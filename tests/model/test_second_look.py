"""Words look at the image a second time: what is said may change by it, what is drawn may not."""

from __future__ import annotations

import pytest
import torch

from geopix.model.second_look import SecondLook
from tests.test_assistant import natural, picture
from tests.tiny_model import GROUP, tiny_geopix


def opened(seed: int = 0) -> SecondLook:
    """One that has learned to add something."""
    torch.manual_seed(seed)
    look = SecondLook(channels=64, hidden=48, inner=32, heads=2)
    torch.nn.init.normal_(look.out.weight)
    return look


def test_before_training_it_changes_nothing() -> None:
    model, _ = tiny_geopix(second_look=True)
    hidden, seen = torch.randn(2, 5, 48), model.see_features(torch.randn(2, 2, 16, 32))
    assert torch.equal(model.look_again(hidden, seen), hidden)


def test_without_it_nothing_is_kept_of_the_features() -> None:
    model, _ = tiny_geopix()
    hidden, seen = torch.randn(2, 5, 48), model.see_features(torch.randn(2, 2, 16, 32))
    assert seen.features is None
    assert model.look_again(hidden, seen) is hidden


@pytest.mark.parametrize("words", [1, 100])  # few look at many cells, or all are projected
def test_every_word_looks_for_itself_at_its_own_image(words: int) -> None:
    look = opened()
    hidden, features = torch.randn(3, words, 48), torch.randn(3, 2, 16, 32)
    together = look(hidden, features)
    for image in range(3):
        for place in (0, words - 1):
            alone = look(hidden[image : image + 1, place : place + 1], features[image : image + 1])
            torch.testing.assert_close(together[image, place], alone[0, 0], rtol=0, atol=1e-4)


def test_what_is_added_depends_on_the_image_and_on_what_is_asked() -> None:
    look = opened()
    hidden, features = torch.randn(1, 2, 48), torch.randn(2, 2, 16, 32)
    one, other = (look(hidden, image[None]) - hidden for image in features)
    assert (one - other).abs().max() > 0.1  # of one question, two images
    assert (one[0, 0] - one[0, 1]).abs().max() > 0.1  # of one image, two questions


def test_it_reads_every_scale_and_not_where_a_cell_stands() -> None:
    look = opened()
    hidden, features = torch.randn(1, 2, 48), torch.randn(1, 2, 16, 32)
    said = look(hidden, features)
    torch.testing.assert_close(look(hidden, features[:, :, torch.randperm(16)]), said, rtol=0, atol=1e-5)
    for scale in range(2):
        changed = features.clone()
        changed[:, scale] = torch.randn(1, 16, 32)
        assert (look(hidden, changed) - said).abs().max() > 0.1


def test_half_precision_stays_half_precision() -> None:
    look = opened().bfloat16()
    hidden, features = torch.randn(1, 2, 48).bfloat16(), torch.randn(1, 2, 16, 32).bfloat16()
    assert look(hidden, features).dtype == torch.bfloat16


def test_masks_know_nothing_of_it() -> None:
    model, _ = tiny_geopix(second_look=True)
    seen = model.see_features(torch.randn(1, 2, 16, 32))
    model.predict_masks(seen, torch.randn(1, 2, GROUP, 48)).logits.sum().backward()
    assert model.second_look is not None
    assert all(parameter.grad is None for parameter in model.second_look.parameters())


def test_an_answer_is_chosen_by_it() -> None:
    guide = natural(longest=20, second_look=True)
    with_it = guide.ask("What is there?").text
    guide.model.second_look = None
    guide.set_image(picture())
    assert guide.ask("What is there?").text != with_it
