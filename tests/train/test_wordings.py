"""Kept words are those of right answers, their states the live ones, and a batch carries those of its own images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from geopix.classes import ClassVocabulary
from geopix.config import Stage
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.train import wordings as room
from geopix.train.answer_batches import WordingSampler
from geopix.train.answers import AnswersError, Job, digest, jobs
from geopix.train.features import FeatureStore
from geopix.train.wordings import Wordings
from tests.tiny_model import tiny_geopix
from tests.tiny_store import CAPTIONED, WINDOWS, tiny_store

QUESTIONS = {"segment": 1.0, "absent": 1.0}


@dataclass
class Reading:
    """A tiny model, windows, and what is asked about them."""

    model: GeoPixModel
    dialogue: Dialogue
    store: FeatureStore
    todo: list[Job]

    def read(self, folder: Path) -> Wordings:
        return room.cached(self.model, self.dialogue, [self.store], self.todo, folder, lambda *_: None)

    def sampler(self, kept: Wordings, **settings: Any) -> WordingSampler:
        given = {"name": "try", "language": "wordings", "sources": {"all": 1}, "steps": 9, "images": 5}
        still = {"part_rates": {"language": 0, "multimodal_projector": 0}, "architecture": {"second_look": True}}
        stage = Stage.model_validate({**given, **still, **settings})
        vocabulary, side = ClassVocabulary(), self.model.config.grid_side
        return WordingSampler(stage, {"all": self.store}, vocabulary, self.dialogue, side, kept, torch.zeros(1))


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    model, dialogue = tiny_geopix(second_look=True)
    model.train(False)
    store = tiny_store(tmp_path / "store", model, [*WINDOWS, CAPTIONED])
    return Reading(model, dialogue, store, jobs([store], 3, QUESTIONS, seed=0, masked=False))


def test_kept_words_and_states_are_those_of_every_answer_alone(reading: Reading, tmp_path: Path) -> None:
    model, dialogue = reading.model, reading.dialogue
    states, ids, places = [], [], []
    assert [len(job.turns) for job in reading.todo] == [3] * 5  # refusals and captions, too, not masks alone
    with torch.no_grad():
        for job in reading.todo:
            seen = model.see_features(reading.store[job.place].features[None].float())
            for turn in job.turns:
                said = dialogue.encode([turn])
                hidden = model.language(model.language.embed(torch.tensor([said.ids]), seen.tokens))[0]
                for place in (place for place, own in enumerate(said.answers) if own):
                    states.append(hidden[place - 1])
                    ids.append(said.ids[place])
                    places.append(job.place)
    kept = reading.read(tmp_path / "kept")
    assert kept.ids.tolist() == ids
    assert kept.place.tolist() == places
    assert kept.store.unique().tolist() == [0]
    assert torch.allclose(kept.states, torch.stack(states), atol=1e-6, rtol=0)


def test_what_was_read_is_not_read_again_and_holds_whatever_the_second_look_is(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, first = digest(reading.model, speaking=True), reading.read(tmp_path / "kept")
    assert reading.model.second_look is not None
    with torch.no_grad():
        reading.model.second_look.out.weight.fill_(1)
    assert digest(reading.model, speaking=True) == name
    monkeypatch.setattr(room, "dialogue_hidden", None)  # would be called
    assert torch.equal(reading.read(tmp_path / "kept").states, first.states)


def test_files_that_cannot_be_used_are_told(reading: Reading, tmp_path: Path) -> None:
    reading.read(tmp_path / "kept")
    (file,) = (tmp_path / "kept").iterdir()
    whole = list(reading.todo)
    reading.todo[0] = Job(0, whole[0].place, whole[0].turns[::-1])
    with pytest.raises(AnswersError, match="other words"):
        reading.read(tmp_path / "kept")
    reading.todo[:] = whole
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(AnswersError, match="damaged"):
        reading.read(tmp_path / "kept")


def test_a_batch_holds_the_words_of_its_own_images(reading: Reading, tmp_path: Path) -> None:
    kept = reading.read(tmp_path / "kept")
    sampler, keys = reading.sampler(kept), [facts["key"] for facts in reading.store.facts]
    drawn = set()
    for step in range(12):
        batch = sampler.batch(step)
        assert batch.ids is not None
        assert batch.answers is not None
        states = sampler.look_up(batch)
        for row, name in enumerate(batch.names):
            place = keys.index(name.partition(": ")[2])
            drawn.add(place)
            own = kept.place == place
            assert torch.equal(batch.ids[row, batch.answers[row]], kept.ids[own])
            assert torch.equal(states[row, batch.answers[row]], kept.states[own])
            assert torch.equal(batch.features[row], reading.store[place].features)
    assert drawn == {0, 1, 2, 3, 4}


def test_a_step_always_has_the_same_batch(reading: Reading, tmp_path: Path) -> None:
    kept = reading.read(tmp_path / "kept")
    one, two, other = reading.sampler(kept), reading.sampler(kept), reading.sampler(kept, seed=1)
    one.batch(0)
    assert one.batch(7).names == two.batch(7).names
    assert one.batch(7).names != one.batch(8).names
    assert one.batch(7).names != other.batch(7).names


def test_a_window_that_breaks_is_left_out(reading: Reading, tmp_path: Path) -> None:
    reading.store.facts[1]["unreadable"] = "torn"
    kept = reading.read(tmp_path / "kept")
    assert sorted(set(kept.place.tolist())) == [-1, 0, 2, 3, 4]
    assert reading.sampler(kept).places == [[0, 2, 3, 4]]
