"""RRSIS-D: a pickle of expressions joined to a COCO file whose masks are run lengths in a list."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from geopix.data.entries import EntryError
from tests.data.sources.fakes import EVIL, found, pictures, put, rle


def ref(number: int, split: str = "train", *sentences: str) -> dict[str, Any]:
    told = [{"sent_id": 0, "tokens": one.split(), "raw": one, "sent": one} for one in sentences or ("the ship",)]
    return {
        "ref_id": number, "ann_id": number, "category_id": 1, "image_id": number, "file_name": f"{number:05}.jpg",
        "split": split, "sent_ids": [0], "sentences": told,
    }  # fmt: skip


def annotation(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "id": number, "image_id": number, "category_id": 1, "segmentation": [rle(10, 20, 30, 40)],
        "bbox": [0, 0, 1, 1], "iscrowd": 0, **changed,
    }  # fmt: skip


def write(folder: Path, refs: Any, annotations: list[Any], images: int = 2) -> Path:
    names = [f"{number:05}.jpg" for number in range(1, images + 1)]
    pictures(folder / "images" / "rrsisd" / "JPEGImages", *names)
    table = {
        "images": [{"id": n, "file_name": name, "height": 80, "width": 100} for n, name in enumerate(names, start=1)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "ship"}],
    }
    put(folder / "rrsisd" / "instances.json", table)
    (folder / "rrsisd" / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    return folder


def test_expressions_find_their_masks(tmp_path: Path) -> None:
    refs = [ref(1, "train", "the ship", "the grey ship", "the ship"), ref(2, "test", "a ship in the harbor")]
    (first, second), reasons = found("rrsis_d", write(tmp_path, refs, [annotation(2), annotation(1)]))
    assert not reasons
    assert (first.key, first.image, first.split, second.split) == ("rrsis_d/00001.jpg", "00001.jpg", "train", "test")
    (ship,) = first.objects
    assert (ship.class_name, ship.descriptions) == ("ship", ("the ship", "the grey ship"))
    assert ship.box_xyxy_px == (10.0, 20.0, 30.0, 40.0)  # the mask's own, not the file's
    assert ship.counts == rle(10, 20, 30, 40)["counts"]
    assert not first.complete


def test_what_does_not_fit_together_is_left_out(tmp_path: Path) -> None:
    refs = [ref(1), ref(1), ref(2, "train", EVIL), ref(3, "testA"), {"ref_id": 4}, ref(5), ref(6)]
    annotations = [
        annotation(1),
        annotation(5, segmentation=[rle(0, 0, 0, 0)]),
        annotation(6, segmentation=[rle(10, 20, 30, 40, size_hw=(100, 80))]),
        annotation(7, image_id=1),
        annotation(7, image_id=1),
    ]
    entries, reasons = found("rrsis_d", write(tmp_path, refs, annotations, images=6))
    assert [(entry.key, len(entry.objects)) for entry in entries] == [
        ("rrsis_d/00001.jpg", 1),
        ("rrsis_d/00005.jpg", 0),
        ("rrsis_d/00006.jpg", 0),
    ]
    assert reasons == {
        "duplicate id": 2,  # of expressions, of objects
        "text with a mark of the dialogue": 1,
        "record malformed": 2,
        "object without an expression": 1,
        "mask empty": 1,
        "mask of the wrong size": 1,
        "image in no split": 3,
    }


def test_an_image_is_in_one_split(tmp_path: Path) -> None:
    refs = [ref(1), {**ref(2, "test"), "file_name": "00001.jpg"}]
    entries, reasons = found("rrsis_d", write(tmp_path, refs, [annotation(1)]))
    assert [entry.split for entry in entries] == ["train"]
    assert reasons == {"image in two splits": 1, "image in no split": 1}


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    with pytest.raises(EntryError, match="would run code"):
        found("rrsis_d", write(tmp_path, [Evil(tmp_path / "executed")], []))
    assert not (tmp_path / "executed").exists()
    with pytest.raises(EntryError, match="is no list of expressions"):
        found("rrsis_d", write(tmp_path, {"refs": []}, []))
    (tmp_path / "rrsisd" / "refs(unc).p").unlink()
    with pytest.raises(EntryError, match="is missing"):
        found("rrsis_d", tmp_path)
