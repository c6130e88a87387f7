"""The data benchmark measures what it says: its data are the same every time, and come through every stage."""

from __future__ import annotations

from pathlib import Path

from benchmarks import data
from geopix.data import statistics
from geopix.data.entries import SetReader, checked


def test_images_are_the_same_every_time_and_sound() -> None:
    assert data.image(7) == data.image(7)
    assert data.image(7) != data.image(8)
    for index in range(60):
        for one in data.image(index):
            assert checked(one, (data.SIDE, data.SIDE)).counts == one.counts
    share = sum(n * p for n, p in data.INSTANCES.items())
    assert 65_000 * share == 139_750


def test_every_stage_passes_the_images_on(tmp_path: Path) -> None:
    data.write_coco(tmp_path / "coco", 40)
    data.write_descriptions(tmp_path / "words", 40)
    total = sum(len(data.image(index)) for index in range(40))
    assert data.do_import(tmp_path) == {"images": 40, "objects": total}
    built = data.do_build(tmp_path, 1)
    assert 30 < built["images"] <= 40
    assert data.do_statistics(tmp_path, "built1") == built
    part = statistics.whole(statistics.count(SetReader(tmp_path / "built1"), "s").values())
    assert 0.7 < part.described / part.instances < 0.95  # 0.85 have one; of near neighbours some go without
