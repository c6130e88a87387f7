"""Labels of whole images: what UC Merced's table says of our classes, and that nothing is both there and missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from geopix.classes import KNOWN
from geopix.data import scenes
from geopix.data.entries import EntryError
from tests.tiny import scene

HEAD = "IMAGE\\LABEL\tairplane\tbare-soil\tcars\tcourt\tdock\tship\ttanks"


def table(folder: Path, *rows: str) -> Path:
    path = folder / "labels.txt"
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    return path


def test_labels_become_classes(tmp_path: Path) -> None:
    rows = ("harbor00\t0\t1\t0\t0\t1\t1\t0", "airplane07\t1\t0\t1\t0\t0\t0\t0")
    found = scenes.ucm_scenes(table(tmp_path, *rows))
    assert found["harbor00"].there == ("harbor", "ship")
    assert {"airplane", "vehicle", "tennis court", "storage tank", "baseball diamond"} <= set(found["harbor00"].missing)
    assert "bridge" not in found["harbor00"].missing
    assert found["airplane07"].there == ("airplane", "vehicle")
    assert {"bridge", "helicopter", "basketball court"} <= set(found["airplane07"].missing)


def test_baseball_diamonds_go_by_the_scene_and_are_not_denied_where_people_live(tmp_path: Path) -> None:
    rows = [f"{name}01" + "\t0" * 7 for name in ("baseballdiamond", "denseresidential", "forest", "golfcourse")]
    found = scenes.ucm_scenes(table(tmp_path, *rows))
    assert found["baseballdiamond01"].there == ("baseball diamond",)
    said = {name: "baseball diamond" in one.missing for name, one in found.items()}
    assert said == {"baseballdiamond01": False, "denseresidential01": False, "forest01": True, "golfcourse01": False}
    assert "golf course" not in found["golfcourse01"].missing


def test_nothing_is_both_there_and_missing_and_all_have_names_of_ours(tmp_path: Path) -> None:
    ones = scenes.ucm_scenes(table(tmp_path, "tenniscourt00" + "\t1" * 7, "river00" + "\t0" * 7)).values()
    for one in (*ones, *scenes.AID.values(), scenes.AIRPORT, scenes.PORT):
        assert not set(one.there) & set(one.missing)
        assert {*one.there, *one.missing} <= set(KNOWN)
        assert len(set(one.missing)) == len(one.missing)


def test_a_sample_is_told(tmp_path: Path) -> None:
    told = scenes.AIRPORT.told(scene([], (20, 20)))
    assert (told.there, told.missing) == (("airplane",), scenes.AIRPORT.missing)


@pytest.mark.parametrize("row", ["forest00\t0\t1", "forest00" + "\t2" * 7, "forest00" + "\t0" * 8])
def test_another_table_is_told(tmp_path: Path, row: str) -> None:
    with pytest.raises(EntryError, match=r"labels\.txt line 2 is no row of 7 zeros and ones"):
        scenes.ucm_scenes(table(tmp_path, row))


@pytest.mark.parametrize(("given", "said"), [(b"", "has no column 'airplane'"), (b"\xff\xfe", "is no text in UTF-8")])
def test_what_is_no_table_is_told(tmp_path: Path, given: bytes, said: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(given)
    with pytest.raises(EntryError, match=rf"labels\.txt {said}: take the table of UC Merced's 17 labels"):
        scenes.ucm_scenes(path)


def test_a_table_without_our_labels_is_told(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("IMAGE\tairplane\nforest00\t0\n")
    with pytest.raises(EntryError, match="has no column 'cars'"):
        scenes.ucm_scenes(path)
