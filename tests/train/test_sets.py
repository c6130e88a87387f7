"""Sets as a source: what is seen each step is what would be kept, and every bad set is told in a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geopix.classes import ClassVocabulary
from geopix.config import ConfigError, Stage
from geopix.data.entries import EntryError
from geopix.data.mixture import facts_of
from geopix.dialogue import Dialogue
from geopix.train.batches import Batch, Sampler
from geopix.train.features import Eye, picture
from geopix.train.sets import SetSource, keep, open_set, place_of
from tests.tiny_model import tiny_geopix
from tests.tiny_set import BRIDGE, ENTRIES, SAMPLES, TWO, bare, tiny_set

MODEL, DIALOGUE = tiny_geopix()
EYE = Eye(MODEL.encoder, MODEL.config.image_size)


def unwatched(done: int, total: int) -> None:
    """Nobody looks."""


def stage(**settings: Any) -> Stage:
    given = {"name": "try", "sources": {"set": 1}, "images": 2, "turns": 2, "features": "each_step"}
    return Stage.model_validate({**given, **({} if "epochs" in settings else {"steps": 9}), **settings})


def source(data: Path, told: Stage | None = None) -> SetSource:
    if not (data / "set").exists():
        tiny_set(data / "set")
    return SetSource(open_set("set", told or stage(), data, unwatched), EYE)


def sampler(data: Path, dialogue: Dialogue = DIALOGUE, **settings: Any) -> Sampler:
    told = stage(**settings)
    return Sampler(told, {"set": source(data, told)}, ClassVocabulary(), dialogue, MODEL.config.grid_side)


def test_only_images_of_the_training_split_are_used(tmp_path: Path) -> None:
    keys = [facts["key"] for facts in source(tmp_path).facts]
    assert keys == ["two", "bridge", "tall", "boxes", "told"]
    masked = source(tmp_path, stage(language="phrases"))
    assert [facts["key"] for facts in masked.facts] == ["two", "bridge", "tall"]


def test_an_image_is_as_the_encoder_and_the_store_would_have_it(tmp_path: Path) -> None:
    seen = source(tmp_path).look([1, 0], [0, 0])
    for sample, found in zip((BRIDGE, TWO), seen, strict=True):
        expected = picture(sample, facts_of(sample), EYE.side)
        assert torch.equal(found.features, EYE.see([expected.square])[0])
        assert np.array_equal(found.masks.numpy(), expected.masks)
    assert seen[1].facts["instances"][0]["phrases"] == ["the ship in the upper left corner", "the leftmost ship"]


@pytest.mark.parametrize("view", range(1, 8))
def test_a_view_turns_pixels_and_masks_alike(tmp_path: Path, view: int) -> None:
    [found] = source(tmp_path).look([0], [view])
    assert TWO.instances[1].mask is not None
    image, masks = np.rot90(TWO.image, view // 2), np.rot90(TWO.instances[1].mask, view // 2)
    if view % 2:
        image, masks = image[:, ::-1], masks[:, ::-1]
    one = picture(replace(TWO, image=np.ascontiguousarray(image), instances=()), {}, EYE.side)
    assert torch.equal(found.features, EYE.see([one.square])[0])
    moved = replace(TWO.instances[1], mask=np.ascontiguousarray(masks))
    expected = picture(replace(TWO, image=np.ascontiguousarray(image), instances=(moved,)), {}, EYE.side)
    assert np.array_equal(found.masks[1].numpy(), expected.masks[0])


def test_what_is_kept_is_what_is_seen_and_a_killed_fill_goes_on(tmp_path: Path) -> None:
    live = source(tmp_path)
    broken = SetSource(live.opened, EYE)
    shape = (2, 16, 32)

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(broken, tmp_path / "kept", shape, stop)
    kept = keep(live, tmp_path / "kept", shape, lambda done: None)
    assert len(kept) == 5
    for one, other in zip(kept.look(range(5), [0] * 5), live.look(range(5), [0] * 5), strict=True):
        assert torch.equal(one.masks, other.masks)
        torch.testing.assert_close(one.features, other.features, rtol=0.02, atol=0.02)  # batched otherwise
        assert {key: value for key, value in one.facts.items() if key != "first_mask"} == other.facts


def test_other_choices_are_kept_elsewhere(tmp_path: Path) -> None:
    tiny_set(tmp_path / "set")
    stages = (stage(), stage(subsets={"set": ["A_T"]}), stage(take={"set": 2}), stage(take={"set": 2}, seed=5))
    assert len({place_of(open_set("set", told, tmp_path, unwatched), told) for told in stages}) == 4


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [part for part in (*vars(batch).values(), *vars(batch.cells).values()) if isinstance(part, torch.Tensor)]


def rows(batches: list[Batch]) -> list[tuple[Any, ...]]:
    """Image by image, what a run is fed, without padding."""
    found = []
    for batch in batches:
        assert batch.ids is not None
        assert batch.branches is not None
        for row in range(len(batch.ids)):
            real = batch.branches[row] >= 0
            present = batch.present[row]
            found.append((batch.features[row], batch.ids[row][real], batch.coverage[row][present]))
    return found


def test_in_epochs_what_is_fed_does_not_depend_on_the_size_of_a_micro_batch(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 3, "turned": True, "tags": 0.5, "global_batch": 12}
    two, three = sampler(tmp_path, images=2, **settings), sampler(tmp_path, images=3, **settings)
    assert (two.stage.accumulate, three.stage.accumulate) == (3, 2)
    assert two.stage.steps == three.stage.steps == 3  # 5 images 3 times, 6 a step
    ours, theirs = rows([two.batch(n) for n in (2, 0, 1)]), rows([three.batch(n) for n in (0, 1)])
    for one, other in zip([*ours[2:], *ours[:2]], theirs, strict=True):
        torch.testing.assert_close(one[0], other[0], rtol=0.02, atol=0.02)
        assert torch.equal(one[1], other[1])
        assert torch.equal(one[2], other[2])
    shown = [two.order[position] for position in range(10)]
    assert sorted(shown[:5]) == sorted(shown[5:]) == [(0, place) for place in range(5)]


def test_every_kind_of_question_is_asked_and_every_answer_is_known(tmp_path: Path) -> None:
    one = sampler(tmp_path, images=4, turned=True, questions={"mixed": 0.3, "vqa": 0.3}, tags=0.3)
    words = ""
    for step in range(40):
        batch = one.batch(step)
        assert batch.ids is not None
        assert batch.cells.classes.shape == (4, 16)
        words += DIALOGUE.tokenizer.decode(batch.ids.flatten())
    for said in ("Is there a road?", "Many trees.", "[segment]", "[vqa] Is there a road?", "[refer]", "<p>", "{<"):
        assert said in words, said
    assert "There is no bridge in the image." in words  # somebody looked for bridges in A_T
    assert "There is no storage tank" not in words  # nobody looked for these
    assert "gray ship that sails past {<1>}" in words
    assert "unknown" not in words


def test_broken_images_are_left_out_and_told(tmp_path: Path) -> None:
    live = source(tmp_path)
    (tmp_path / "set-images" / "bridge.png").write_bytes(b"no picture")
    found = live.look([1, 2], [0, 0])
    assert [image.facts["key"] for image in found] == ["tall", "tall"]
    assert "image unreadable" in live.skipped["bridge"]
    live.look([1], [0])
    assert [text[:11] for text in live.unreadable] == ["set: bridge"] * 2  # each time that it is drawn
    kept = keep(SetSource(live.opened, EYE), tmp_path / "kept", (2, 16, 32), lambda done: None)
    assert [facts["key"] for facts in kept.facts] == ["two", "tall", "boxes", "told"]
    for path in (tmp_path / "set-images").iterdir():
        path.unlink()
    with pytest.raises(EntryError, match="images in a row can't be used: the last: image missing"):
        source(tmp_path).look([0], [0])


def test_bad_sets_are_told(tmp_path: Path) -> None:
    tiny_set(tmp_path / "bare", [bare(entry) for entry in ENTRIES])
    tiny_set(tmp_path / "kept", ENTRIES[5:])
    tiny_set(tmp_path / "set")
    for name, settings, message in (
        ("bare", {"language": "phrases"}, "none of its 5 training images is one with a mask, which a stage of phrases"),
        ("kept", {}, "none of its 0 training images"),
        ("set", {"take": {"set": 6}}, "has 5 images to train on: 6 are to be taken"),
        ("set", {"subsets": {"set": ["C"]}}, "no subset 'C': it has A_T, B_T"),
    ):
        with pytest.raises(ConfigError, match=message):
            open_set(name, stage(**{"sources": {name: 1}, **settings}), tmp_path, unwatched)


def test_what_a_run_writes_down(tmp_path: Path) -> None:
    tiny_set(tmp_path / "set")
    told = open_set("set", stage(take={"set": 2}), tmp_path, unwatched)
    assert told.record["images"] == 2
    assert told.record == open_set("set", stage(take={"set": 2}), tmp_path, unwatched).record
    assert told.record != open_set("set", stage(take={"set": 2}, seed=1), tmp_path, unwatched).record
    tiny_set(tmp_path / "set", ENTRIES[:4], SAMPLES, overwrite=True)
    assert told.record["fingerprint"] != open_set("set", stage(), tmp_path, unwatched).record["fingerprint"]
