"""Words said of whole images: those that tell images apart, and how an image shares them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geopix.classes import ClassVocabulary
from geopix.config import Stage
from geopix.records import Turn
from geopix.train.batches import Sampler
from geopix.train.phrases import ToldWords, class_words
from tests.tiny_model import tiny_geopix
from tests.tiny_store import CAPTIONED, WINDOWS, tiny_store

SAID = [("a b", "x"), ("a b", "x"), ("a c", "y"), ("a d", "x"), ("a e", "z"), ("a f", "z")]
"""The tiny tokenizer knows letters: a caption and an answer for each of six images."""


def test_words_that_tell_images_apart_are_shared_the_rarer_the_more(tmp_path: Path) -> None:
    model, dialogue = tiny_geopix()
    images = [
        replace(CAPTIONED, captions=(f"{caption.upper()} .",), turns=(Turn("Where?", answer, "vqa"),))
        for caption, answer in SAID
    ]
    store = tiny_store(tmp_path, model, [*images, WINDOWS[0]])
    told = ToldWords.of_stores([store], dialogue, fewest=1)
    assert told is not None

    def letter(one: str) -> int:
        return int(dialogue.tokenizer(one, add_special_tokens=False).input_ids[0])

    assert set(told.weights) == {letter(one) for one in "bcdefyz"}  # all say "a", half "x"
    shares = dict(zip(told.weights, told.shares(store.facts[2]).tolist(), strict=True))
    assert shares[letter("c")] == shares[letter("y")] == pytest.approx(0.5)
    assert told.weights[letter("c")] > told.weights[letter("b")]
    assert told.shares(store.facts[-1]).sum() == 0  # of a window with objects nothing was said
    words = class_words(model, dialogue, ("ship",), told.weights)
    assert len(words) == 2 + len(told.weights)
    first = model.language.embed(torch.tensor([[next(iter(told.weights))]]))[0, 0]
    torch.testing.assert_close(words[2], first.float())


def test_the_projectors_stage_sees_images_of_which_only_words_are_known(tmp_path: Path) -> None:
    model, dialogue = tiny_geopix()
    store = tiny_store(tmp_path, model, [CAPTIONED, *WINDOWS])
    stage = Stage(name="read", language="words", sources={"all": 1}, steps=1, images=40, seed=1)
    assert ToldWords.of_stores([store], dialogue, fewest=1) is None  # nothing tells one image from no other
    told = ToldWords({5: 1.0, 6: 2.0}, dialogue)
    vocabulary = ClassVocabulary(tuple(model.config.class_names))
    batch = Sampler(stage, {"all": store}, vocabulary, dialogue, model.config.grid_side, told.shares).batch(0)
    assert any(name.endswith(": captioned") for name in batch.names)
    assert batch.told is not None
    assert batch.told.shape == (40, len(told.weights))
    assert not batch.present.any()
    silent = Sampler(stage, {"all": store}, vocabulary, dialogue, model.config.grid_side).batch(0)
    assert not any(name.endswith(": captioned") for name in silent.names)
    assert silent.told is None
