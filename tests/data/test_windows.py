"""The stream of training windows: endless, the same on every machine, and always within the paper's filter."""

from __future__ import annotations

import numpy as np

from geopix.data.construct import passes_filter
from geopix.data.windows import SIDE, passing_windows, training_window
from geopix.records import Sample, mask_box
from tests.tiny import scene

AIRPORT = scene([("airplane", (20 + 40 * i, 30, 45 + 40 * i, 55)) for i in range(4)], (160, 200), key="airport")
QUAY = scene([("ship", (20, 20, 60, 50)), ("harbor", (70, 70, 150, 140))], (160, 180), key="quay", complete=False)
CROWD = scene([("vehicle", (10 * i, 10, 10 * i + 8, 30)) for i in range(12)], (80, 120), key="car park")


def same(first: Sample, second: Sample) -> bool:
    return first.key == second.key and np.array_equal(first.image, second.image)


def test_a_window_is_named_by_seed_and_index() -> None:
    windows = [training_window([AIRPORT, QUAY], 0, index) for index in range(8)]
    assert same(windows[5], training_window([AIRPORT, QUAY], 0, 5))
    assert not same(windows[5], training_window([AIRPORT, QUAY], 1, 5))
    assert len({window.key for window in windows}) > 5


def test_every_window_passes_and_mosaics_are_among_them() -> None:
    mosaics = 0
    for index in range(60):
        window = training_window([AIRPORT, QUAY, CROWD], 3, index)
        assert passes_filter(window.instances)
        assert all(one.mask is not None and one.box_xyxy_px == mask_box(one.mask) for one in window.instances)
        if "+" in window.key:
            mosaics += 1
            assert window.size_hw == (SIDE, SIDE)
        assert window.complete == ("quay" not in window.key)
    assert 3 <= mosaics <= 30


def test_a_window_carries_no_words_that_it_may_have_lost() -> None:
    told = Sample(AIRPORT.key, AIRPORT.image, AIRPORT.instances, captions=("Four airplanes.",))
    assert training_window([told], 0, 0).captions == ()


def test_evaluation_takes_whole_images_that_pass_and_windows_of_all() -> None:
    windows = passing_windows([AIRPORT, CROWD], per_sample=3, seed=0)
    assert same(windows[0], AIRPORT)
    assert not any(same(window, CROWD) for window in windows)
    assert all(passes_filter(window.instances) for window in windows)
    assert [window.key for window in windows] == [w.key for w in passing_windows([AIRPORT, CROWD], 3, 0)]
    assert passing_windows([AIRPORT, CROWD], per_sample=0, seed=0) == [AIRPORT]
