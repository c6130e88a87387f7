"""A planted difference is found, noise is not, and luck with a seed is no difference; on made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from geopix.ablation.verdict import Scores, compare, summary

IMAGES = [f"image {index // 3}" for index in range(240)]
BASE = np.random.default_rng(7).uniform(0.2, 0.7, len(IMAGES))


def made(seed: int, gain: float, seeds: int = 3, luck: float = 0.004, noise: float = 0.05) -> Scores:
    rng = np.random.default_rng(seed)
    ious = np.clip(BASE + gain + rng.normal(0, luck, (seeds, 1)) + rng.normal(0, noise, (seeds, len(IMAGES))), 0, 1)
    union = np.full(ious.shape, 1000.0)
    return Scores(ious, np.stack([ious * union, union], axis=-1))


@pytest.mark.parametrize(("gain", "verdict"), [(0.05, "better"), (-0.05, "worse")])
def test_a_planted_difference_is_found(gain: float, verdict: str) -> None:
    held = compare(made(1, gain), made(2, 0.0), IMAGES, trained=True)
    assert held.verdict == verdict
    assert held.miou.value == pytest.approx(gain, abs=0.01)
    assert held.miou.low <= held.miou.value <= held.miou.high
    assert held.ciou.value == pytest.approx(held.miou.value, abs=1e-9)
    assert len(held.by_seed) == 3


def test_noise_is_called_a_difference_at_most_as_often_as_five_percent_allows() -> None:
    called = [compare(made(2 * n, 0.0), made(2 * n + 1, 0.0), IMAGES, trained=True).verdict for n in range(20)]
    assert sum(verdict != "no difference shown" for verdict in called) <= 1


def test_luck_with_a_seed_is_no_difference() -> None:
    """One run of three went well: over images alone it looks real."""
    ours, theirs = made(1, 0.0), made(2, 0.0)
    ours.ious[1] += 0.15
    assert compare(ours, theirs, IMAGES, trained=False).verdict == "better"
    held = compare(ours, theirs, IMAGES, trained=True)
    assert held.verdict == "no difference shown"
    assert held.over_seeds is not None
    assert held.over_seeds.low < 0 < held.over_seeds.high


def test_one_seed_shows_nothing_of_training() -> None:
    ours, theirs = made(1, 0.2, seeds=1), made(2, 0.0, seeds=1)
    assert compare(ours, theirs, IMAGES, trained=True).verdict == "no difference shown"
    assert compare(ours, theirs, IMAGES, trained=False).verdict == "better"


def test_seeds_by_hand() -> None:
    """Differences 1, 2 and 3 hundredths: mean 0.02, standard error 0.01 / sqrt 3, t of two degrees 4.3027."""
    theirs = Scores(np.full((3, 4), 0.5), np.ones((3, 4, 2)))
    ours = Scores(theirs.ious + np.array([[0.01], [0.02], [0.03]]), np.ones((3, 4, 2)))
    held = compare(ours, theirs, ["a", "b", "c", "d"], trained=True)
    assert held.over_seeds is not None
    assert held.over_seeds.low == pytest.approx(0.02 - 4.3027 * 0.01 / 3**0.5, abs=1e-5)
    assert held.verdict == "no difference shown"
    assert held.miou.low == pytest.approx(0.02)


def test_pooled_pixels_by_hand() -> None:
    scores = Scores(np.array([[0.5, 1.0]]), np.array([[[10.0, 20.0], [30.0, 30.0]]]))
    miou, ciou = summary(scores, ["a", "b"])
    assert miou.value == 0.75
    assert ciou.value == 0.8


def test_rows_that_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="can't be paired"):
        compare(made(1, 0.0), made(2, 0.0, seeds=2), IMAGES, trained=True)
