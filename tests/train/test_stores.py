"""Nano's stores: which images they show, and that what is held out stays out; on a data folder made by script."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from geopix.config import ConfigError
from geopix.data.entries import EntryError
from geopix.train import stores
from geopix.train.features import Eye
from geopix.train.stores import HELD_OUT_AIRPORT, RECIPES, Recipe, open_store, take
from tests.tiny import scene
from tests.tiny_model import tiny_geopix
from tests.tiny_store import WINDOWS, tiny_store


def airports(data: Path, names: tuple[str, ...]) -> None:
    root = data / "gdit_airport"
    for folder in ("images", "labelTxt"):
        (root / folder).mkdir(parents=True)
    for name in names:
        PillowImage.fromarray(scene([], (300, 400)).image).save(root / "images" / f"{name}.jpg")
        boxes = [(100, 80), (250, 90), (180, 220)]
        lines = [f"{x} {y} {x + 40} {y} {x + 40} {y + 30} {x} {y + 30} airplane 0" for x, y in boxes]
        (root / "labelTxt" / f"{name}.txt").write_text("\n".join(lines))


def test_a_training_image_of_a_validation_scene_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [replace(scene([], (40, 40)), key=f"nwpu_vhr10/{name}") for name in ("287.jpg", "288.jpg", "1288.jpg")]
    monkeypatch.setattr(stores, "read_vhr10", lambda root, split: found)
    assert [one.key for one in stores.vhr10(tmp_path)] == ["nwpu_vhr10/287.jpg", "nwpu_vhr10/1288.jpg"]


def test_airports_come_in_windows_with_whole_boxes_and_without_the_demonstration(tmp_path: Path) -> None:
    airports(tmp_path, ("airport_1", "airport_2", HELD_OUT_AIRPORT))
    windows = list(RECIPES["gdit"].samples(tmp_path, RECIPES["gdit"].count - 60))
    assert len(windows) == 60
    assert {window.key.split("#")[0] for window in windows} == {"gdit/airport_1", "gdit/airport_2"}
    assert len({window.size_hw for window in windows}) > 20
    for window in windows:
        assert not window.complete
        assert window.there == ("airplane",)
        assert "ship" in window.missing
        height, width = window.size_hw
        assert height == width >= 90
        assert 1 <= len(window.instances) <= 3
        for one in window.instances:
            x1, y1, x2, y2 = one.box_xyxy_px
            assert one.mask is None
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            assert (x2 - x1) * (y2 - y1) >= 0.6 * 40 * 30
    again = next(RECIPES["gdit"].samples(tmp_path, RECIPES["gdit"].count - 1))
    assert again.key == windows[-1].key
    assert (again.image == windows[-1].image).all()


def test_without_airplanes_there_is_no_store(tmp_path: Path) -> None:
    airports(tmp_path, (HELD_OUT_AIRPORT,))
    with pytest.raises(EntryError, match="holds no airport with airplanes"):
        RECIPES["gdit"].samples(tmp_path, 0)


def test_captions_of_a_test_part_stay_out(tmp_path: Path) -> None:
    root = tmp_path / "aid_rsicd"
    (root / "images").mkdir(parents=True)
    rows = []
    for number, part in enumerate(("val", "test", "jb_test", "val", "train")):
        (root / "images" / "Viaduct").mkdir(exist_ok=True)
        PillowImage.fromarray(scene([], (20, 20)).image).save(root / "images" / "Viaduct" / f"{number}.png")
        rows.append({"image": f"Viaduct/{number}.png", "source": part, "captions": [f"Scene {number}."]})
    (root / "captions.json").write_text(json.dumps(rows))
    assert [sample.captions for sample in RECIPES["aid"].samples(tmp_path, 0)] == [("Scene 0.",), ("Scene 3.",)]
    [last] = RECIPES["aid"].samples(tmp_path, 1)
    assert (last.captions, last.there) == (("Scene 3.",), ("vehicle",))


def test_what_a_scene_shows_is_said_of_its_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [scene([("ship", (20, 20, 60, 50))], (90, 90))]
    monkeypatch.setattr(stores, "read_coco", lambda *places, **more: whole)
    window = next(RECIPES["ports"].samples(tmp_path, 398))
    assert window.there == ("ship",)
    assert "vehicle" in window.missing


@pytest.mark.parametrize("lost", ["there", "missing"])
def test_a_store_of_an_older_geopix_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    model, _ = tiny_geopix()
    monkeypatch.setitem(RECIPES, "ports", Recipe(5, lambda data, first: iter([*WINDOWS, WINDOWS[0]][first:]), ()))
    tiny_store(tmp_path / "ports", model)
    eye, shape = Eye(model.encoder, model.config.image_size), (2, 16, 32)
    filled = open_store("ports", tmp_path, tmp_path, eye, shape, lambda done, total: None)
    assert len(filled) == 5
    index = tmp_path / "ports" / "index.jsonl"
    first, *others = index.read_text().splitlines(keepends=True)
    index.write_text("".join(["broken\n", *others]))  # read as a window of nothing, and no reason to refuse the store
    assert len(open_store("ports", tmp_path, tmp_path, eye, shape, lambda done, total: None)) == 5
    old = {key: value for key, value in json.loads(first).items() if key != lost}
    index.write_text("".join([json.dumps(old) + "\n", *others]))
    with pytest.raises(ConfigError, match=rf"the feature store {tmp_path / 'ports'} .*; delete that folder"):
        open_store("ports", tmp_path, tmp_path, eye, shape, lambda done, total: None)


def test_some_of_a_store_are_taken_by_a_seed(tmp_path: Path) -> None:
    model, _ = tiny_geopix()
    store = tiny_store(tmp_path, model, [*WINDOWS, scene([], key="empty")])
    taken, digest = take(store, "vhr", 3, seed=1)
    again, same = take(store, "vhr", 3, seed=1)
    assert taken.chosen == again.chosen
    assert digest == same
    assert {take(store, "vhr", 3, seed)[1] for seed in range(9)} > {digest}
    assert [facts["key"] for facts in taken.facts] == [store.facts[place]["key"] for place in taken.chosen]
    found = taken.look([2, 0], [0, 0])
    assert [image.facts["key"] for image in found] == [store.facts[taken.chosen[place]]["key"] for place in (2, 0)]
    everything, _ = take(store, "vhr", 5, seed=0)
    assert everything.places(masked=True) == [0, 1, 2, 3]
    assert len(everything.places(masked=False)) == 5
    store.unreadable = ["broken"]
    assert everything.unreadable == ["broken"]
    with pytest.raises(ConfigError, match="6 of 'vhr' are wanted, and it has 5"):
        take(store, "vhr", 6, seed=0)
