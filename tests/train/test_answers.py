"""Kept states are the live ones, a killed reading goes on, damage is told, and batches speak of one object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from geopix.classes import ClassVocabulary
from geopix.config import Stage
from geopix.data.mixture import facts_of
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.train import answers as room
from geopix.train.answer_batches import AnswerSampler
from geopix.train.answers import Answers, AnswersError, Job, cached, digest, jobs, key_of
from geopix.train.features import FeatureStore, UnreadableError
from tests.tiny_model import tiny_geopix
from tests.tiny_store import WINDOWS, tiny_store

QUESTIONS = {"segment": 1.0, "all": 1.0}


@dataclass
class Reading:
    """A tiny model, windows, and what is asked about them."""

    model: GeoPixModel
    dialogue: Dialogue
    store: FeatureStore
    todo: list[Job]

    def read(self, folder: Path, watch: Callable[[str, int, int], None] = lambda *_: None) -> Answers:
        return cached(self.model, self.dialogue, [self.store], self.todo, folder, watch)

    def sampler(self, answers: Answers, **settings: Any) -> AnswerSampler:
        given = {"name": "try", "language": "answers", "sources": {"all": 1}, "steps": 9, "images": 5, "targets": 6}
        still = {"part_rates": {"language": 0, "multimodal_projector": 0}}
        stage = Stage.model_validate({**given, **still, **settings})
        like, side = torch.zeros(1), self.model.config.grid_side
        return AnswerSampler(stage, {"all": self.store}, ClassVocabulary(), self.dialogue, side, answers, like, 5)


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    model, dialogue = tiny_geopix()
    model.train(False)
    store = tiny_store(tmp_path / "store", model)
    return Reading(model, dialogue, store, jobs([store], 2, QUESTIONS, seed=0))


def test_kept_states_are_the_live_ones(reading: Reading, tmp_path: Path) -> None:
    """Live: every dialogue on its own, image first, nothing packed and nothing padded."""
    model, dialogue, live = reading.model, reading.dialogue, []
    assert len(reading.todo) == 4
    with torch.no_grad():
        for job in reading.todo:
            seen = model.see_features(reading.store[job.place].features[None].float())
            for turn in job.turns:
                said = dialogue.encode([turn])
                hidden = model.language(model.language.embed(torch.tensor([said.ids]), seen.tokens))
                live.append(model.segmentation_embeddings(hidden, torch.tensor([said.groups]))[0])
    kept = reading.read(tmp_path / "kept")
    assert torch.allclose(kept.states, torch.cat(live), atol=1e-6, rtol=0)
    assert kept.states.std() > 0.1
    told = [(job.place, target) for job in reading.todo for turn in job.turns for target in turn.targets]
    assert list(zip(kept.place.tolist(), kept.target.tolist(), strict=True)) == told


def test_a_killed_reading_goes_on(reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = reading.read(tmp_path / "whole")
    monkeypatch.setattr(room, "IN_A_FILE", 1)
    seen: list[int] = []

    def watch(what: str, done: int, total: int) -> None:
        seen.append(done)
        assert total == 4
        if seen == [1, 2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reading.read(tmp_path / "kept", watch)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    again = reading.read(tmp_path / "kept", watch)
    assert seen == [1, 2, 2, 3, 4]
    assert torch.allclose(again.states, whole.states, atol=1e-6, rtol=0)
    assert reading.read(tmp_path / "kept", watch).states.shape
    assert len(seen) == 5


def test_files_that_cannot_be_used_are_told(reading: Reading, tmp_path: Path) -> None:
    reading.read(tmp_path / "kept")
    (file,) = (tmp_path / "kept").iterdir()
    whole = list(reading.todo)
    del reading.todo[2:]
    with pytest.raises(AnswersError, match="other targets"):
        reading.read(tmp_path / "kept")
    reading.todo = whole
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(AnswersError, match="damaged"):
        reading.read(tmp_path / "kept")


def test_questions_that_nothing_comes_of_are_told(reading: Reading) -> None:
    with pytest.raises(AnswersError, match="no kind 'poem'"):
        jobs([reading.store], 2, {"poem": 1}, seed=0)
    with pytest.raises(AnswersError, match="none of these asks for a mask"):
        jobs([reading.store], 2, {"presence": 1}, seed=0)


def test_kept_answers_are_named_by_what_they_depend_on(reading: Reading) -> None:
    stores = [reading.store]
    name = key_of(reading.todo, stores, "model")
    assert name == key_of(jobs(stores, 2, QUESTIONS, seed=0), stores, "model")
    assert name != key_of(reading.todo, stores, "another")
    assert name != key_of(jobs(stores, 2, QUESTIONS, seed=1), stores, "model")
    seen = set()
    for part in ("scale_projectors", "mask_predictor.decoders", "mask_predictor.ordinal", "language"):
        before, speaking = digest(reading.model), digest(reading.model, speaking=True)
        assert before == digest(reading.model)
        with torch.no_grad():
            next(reading.model.get_submodule(part).parameters()).mul_(1.01)
        assert before != digest(reading.model)
        if speaking != digest(reading.model, speaking=True):
            seen.add(part)
    assert seen == {"mask_predictor.ordinal", "language"}


def test_a_batch_speaks_of_one_object_in_states_masks_and_classes(reading: Reading, tmp_path: Path) -> None:
    answers = reading.read(tmp_path / "kept")
    sampler, keys = reading.sampler(answers), [facts["key"] for facts in reading.store.facts]
    drawn = set()
    for step in range(6):
        batch = sampler.batch(step)
        states = sampler.look_up(batch)
        assert batch.rows is not None
        assert batch.present.all()
        assert states.shape == (5, 6, 5, reading.model.language.hidden)
        for row, rows in enumerate(batch.rows.tolist()):
            place = keys.index(batch.names[row].partition(": ")[2])
            drawn.add(place)
            for column, kept in enumerate(rows):
                target = int(answers.target[kept])
                assert int(answers.place[kept]) == place
                assert torch.equal(states[row, column], answers.states[kept, :5])
                coverage = reading.store[place].masks[target].float() / 255
                assert torch.equal(batch.coverage[row, column], coverage)
                name = facts_of(WINDOWS[place])["instances"][target]["class"]
                assert int(batch.class_ids[row, column]) == ClassVocabulary().id(name)
    assert drawn == {0, 1, 2, 3}


def test_a_step_always_has_the_same_batch(reading: Reading, tmp_path: Path) -> None:
    answers = reading.read(tmp_path / "kept")
    one, two, other = reading.sampler(answers), reading.sampler(answers), reading.sampler(answers, seed=1)
    one.batch(0)
    ours, theirs = one.batch(7), two.batch(7)
    assert ours.rows is not None
    assert theirs.rows is not None
    assert torch.equal(ours.rows, theirs.rows)
    assert torch.equal(ours.features, theirs.features)
    assert ours.phrases == theirs.phrases
    for different in (one.batch(8), other.batch(7)):
        assert not torch.equal(different.features, ours.features)


def test_a_window_that_breaks_is_left_out(reading: Reading, tmp_path: Path) -> None:
    answers = reading.read(tmp_path / "kept")
    reading.store.facts[1]["unreadable"] = "torn"
    batches = [reading.sampler(answers).batch(step) for step in range(4)]
    assert {name.partition(": ")[2] for batch in batches for name in batch.names} == {"three", "tall", "crowd"}
    assert any("torn" in told for told in reading.store.unreadable)
    again = reading.read(tmp_path / "again")  # what comes in its place is not taken for it
    assert sorted(set(again.place.tolist())) == [-1, 0, 2, 3]
    assert reading.sampler(again).places == [[0, 2, 3]]
    for facts in reading.store.facts[2:]:
        facts["unreadable"] = "torn"
    reading.store.facts[0]["key"] = "another"
    sampler = reading.sampler(answers)
    sampler.keys[0][0] = "three"
    with pytest.raises(UnreadableError, match="100 windows in a row"):
        sampler.batch(0)
