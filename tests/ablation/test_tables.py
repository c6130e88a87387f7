"""Tables IX to XI in the paper's form, of results made up by hand: what is there, what is not, what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geopix.ablation.plan import load
from geopix.ablation.tables import COLUMNS, FOOTER, PLACES, ablation_table
from geopix.evaluate.table import TableError, comma_separated, markdown, read, write

CONFIG = Path(__file__).parents[2] / "configs" / "ablation.yaml"


def _row(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "says": "so", "against": "default", "seeds": [0, 1, 2], "miou": [0.5, 0.4, 0.6],
        "ciou": [0.7, 0.6, 0.8], "minutes": 12.34, "fusion_parameters": 2723, "paper": None, **more,
    }  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Results of the default, of one row that is worse, and of one that the paper lacks."""
    held = {
        "difference_miou": [-0.02, -0.03, -0.01],
        "verdict": "worse",
        "paper": [76.56, 83.25],
        "paper_difference": -7.69,
    }
    rows = [
        _row("default", paper=[84.25, 89.82]),
        _row("capacity_none", fusion_parameters=0, **held),
        _row("query_given", says="the true class", against="shipped", verdict="no difference shown"),
    ]
    (tmp_path / "ablation").mkdir()
    told = {"rows": rows, "footer": [f"about {name}" for name in FOOTER]}
    (tmp_path / "ablation" / "table.json").write_text(json.dumps(told))
    return tmp_path


def test_rows_stand_as_in_the_paper_with_what_is_missing_told(runs: Path, tmp_path: Path) -> None:
    made = ablation_table(9, runs)
    cells = {row.name: dict(zip(COLUMNS, row.cells, strict=True)) for row in made.rows}
    assert [row.name for row in made.rows][:4] == ["capacity: none", "capacity: 32", "capacity: 64", "capacity: 256"]
    assert cells["capacity: none"]["difference in mIoU"] == "-2.00 [-3.00, -1.00]"
    assert cells["capacity: none"]["verdict"] == "worse"
    assert (cells["capacity: none"]["paper: mIoU"], cells["capacity: none"]["paper: difference"]) == ("76.56", "-7.69")
    assert cells["fusion: conv3d"] == cells["capacity: 64"]
    assert cells["fusion: conv3d"]["seeds"] == "3"
    assert cells["fusion: argmax"]["mIoU"] == "not run"
    assert [name for name in cells if "not in the paper" in name] == [
        "not in the paper: query_given, the true class, against shipped"
    ]
    assert "| capacity: none | 0 | 50.0 [40.0, 60.0] |" in markdown(made)
    assert "w/o" not in markdown(made)
    assert "84.25" in markdown(made).split("The paper's rows")[1]
    assert "capacity: none,mIoU,,,0.500000,0.400000,0.600000" in comma_separated(made)
    write(made, tmp_path / "nine.json")
    assert read(tmp_path / "nine.json").rows == made.rows
    assert [row.name for row in ablation_table(10, runs).rows] == ["shared", "independent"]


def test_every_row_of_the_tables_is_one_of_the_settings_file() -> None:
    rows = load(CONFIG).rows
    numerals = {9: "IX", 10: "X"}
    for places in PLACES.values():
        for label, name in places:
            assert name in rows, label
    for name, row in rows.items():
        for number, numeral in numerals.items():
            assert row.table != numeral or name in dict(map(reversed, PLACES[number]))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 3}', '{"rows": [{"name": "default"}], "footer": []}', "{"])
def test_what_is_no_result_is_told_in_a_sentence(runs: Path, text: str) -> None:
    (runs / "ablation" / "table.json").write_text(text)
    with pytest.raises(TableError, match="holds no results"):
        ablation_table(9, runs)
    with pytest.raises(TableError, match="is missing; give the folder"):
        ablation_table(9, runs / "elsewhere")


def test_numbers_that_are_none_are_told(runs: Path) -> None:
    path = runs / "ablation" / "table.json"
    path.write_text(path.read_text().replace("0.5,", "NaN,"))
    with pytest.raises(TableError, match="not finite"):
        ablation_table(10, runs)


@pytest.mark.parametrize(
    ("name", "wrong"), [("paper", []), ("paper", [1e999]), ("fusion_parameters", 1e999), ("minutes", 1e999)]
)
def test_a_cell_that_is_none_is_told_in_a_sentence(runs: Path, name: str, wrong: Any) -> None:
    path = runs / "ablation" / "table.json"
    told = json.loads(path.read_text())
    told["rows"][0][name] = wrong
    path.write_text(json.dumps(told))
    with pytest.raises(TableError, match="holds no results of geopix ablate"):
        ablation_table(10, runs)
