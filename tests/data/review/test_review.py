"""A review from the set to the page and the tasks, through people's hands, and back into the set."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from geopix.data.entries import EntryError, SetReader
from geopix.data.finetune import limits
from geopix.data.review import exporting, pictures
from geopix.data.review.collecting import Collected, collect, files_of
from geopix.data.review.corrections import ReviewError, Spot, fingerprint
from geopix.data.review.exporting import export_review
from geopix.data.review.merging import EXAMPLES, NOT_ALL, NOT_TRAIN, WRONG, Merged, merge
from geopix.data.review.picking import Wish
from tests.tiny_review import HOSTILE, entry, page_of, pair, saved, thing, tiny_set

ENTRIES = [
    pair(1),
    pair(2),
    entry(
        3, thing("bridge", (5, 5, 20, 9), HOSTILE, "the bridge", arrangement="isolated"), thing("ship", (30, 2, 40, 9))
    ),
    pair(4, split="val"),
    entry(5),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_set(tmp_path / "set", ENTRIES)


@pytest.fixture
def review(folder: Path, tmp_path: Path) -> Path:
    export_review(folder, tmp_path / "review", Wish())
    return tmp_path / "review"


def tasks_of(review: Path) -> list[dict[str, Any]]:
    files = sorted((review / "label_studio").glob("tasks-*.json"))
    return [task for file in files for task in json.loads(file.read_text())]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def merged(collected: Collected, folder: Path, out: Path) -> tuple[Merged, dict[str, list[tuple[str, ...]]]]:
    done = merge(collected, folder, out)
    return done, {one.key: [thing.descriptions for thing in one.objects] for one in SetReader(out)}


def test_a_review_shows_every_picked_image_in_both_forms(folder: Path, review: Path) -> None:
    page, tasks = page_of(review), tasks_of(review)
    assert (
        [one["key"] for one in page["images"]] == [task["data"]["key"] for task in tasks] == ["toy/1", "toy/2", "toy/3"]
    )
    assert page["texts"] == 6
    assert page["set_sha256"] == fingerprint(folder)
    for one, task in zip(page["images"], tasks, strict=True):
        assert task["data"]["image"] == f"/data/local-files/?d={one['image']}"
        assert task["data"]["asked"] == [thing["texts"] for thing in one["objects"]]
        for name in (one["image"], one["overlay"]):
            with Image.open(review / name) as picture:
                picture.load()
    assert [thing["texts"] for thing in page["images"][2]["objects"]] == [[HOSTILE], [""]]
    assert sorted(path.name for path in review.iterdir()) == [
        "README.md", "images", "index.html", "label_studio", "overlays", "review.json",
    ]  # fmt: skip


def test_the_same_set_and_seed_give_the_same_review(folder: Path, review: Path, tmp_path: Path) -> None:
    export_review(folder, tmp_path / "again", Wish())
    assert bytes_of(tmp_path / "again") == bytes_of(review)


def test_more_texts_and_another_address(folder: Path, tmp_path: Path) -> None:
    told = export_review(folder, tmp_path / "r", Wish(texts=2, split=None), image_url="https://pictures.example/a b?")
    assert (told.images, told.header.texts) == (4, 9)
    assert tasks_of(tmp_path / "r")[0]["data"]["image"] == "https://pictures.example/a b?images/00001.png"
    assert page_of(tmp_path / "r")["images"][2]["objects"][0]["texts"] == [HOSTILE, "the bridge"]


def test_tasks_come_in_files_that_label_studio_takes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "TASKS_A_FILE", 2)
    export_review(folder, tmp_path / "r", Wish())
    assert len(list((tmp_path / "r" / "label_studio").glob("tasks-*.json"))) == 2
    assert len(tasks_of(tmp_path / "r")) == 3


def test_what_can_not_be_shown_is_counted(tmp_path: Path) -> None:
    wrong = replace(pair(2), objects=(replace(pair(2).objects[0], counts="0"),))
    folder = tiny_set(tmp_path / "set", [pair(1), wrong, pair(3)])
    (tmp_path / "set-pictures" / "3.png").write_bytes(b"no picture")
    told = export_review(folder, tmp_path / "r", Wish())
    assert told.skipped == {"mask of the wrong size": 1, "image unreadable": 1}
    assert told.examples["image unreadable"] == "toy/3"
    assert (told.images, told.header.texts) == (1, 2)
    (tmp_path / "set-pictures" / "1.png").unlink()
    with pytest.raises(ReviewError, match="none of the images picked can be shown: 1 image missing"):
        export_review(folder, tmp_path / "r2", Wish())


def test_a_stopped_export_goes_on_and_nothing_stands_there_before(
    folder: Path, review: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, drawn = pictures.overlay, 0

    def stops(*given: Any) -> pictures.Picture:
        nonlocal drawn
        drawn += 1
        if drawn == 3:
            raise KeyboardInterrupt
        return draw(*given)

    monkeypatch.setattr(pictures, "overlay", stops)
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        export_review(folder, out, Wish())
    assert not out.exists()
    export_review(folder, out, Wish())
    assert drawn == 4  # the third again, the two of before not
    assert bytes_of(out) == bytes_of(review)
    assert not list(tmp_path.glob(".*"))


def test_what_another_review_left_is_not_used(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "_write", stops)
        with pytest.raises(KeyboardInterrupt):
            export_review(folder, tmp_path / "r", Wish())
    assert (tmp_path / ".r.part" / "overlays" / "00003.jpg").is_file()
    export_review(folder, tmp_path / "r", Wish(images=1))
    assert len(list((tmp_path / "r" / "overlays").iterdir())) == len(page_of(tmp_path / "r")["images"]) < 3


def test_what_stands_there_is_kept(folder: Path, review: Path, tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match="review exists: name a new folder, or give --overwrite"):
        export_review(folder, review, Wish())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ReviewError, match="mine exists"):
        export_review(folder, tmp_path / "mine", Wish(), overwrite=True)
    export_review(folder, review, Wish(seed=3), overwrite=True)
    assert json.loads((review / "review.json").read_text())["asked"]["seed"] == 3


def test_a_set_without_anything_to_look_at_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match="no image with objects in its split test; --split all"):
        export_review(folder, tmp_path / "r", Wish(split="test"))
    with pytest.raises(EntryError, match="is no set"):
        export_review(tmp_path, tmp_path / "r", Wish())
    double = tiny_set(tmp_path / "double", [pair(1), pair(1)])
    with pytest.raises(ReviewError, match="toy/1 stands twice"):
        export_review(double, tmp_path / "r", Wish())


def test_corrections_come_back_into_the_set(folder: Path, review: Path, tmp_path: Path) -> None:
    said = {
        ("toy/1", 0, 0): ("accepted", ""),
        ("toy/1", 1, 0): ("rewritten", "the ship at the lower right"),
        ("toy/2", 0, 0): ("accepted", ""),
        ("toy/3", 0, 0): ("rejected", ""),
        ("toy/3", 1, 0): ("rewritten", "the only ship"),
    }
    file = saved(review, said, tmp_path / "c.json")
    done, texts = merged(collect([file]), folder, tmp_path / "out")
    assert texts == {
        "toy/1": [("the left ship",), ("the ship at the lower right",)],
        "toy/2": [("the left ship",), ("the right ship",)],
        "toy/3": [("the bridge",), ("the only ship",)],
        "toy/4": [("the left ship",), ("the right ship",)],
        "toy/5": [],
    }
    assert (done.texts, done.verdicts) == (6, {"accepted": 2, "rewritten": 2, "rejected": 1})
    assert done.by_arrangement["cluster", "accepted"] == 2
    assert done.by_arrangement["isolated", "rejected"] == 1
    assert done.changes == {"position word": 1, "new text": 1}
    assert (done.examples, done.left_out) == (1, {NOT_ALL: 1, WRONG: 1})
    about = SetReader(tmp_path / "out").about
    assert about.counts["texts rewritten"] == 2
    assert about.sources == {"toy": "made by script"}
    same = list(SetReader(folder))
    for before, after in zip(same, SetReader(tmp_path / "out"), strict=True):
        bare = tuple(replace(one, descriptions=()) for one in before.objects)
        assert replace(after, objects=tuple(replace(one, descriptions=()) for one in after.objects)) == replace(
            before, objects=bare
        )
        after.sample(SetReader(tmp_path / "out").images)  # its images are found from where it lies now


def test_an_image_that_people_stand_for_becomes_an_example(folder: Path, review: Path, tmp_path: Path) -> None:
    said = {("toy/2", 0, 0): ("accepted", ""), ("toy/2", 1, 0): ("rewritten", "the \u201cbig\u201d ship")}
    merge(collect([saved(review, said, tmp_path / "c.json")]), folder, tmp_path / "out")
    (line,) = (tmp_path / "out" / EXAMPLES).read_text().splitlines()
    system, user, assistant = json.loads(line)["messages"]
    assert system["role"] == "system"
    question, shown = user["content"]
    for told in ("60", "40", "0: ship", "7, 7", "1: ship", "40, 28"):
        assert told in question["text"]
    assert json.loads(assistant["content"]) == {
        "descriptions": [
            {"index": 0, "arrangement": "cluster", "description": "the left ship"},
            {"index": 1, "arrangement": "cluster", "description": "the \u201cbig\u201d ship"},
        ]
    }
    head, data = shown["image_url"]["url"].split(",")
    assert head.startswith("data:image/")
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (60, 40)
    (tmp_path / "ten.jsonl").write_text((line + "\n") * 10)
    contents = limits.check(tmp_path / "ten.jsonl")
    assert (contents.examples, contents.images) == (10, 10)


def test_images_of_other_splits_teach_nobody(folder: Path, tmp_path: Path) -> None:
    export_review(folder, tmp_path / "r", Wish(split="val"))
    said = {("toy/4", 0, 0): ("accepted", ""), ("toy/4", 1, 0): ("accepted", "")}
    done = merge(collect([saved(tmp_path / "r", said, tmp_path / "c.json")]), folder, tmp_path / "out")
    assert (done.examples, done.left_out) == (0, {NOT_TRAIN: 1})
    assert not (tmp_path / "out" / EXAMPLES).exists()


def test_label_studio_and_the_page_say_the_same(folder: Path, review: Path, tmp_path: Path) -> None:
    exported = []
    for task in tasks_of(review):
        result = task["predictions"][0]["result"]
        for one in result:
            if one["type"] == "textarea" and one["value"]["text"] == [HOSTILE]:
                one["value"]["text"] = ["the narrow bridge"]
        exported.append({**task, "annotations": [{"result": result}] if task["data"]["key"] != "toy/2" else []})
    (tmp_path / "ls.json").write_text(json.dumps(exported))
    said = {
        ("toy/1", 0, 0): ("accepted", ""),
        ("toy/1", 1, 0): ("accepted", ""),
        ("toy/3", 0, 0): ("rewritten", "the narrow bridge"),
    }
    theirs = collect([tmp_path / "ls.json"])
    ours = collect([saved(review, said, tmp_path / "page.json")])
    assert (theirs.header, theirs.by_key) == (ours.header, ours.by_key)
    both = collect([tmp_path / "ls.json", tmp_path / "page.json"])  # two may say the same
    assert both.by_key == ours.by_key
    assert len(both) == 3


def test_a_folder_of_files_is_merged(folder: Path, review: Path, tmp_path: Path) -> None:
    for name, key in (("anna", "toy/1"), ("ben", "toy/2")):
        saved(review, {(key, 0, 0): ("accepted", "")}, review / f"{name}.json")
    files = files_of(review)  # the export's own folder: its stamp is no file of corrections
    assert [file.name for file in files] == ["anna.json", "ben.json"]
    assert {spot for spots in collect(files).by_key.values() for spot in spots} == {
        Spot("toy/1", 0, 0),
        Spot("toy/2", 0, 0),
    }


def test_contradictions_and_duplicates_are_told(review: Path, tmp_path: Path) -> None:
    anna = saved(review, {("toy/1", 0, 0): ("accepted", "")}, tmp_path / "anna.json")
    ben = saved(review, {("toy/1", 0, 0): ("rejected", "")}, tmp_path / "ben.json")
    with pytest.raises(
        ReviewError, match=r"text 1 of object 1 of toy/1 is corrected differently in .*anna.* and .*ben"
    ):
        collect([anna, ben])
    raw = json.loads(anna.read_text())
    raw["corrections"] *= 2
    anna.write_text(json.dumps(raw))
    with pytest.raises(ReviewError, match="is corrected twice in"):
        collect([anna])
    ben.write_text(json.dumps({**json.loads(ben.read_text()), "review": "another"}))
    raw["corrections"] = raw["corrections"][:1]
    anna.write_text(json.dumps(raw))
    with pytest.raises(ReviewError, match="belong to different reviews"):
        collect([anna, ben])


def test_files_that_hold_no_corrections_are_told(review: Path, tmp_path: Path) -> None:
    for content, complaint in (
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff", "not UTF-8"),
        (b"7", "no JSON"),
        (b"[]", "neither what the page saves"),
        (b"{}", "neither what the page saves"),
        (b"[1]", "no JSON export of Label Studio"),
        (b"[" * 100_000, "no JSON"),
        (json.dumps(tasks_of(review)).encode(), "give what Label Studio exports"),
        ((review / "review.json").read_bytes(), "neither what the page saves"),
    ):
        (tmp_path / "c.json").write_bytes(content)
        with pytest.raises(ReviewError, match=rf"c\.json: .*{complaint}"):
            collect([tmp_path / "c.json"])
    with pytest.raises(ReviewError, match="there is no"):
        files_of(tmp_path / "none")
    with pytest.raises(ReviewError, match=r"holds no \.json file"):
        files_of(review)


def test_another_version_of_the_set_is_refused(folder: Path, review: Path, tmp_path: Path) -> None:
    said = collect([saved(review, {("toy/1", 0, 0): ("rejected", "")}, tmp_path / "c.json")])
    merge(said, folder, tmp_path / "out")
    with pytest.raises(ReviewError, match="made for another version of the set"):
        merge(said, tmp_path / "out", tmp_path / "twice")
    assert not (tmp_path / "twice").exists()


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"key": "toy/9"}, "'toy/9' is no image of"),
        ({"object": 2}, "text 1 of object 3 of toy/1 does not exist"),
        ({"text": 1}, "text 2 of object 1 of toy/1 does not exist"),
        ({"object": 10**30}, "does not exist"),
        ({"was": "the wrong ship", "verdict": "rejected"}, "is not 'the wrong ship' in the set"),
    ],
)
def test_what_is_not_in_the_set_is_refused_and_nothing_is_written(
    folder: Path, review: Path, tmp_path: Path, changed: dict[str, Any], complaint: str
) -> None:
    file = saved(review, {("toy/1", 0, 0): ("accepted", "")}, tmp_path / "c.json")
    raw = json.loads(file.read_text())
    raw["corrections"][0].update(changed)
    file.write_text(json.dumps(raw))
    with pytest.raises(ReviewError, match=complaint):
        merge(collect([file]), folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_rewriting_that_says_what_another_text_says_leaves_one(tmp_path: Path) -> None:
    folder = tiny_set(tmp_path / "set", [entry(1, thing("ship", (2, 2, 12, 12), "a ship", "the ship"))])
    export_review(folder, tmp_path / "r", Wish(texts=2))
    file = saved(tmp_path / "r", {("toy/1", 0, 0): ("rewritten", "the ship")}, tmp_path / "c.json")
    _, texts = merged(collect([file]), folder, tmp_path / "out")
    assert texts == {"toy/1": [("the ship",)]}
