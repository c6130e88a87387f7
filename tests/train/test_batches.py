"""Batches: a function of (seed, step), in which every tensor speaks of the same objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from geopix.classes import ClassVocabulary, wordings
from geopix.config import Stage
from geopix.data.mixture import SHARES
from geopix.dialogue import Dialogue
from geopix.records import Sample, Turn
from geopix.train.batches import Batch, Sampler, counted_off, pack
from geopix.train.features import CachedImage, FeatureStore
from tests.tiny import scene
from tests.tiny_model import tiny_geopix
from tests.tiny_store import CAPTIONED, WINDOWS, tiny_store

VOCABULARY = ClassVocabulary()


def stage(**settings: Any) -> Stage:
    return Stage.model_validate({"name": "try", "sources": {"all": 1}, "steps": 9, "images": 5, **settings})


def sampler(
    folder: Path, windows: Sequence[Sample] = WINDOWS, **settings: Any
) -> tuple[Sampler, FeatureStore, Dialogue]:
    model, dialogue = tiny_geopix()
    store = tiny_store(folder, model, windows)
    return Sampler(stage(**settings), {"all": store}, VOCABULARY, dialogue, model.config.grid_side), store, dialogue


def image_of(batch: Batch, row: int, store: FeatureStore) -> CachedImage:
    [found] = [
        image for image in map(store.__getitem__, range(len(store))) if torch.equal(image.features, batch.features[row])
    ]
    return found


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [part for part in (*vars(batch).values(), *vars(batch.cells).values()) if isinstance(part, torch.Tensor)]


@pytest.mark.parametrize("language", ["phrases", "words", "dialogue"])
def test_a_step_always_has_the_same_batch(tmp_path: Path, language: str) -> None:
    one, _, _ = sampler(tmp_path / "one", language=language, seed=3)
    two, _, _ = sampler(tmp_path / "two", language=language, seed=3)
    other, _, _ = sampler(tmp_path / "other", language=language, seed=4)
    two.batch(0)
    ours, theirs = one.batch(7), two.batch(7)
    assert ours.phrases == theirs.phrases
    for tensor, twin in zip(tensors(ours), tensors(theirs), strict=True):
        assert torch.equal(tensor, twin)
    for different in (one.batch(8), other.batch(7)):
        assert not torch.equal(different.features, ours.features) or different.phrases != ours.phrases


def test_phrases_classes_and_masks_mean_the_same_object(tmp_path: Path) -> None:
    sample, store, _ = sampler(tmp_path, language="phrases", targets=6)
    keys = set()
    for step in range(6):
        batch = sample.batch(step)
        assert batch.phrases is not None
        assert batch.ids is None
        assert batch.present.all()
        assert batch.coverage.shape == (5, 6, 96, 96)
        for row in range(5):
            image = image_of(batch, row, store)
            keys.add(image.facts["key"])
            for place, phrase in enumerate(batch.phrases[row]):
                meant = [
                    index
                    for index, instance in enumerate(image.facts["instances"])
                    for words in (*instance["phrases"], counted_off(image.facts, index))
                    if phrase in [words.format(noun) for noun in wordings(instance["class"])]
                ]
                assert len(set(meant)) == 1
                assert torch.equal(batch.coverage[row, place], image.masks[meant[0]].float() / 255)
                name = image.facts["instances"][meant[0]]["class"]
                assert int(batch.class_ids[row, place]) == VOCABULARY.id(name) == VOCABULARY.named_in(phrase)
    assert keys == {"three", "wide", "tall", "crowd"}


def test_groups_point_at_the_first_segmentation_token(tmp_path: Path) -> None:
    sample, store, dialogue = sampler(tmp_path, [*WINDOWS, CAPTIONED], turns=4, targets=7, images=6)
    seen = 0
    for step in range(12):
        batch = sample.batch(step)
        assert batch.phrases is None
        assert batch.ids is not None
        assert batch.branches is not None
        assert batch.positions is not None
        assert batch.answers is not None
        assert batch.groups is not None
        assert batch.groups.shape == batch.present.shape == batch.class_ids.shape
        for row in range(6):
            ids = batch.ids[row]
            places = (ids == dialogue.group_ids[0]).nonzero().flatten()
            assert torch.equal(batch.groups[row][batch.present[row]], places)
            assert (batch.groups[row] > 0).all()
            seen += len(places)
            for place in places:
                assert ids[place : place + 6].tolist() == list(dialogue.group_ids)
                assert batch.answers[row, place : place + 6].all()
            assert int((ids == dialogue.image_id).sum()) == dialogue.image_tokens
            length = int((batch.branches[row] >= 0).sum())
            assert (batch.branches[row, :length] >= 0).all()
            assert batch.positions[row, :length].tolist() == list(range(length))  # one dialogue: nothing is shared
            assert not batch.answers[row, length:].any()
            assert batch.answers[row, length - 1]  # a dialogue ends with the end of an answer
            assert int(ids[length - 1]) == dialogue.end_id
            # what is said of a target is said right before its group, and names its class
            image = image_of(batch, row, store)
            for place, class_id, coverage in zip(places, batch.class_ids[row], batch.coverage[row], strict=False):
                start = int((ids[:place] == dialogue.phrase_id).nonzero()[-1]) + 1
                phrase = dialogue.tokenizer.decode(ids[start:place])
                assert VOCABULARY.named_in(phrase) == int(class_id)
                assert any(torch.equal(coverage, mask.float() / 255) for mask in image.masks)
    assert seen > 30


def test_packed_dialogues_stand_where_each_would_stand_alone() -> None:
    _, dialogue = tiny_geopix()
    turns = [
        [Turn("Segment the ship.", "<p> the ship[SEG].", "segment", (0,))],
        [Turn("How many?", "Two."), Turn("And the bridge?", "<p> the bridge[SEG].", "segment", (1,))],
    ]
    alone = [dialogue.encode(one) for one in turns]
    packed = pack(alone, dialogue.image_id)
    shared = packed.branches.count(0)
    assert packed.ids[:shared] == alone[0].ids[:shared] == alone[1].ids[:shared]
    assert packed.ids[shared - 1] == dialogue.image_id
    assert packed.ids.count(dialogue.image_id) == dialogue.image_tokens
    found = []
    for number, one in enumerate(alone, start=1):
        places = [place for place, branch in enumerate(packed.branches) if branch in (0, number)]
        assert [packed.ids[place] for place in places] == one.ids
        assert [packed.answers[place] for place in places] == one.answers
        assert [packed.positions[place] for place in places] == list(range(len(one.ids)))
        found += [places[group] for group in one.groups]
    assert packed.groups == found


def test_every_image_is_asked_about_in_several_dialogues(tmp_path: Path) -> None:
    sample, store, dialogue = sampler(tmp_path, turns=2, dialogues=4, targets=9)
    batch = sample.batch(0)
    assert batch.ids is not None
    assert batch.branches is not None
    assert batch.groups is not None
    assert ((batch.ids == dialogue.image_id).sum(dim=1) == dialogue.image_tokens).all()
    assert batch.branches.amax(dim=1).tolist() == [3, 4, 4, 2, 4]  # what has no place for its targets is left out
    assert (batch.ids[torch.arange(5)[:, None], batch.groups][batch.present] == dialogue.group_ids[0]).all()
    for row in range(5):
        image = image_of(batch, row, store)
        for coverage in batch.coverage[row][batch.present[row]]:
            assert any(torch.equal(coverage, mask.float() / 255) for mask in image.masks)


def test_an_answer_of_which_only_the_beginning_is_known_ends_its_dialogue(tmp_path: Path) -> None:
    labelled = [replace(scene([], key="labelled"), complete=False, captions=("Water.",), there=("ship",))]
    kinds = {"there": 0.5}
    sample, _, dialogue = sampler(tmp_path, labelled, language="dialogue", questions=kinds, images=1, turns=3)
    begun = 0
    for step in range(20):
        batch = sample.batch(step)
        assert batch.ids is not None
        assert batch.branches is not None
        marks = (batch.ids[0] == dialogue.phrase_id).nonzero()[:, 0].tolist()
        for place in marks:
            branch = batch.branches[0]
            assert place + 1 == len(branch) or branch[place + 1] != branch[place]
        begun += len(marks)
    assert begun > 10
    assert not batch.present.any()


@pytest.mark.parametrize("targets", [1, 2, 3])
def test_more_targets_than_places_are_left_out_and_something_is_always_asked(tmp_path: Path, targets: int) -> None:
    sample, _, dialogue = sampler(tmp_path, WINDOWS[3:], turns=1, targets=targets)
    crowded = 0
    for step in range(20):
        batch = sample.batch(step)
        assert batch.ids is not None
        assert batch.answers is not None
        assert batch.present.shape[1] <= targets
        assert ((batch.ids == dialogue.image_id).sum(dim=1) == dialogue.image_tokens).all()
        assert batch.answers.any(dim=1).all()
        crowded += int(batch.present.sum())
    assert crowded > 0


def test_where_not_everything_is_annotated_emptiness_is_not_taught(tmp_path: Path) -> None:
    sample, store, _ = sampler(tmp_path, language="words", images=8)
    complete = set()
    for step in range(3):
        batch = sample.batch(step)
        classes, owned = batch.cells.classes, batch.cells.owned
        assert classes.shape == owned.shape == (8, 16)
        assert batch.cells.offset.shape == (8, 16, 2)
        for row in range(8):
            facts = image_of(batch, row, store).facts
            complete.add(facts["complete"])
            empty = classes[row][~owned[row]]
            assert len(empty)
            assert (empty == (len(VOCABULARY) if facts["complete"] else -1)).all()
            names = {VOCABULARY.id(instance["class"]) for instance in facts["instances"]}
            assert set(classes[row][owned[row]].tolist()) == names
    assert complete == {True, False}


@pytest.mark.parametrize("language", ["phrases", "words"])
def test_stages_about_objects_pass_over_images_without_any(tmp_path: Path, language: str) -> None:
    sample, store, _ = sampler(tmp_path / "mixed", [CAPTIONED, *WINDOWS], language=language)
    for step in range(5):
        batch = sample.batch(step)
        assert "captioned" not in {image_of(batch, row, store).facts["key"] for row in range(5)}
    with pytest.raises(ValueError, match=f"'all' holds nothing that a stage of {language} can use"):
        sampler(tmp_path / "captions", [CAPTIONED], language=language)


def test_stores_are_drawn_by_their_shares(tmp_path: Path) -> None:
    model, dialogue = tiny_geopix()
    stores = {"a": tiny_store(tmp_path / "a", model, WINDOWS[:1]), "b": tiny_store(tmp_path / "b", model, WINDOWS[1:2])}
    shares = stage(language="phrases", sources={"a": 3, "b": 1}, images=400, targets=1)
    batch = Sampler(shares, stores, VOCABULARY, dialogue, model.config.grid_side).batch(0)
    from_a = sum(torch.equal(features, stores["a"][0].features) for features in batch.features)
    assert 0.68 < from_a / 400 < 0.82


def test_a_dialogue_stage_needs_a_dialogue(tmp_path: Path) -> None:
    model, _ = tiny_geopix()
    silent = Sampler(stage(), {"all": tiny_store(tmp_path, model)}, VOCABULARY, None, model.config.grid_side)
    with pytest.raises(ValueError, match="needs a dialogue"):
        silent.batch(0)


def test_a_stage_says_how_often_each_kind_is_asked(tmp_path: Path) -> None:
    only = dict.fromkeys(SHARES, 0.0) | {"presence": 1.0}
    sample, _, _ = sampler(tmp_path, questions=only)
    assert not any(sample.batch(step).present.any() for step in range(3))  # nobody asks for a mask
    with pytest.raises(ValueError, match="there is no kind 'riddle'"):
        sampler(tmp_path / "other", questions={"riddle": 1})
