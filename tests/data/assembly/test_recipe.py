"""Recipes: what is in them is checked, and every fault is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from geopix.config import ConfigError
from geopix.data.assembly.recipe import load

GOOD = """
name: SIOR-T
sets:
  - path: sior
    subset: SIOR_T
    join: {path: rsvg}
windows: {sides: [800]}
"""


def test_the_papers_numbers_are_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(GOOD)
    recipe = load(path, ("filter.max_total=9", "twins.leaks=refuse"))
    assert recipe.sets[0].join is not None
    assert (recipe.filter.max_per_class, recipe.filter.max_total) == (4, 9)
    assert recipe.sets[0].join.tolerance_px == 10
    assert recipe.twins.leaks == "refuse"
    assert load(path).filter.max_total == 11


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("SIOR_T", "../SIOR"), "sets.0.subset"),
        (("{path: rsvg}", "{path: rsvg, tolerance: 3}"), "sets.0.join.tolerance"),
        (("sides: [800]", "sides: []"), "windows.sides"),
        (("sides: [800]", "sides: [8]"), "windows.sides.0"),
        (("windows", "pixels: false\nwindows"), "pixels can't be false"),
        (("windows", "  - {path: b, subset: SIOR_T}\nwindows"), "subset name of its own"),
        (("name: SIOR-T", "nom: SIOR-T"), "name: Field required"),
        (("name: SIOR-T", "name: ]"), "can't be read as YAML"),
    ],
)
def test_faults_are_named(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(ConfigError, match=complaint):
        load(path)
