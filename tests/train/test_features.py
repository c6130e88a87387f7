"""The store of cached features: what goes in comes out, and a killed build ends as if it had never been killed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from geopix.data.describe import describe
from geopix.model.encoder import Letterbox, VisionEncoder, to_pixels
from geopix.records import Sample, Turn
from geopix.train.features import MASK_SIDE, FeatureStore, UnreadableError
from tests.tiny import boxed, scene

SIDE = 96
PATCHES, CHANNELS = 16, 3


class Backbone(nn.Module):
    """Hidden states are the mean colours of 16 patches, once as they are and once doubled."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, pixels: Tensor, output_hidden_states: bool) -> SimpleNamespace:
        colours = self.scale * nn.functional.avg_pool2d(pixels, SIDE // 4).flatten(2).transpose(1, 2)
        colours = nn.functional.pad(colours, (0, 0, 1, 0))  # in place of a class token
        return SimpleNamespace(hidden_states=[colours, 2 * colours])


ENCODER = VisionEncoder(Backbone(), layers=(1, 0), patches=PATCHES)
SAMPLES = (
    scene([("ship", (0, 0, 24, 48)), ("harbor", (50, 50, 90, 90))], (96, 96), key="first"),
    scene([("ship", (10, 10, 60, 30))], (40, 80), key="wide", complete=False),
    scene([], (30, 30), key="empty", captions=("Nothing.",), turns=(Turn("What?", "Nothing."),)),
    scene([("ship", (2, 2, 9, 9)), ("ship", (20, 20, 29, 29)), ("ship", (2, 20, 9, 29))], (30, 30), key="three"),
    scene([("vehicle", (5, 5, 20, 20))], (60, 30), key="last"),
)
FILES = ("features.bin", "masks.bin", "index.jsonl")


def store(folder: Path) -> FeatureStore:
    return FeatureStore(folder, scales=2, patches=PATCHES, channels=CHANNELS)


def built(folder: Path, samples: Sequence[Sample] = SAMPLES, batch_size: int = 2) -> FeatureStore:
    made = store(folder)
    made.build(ENCODER, samples[len(made) :], SIDE, batch_size)
    return made


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


def test_features_are_those_of_the_encoder(tmp_path: Path) -> None:
    made = built(tmp_path)
    assert len(made) == 5
    for index, sample in enumerate(SAMPLES):
        expected = ENCODER(to_pixels([Letterbox(sample.size_hw, SIDE).apply(sample.image)]))[0]
        cached = made[index]
        assert cached.features.shape == (2, PATCHES, CHANNELS)
        assert torch.equal(cached.features, expected.bfloat16())
        assert torch.equal(cached.features[0], 2 * cached.features[1])


def test_facts_are_the_sample_without_its_pixels(tmp_path: Path) -> None:
    built(tmp_path)
    again = store(tmp_path)
    facts = again[0].facts
    assert facts["key"] == "first"
    assert facts["size_hw"] == [96, 96]
    assert [instance["class"] for instance in facts["instances"]] == ["ship", "harbor"]
    assert [instance["box"] for instance in facts["instances"]] == [[0, 0, 24, 48], [50, 50, 90, 90]]
    assert [instance["phrases"] for instance in facts["instances"]] == describe(SAMPLES[0].instances, (96, 96))
    assert [again[index].facts["complete"] for index in range(5)] == [True, False, True, True, True]
    assert again[2].facts["captions"] == ["Nothing."]
    assert again[2].facts["turns"] == [["What?", "Nothing."]]


def test_masks_are_shares_of_the_letterboxed_cells(tmp_path: Path) -> None:
    made = built(tmp_path)
    assert [len(made[index].masks) for index in range(5)] == [2, 1, 0, 3, 1]
    for instance, mask in zip(SAMPLES[0].instances, made[0].masks, strict=True):  # as large as the square: no scaling
        assert np.array_equal(mask.numpy(), 255 * np.asarray(instance.mask, np.uint8))
    wide = made[1].masks[0]  # 40 x 80 becomes 48 x 96, with 24 rows above and below
    assert wide.shape == (MASK_SIDE, MASK_SIDE)
    rows, columns = torch.nonzero(wide, as_tuple=True)
    assert [int(end) for end in (rows.min(), rows.max() + 1)] == [24 + 12, 24 + 36]
    assert [int(end) for end in (columns.min(), columns.max() + 1)] == [12, 72]
    assert wide.sum().item() / 255 == pytest.approx(24 * 60, rel=0.01)


def test_a_store_of_captions_has_no_masks(tmp_path: Path) -> None:
    made = built(tmp_path, [SAMPLES[2], SAMPLES[2]])
    for cached in (made[0], store(tmp_path)[1]):
        assert cached.masks.shape == (0, MASK_SIDE, MASK_SIDE)
        assert cached.features.abs().sum() > 0


def test_progress_is_told_after_every_batch(tmp_path: Path) -> None:
    told: list[int] = []
    store(tmp_path).build(ENCODER, iter(SAMPLES), SIDE, 2, told.append)
    assert told == [2, 4, 5]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_build_in_parts_equals_one_in_a_piece(tmp_path: Path, batch_size: int) -> None:
    built(tmp_path / "whole")
    built(tmp_path / "parts", SAMPLES[:3], batch_size)
    built(tmp_path / "parts", SAMPLES, batch_size)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.mark.parametrize("left", [b"", b"\x07" * 1000, b"\x07" * 50_000])
@pytest.mark.parametrize("half_line", ["", '{"first_mask": 3, "key": "thr'])
def test_a_killed_build_goes_on_where_its_index_ends(tmp_path: Path, left: bytes, half_line: str) -> None:
    built(tmp_path / "whole")
    killed = tmp_path / "killed"
    built(killed, SAMPLES[:3])
    for name in FILES[:2]:  # written before the index
        with (killed / name).open("ab") as file:
            file.write(left)
    with (killed / "index.jsonl").open("a") as index:
        index.write(half_line)
    half = store(killed)
    assert len(half) == 3
    assert torch.equal(half[1].masks, store(tmp_path / "whole")[1].masks)  # readable before it is mended
    assert torch.equal(half[2].features, store(tmp_path / "whole")[2].features)
    half.build(ENCODER, SAMPLES[3:], SIDE, 2)
    assert contents(killed) == contents(tmp_path / "whole")
    assert torch.equal(half[4].features, store(tmp_path / "whole")[4].features)


def test_a_store_can_be_read_while_it_grows(tmp_path: Path) -> None:
    made = built(tmp_path, SAMPLES[:2])
    before = made[1].features.clone()
    made.build(ENCODER, SAMPLES[2:], SIDE)
    assert torch.equal(made[1].features, before)
    assert len(made[3].masks) == 3


def test_an_object_without_a_mask_keeps_its_place(tmp_path: Path) -> None:
    objects = (boxed("ship", (0.0, 0.0, 9.0, 9.0)), *SAMPLES[0].instances)
    made = built(tmp_path, [SAMPLES[3], Sample("boxes", SAMPLES[0].image, objects), SAMPLES[1]])
    assert [instance["masked"] for instance in made[1].facts["instances"]] == [False, True, True]
    assert not made[1].masks[0].any()
    assert torch.equal(made[1].masks[1:], built(tmp_path / "whole")[0].masks)
    assert torch.equal(made[2].masks, built(tmp_path / "whole")[1].masks)
    only = built(tmp_path / "boxes", [Sample("boxes", SAMPLES[0].image, objects[:1]), SAMPLES[0]])
    assert list(only.places(masked=True)) == [1]
    assert list(only.places(masked=False)) == [0, 1]


@pytest.mark.parametrize("name", FILES[:2])
def test_a_file_that_lost_its_end_is_not_filled_up_with_zeros(tmp_path: Path, name: str) -> None:
    built(tmp_path, SAMPLES[:2])
    with (tmp_path / name).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(OSError, match=rf"{name} has 100 bytes where its index counts on"):
        built(tmp_path)
    assert len((tmp_path / "index.jsonl").read_text().splitlines()) == 2


def test_the_index_is_one_json_line_a_window(tmp_path: Path) -> None:
    built(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    assert [line["first_mask"] for line in lines] == [0, 2, 3, 3, 6]
    assert (tmp_path / "masks.bin").stat().st_size == 7 * MASK_SIDE**2
    assert (tmp_path / "features.bin").stat().st_size == 5 * 2 * PATCHES * CHANNELS * 2


def names(made: FeatureStore) -> list[str]:
    """What comes in every place, and after it what was said."""
    return [str(made[index].facts["key"]) for index in range(len(made))]


@pytest.mark.parametrize(
    "line",
    ["{torn", "[]", "{}", '{"first_mask": -1}', '{"key": 3}', "\x00", '{"instances": [{}]}'],
    ids=["torn", "list", "empty", "negative", "number", "zero", "bare"],
)
def test_a_broken_line_of_the_index_costs_one_window(tmp_path: Path, line: str) -> None:
    built(tmp_path)
    index = tmp_path / "index.jsonl"
    lines = index.read_text().splitlines()
    good = json.loads(lines[1])
    lines[1] = json.dumps({**good, **json.loads(line)}) if line.startswith('{"') else line
    index.write_text("\n".join(lines) + "\n")
    made = store(tmp_path)
    assert names(made) == ["first", "empty", "empty", "three", "last"]  # the next one that is whole takes its place
    assert made.unreadable == [f"{tmp_path.name}: line 2: line 2 of index.jsonl is broken"]
    assert torch.equal(made[3].masks, built(tmp_path / "again")[3].masks)
    assert index.read_text().splitlines() == lines


def test_features_that_are_no_numbers_cost_one_window(tmp_path: Path) -> None:
    built(tmp_path)
    values = np.memmap(tmp_path / "features.bin", np.uint16, "r+")
    values[3] = values[3 * len(values) // 5] = 0x7F80  # infinity
    values.flush()
    made = store(tmp_path)
    assert names(made) == ["wide", "wide", "empty", "last", "last"]  # of those with objects
    assert made.unreadable == [
        f"{tmp_path.name}: first: its features are not finite",
        f"{tmp_path.name}: three: its features are not finite",
    ]


@pytest.mark.parametrize(("name", "left"), [("features.bin", 0.7), ("masks.bin", 0.5)])
def test_a_file_that_lost_its_end_costs_what_was_there(tmp_path: Path, name: str, left: float) -> None:
    built(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(left * len(data))])
    made = store(tmp_path)
    assert names(made) == ["first", "wide", "empty", "first", "first"]
    assert any("last: features.bin or masks.bin ends before it" in text for text in made.unreadable)


def test_where_nothing_can_be_read_a_sentence_says_so(tmp_path: Path) -> None:
    built(tmp_path)
    (tmp_path / "features.bin").write_bytes(b"")
    with pytest.raises(UnreadableError, match=r"no window of the feature store .* can be read; delete it"):
        store(tmp_path)[0]
