"""Hostile input and output: one clear sentence each, nothing decoded that should not be, nothing half-written."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PillowImage

from geopix import geo
from geopix.records import Answer, Image, Instance

EXAMPLES = Path(__file__).parents[1] / "examples"
ANSWER = Answer("One [1].", (Instance("a box", "ship", (10.0, 10.0, 20.0, 20.0)),), (600, 600), "nano", 0.1)


def refusal(path: Path, **options: Any) -> str:
    """The sentence with which an image is refused; it is one line and names the file."""
    with pytest.raises(geo.ImageError) as caught:
        geo.read(path, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert path.name in sentence
    return sentence


def png(width: int, height: int) -> bytes:
    """A PNG of which only the header is honest."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b""
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")):
        chunks += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunks


def tif(path: Path, values: NDArray[Any], **more: Any) -> Path:
    profile = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)} | more
    bands, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=bands, height=height, width=width, dtype=values.dtype, **profile
    ) as raster:
        raster.write(values)
    return path


# -- in ----------------------------------------------------------------------------------------------------------------


def test_missing_folder_empty_and_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no file" in refusal(tmp_path / "none.png")
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "empty.jpg").touch()
    assert "0 bytes" in refusal(tmp_path / "empty.jpg")
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in refusal(tmp_path / "pipe.png")
    assert "cannot be opened" in refusal(tmp_path / ("x" * 300 + ".png"))

    def denied(*_: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "permission denied" in refusal(EXAMPLES / "airport.jpg")


@pytest.mark.parametrize(
    "name",
    ["https://example.org/a.tif", "s3://bucket/a.tif", "/vsicurl/https://example.org/a.tif", "/vsizip/a.zip/a.tif"],
)
def test_nothing_but_local_files(name: str) -> None:
    assert "not a local file" in refusal(Path(name))


@pytest.mark.parametrize(
    "content", [b"just some words\n", b"<VRTDataset></VRTDataset>", b"GIF89a\x08\x00\x08\x00", b"\xff"]
)
def test_other_content_whatever_the_suffix(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert "neither PNG, JPEG nor GeoTIFF" in refusal(tmp_path / "a.png")


def test_right_content_under_a_wrong_suffix_is_read(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes((EXAMPLES / "airport.jpg").read_bytes())
    assert geo.read(tmp_path / "photo.png")[1].size_hw == (600, 600)


@pytest.mark.parametrize("name", ["airport.jpg", "naip.tif", "sentinel2_port.tif", "airport.png"])
@pytest.mark.parametrize("kept", [0.02, 0.5])
def test_cut_short(name: str, kept: float, tmp_path: Path) -> None:
    whole = EXAMPLES / name
    if name.endswith(".png"):
        PillowImage.open(EXAMPLES / "airport.jpg").save(tmp_path / "whole.png")
        whole = tmp_path / "whole.png"
    data = whole.read_bytes()
    (tmp_path / name).write_bytes(data[: int(kept * len(data))])
    assert "damaged or cut short" in refusal(tmp_path / name)


@pytest.mark.parametrize("size_wh", [(1, 1), (7, 100), (100, 7)])
def test_too_small(size_wh: tuple[int, int], tmp_path: Path) -> None:
    PillowImage.new("RGB", size_wh).save(tmp_path / "tiny.png")
    sentence = refusal(tmp_path / "tiny.png")
    assert f"{size_wh[0]} x {size_wh[1]} px" in sentence
    assert "8 px a side" in sentence


def test_too_large_is_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "huge.png").write_bytes(png(30_000, 30_000))
    sparse = {"driver": "GTiff", "width": 30_000, "height": 30_000, "count": 3, "dtype": "uint8", "sparse_ok": True}
    with rasterio.open(tmp_path / "huge.tif", "w", transform=rasterio.Affine(10, 0, 5, 0, -10, 4), **sparse):
        pass
    jpeg = bytearray((EXAMPLES / "airport.jpg").read_bytes())
    frame = next(at for at in range(len(jpeg)) if jpeg[at] == 0xFF and jpeg[at + 1] in (0xC0, 0xC2))
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 30_000, 30_000)
    (tmp_path / "huge.jpg").write_bytes(jpeg)

    def decoded(*_: Any, **__: Any) -> Any:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("geopix.geo.reading._raster_planes", decoded)
    monkeypatch.setattr("geopix.geo.reading._picture_planes", decoded)
    for name in ("huge.png", "huge.tif", "huge.jpg"):
        sentence = refusal(tmp_path / name)
        assert "30,000 x 30,000 px" in sentence
        assert "100 megapixels" in sentence


def test_nothing_valid(tmp_path: Path) -> None:
    square = np.ones((1, 16, 16), np.float32)
    invisible = PillowImage.new("RGBA", (16, 16), (200, 100, 50, 0))
    invisible.save(tmp_path / "clear.png")
    for path in (
        tif(tmp_path / "nan.tif", square * np.nan),
        tif(tmp_path / "infinite.tif", square * np.inf),
        tif(tmp_path / "nodata.tif", square * -9999, nodata=-9999),
        tif(tmp_path / "zero.tif", np.zeros((3, 16, 16), np.uint8), nodata=0),
        tmp_path / "clear.png",
    ):
        assert "no valid pixel" in refusal(path)


def test_flat_and_single_valid_pixels_are_no_trouble(tmp_path: Path) -> None:
    flat, _ = geo.read(tif(tmp_path / "flat.tif", np.full((1, 16, 16), 5, np.uint16)))
    assert (flat == 128).all()
    lonely = np.full((1, 16, 16), np.nan, np.float64)
    lonely[0, 3, 4] = 1e30
    image, _ = geo.read(tif(tmp_path / "lonely.tif", lonely))
    assert np.count_nonzero(image.any(axis=-1)) == 1


def test_complex_numbers_and_wrong_bands(tmp_path: Path) -> None:
    assert "complex" in refusal(tif(tmp_path / "radar.tif", np.ones((1, 16, 16), np.complex64)))
    for bands in [(1, 2, 5), (0, 1, 2), (-1, 1, 1)]:
        sentence = refusal(EXAMPLES / "naip.tif", bands=bands)
        assert "from 1 to 4" in sentence
        assert ",".join(map(str, bands)) in sentence
    assert "from 1 to 3" in refusal(EXAMPLES / "airport.jpg", bands=(1, 2, 4))
    with pytest.raises(geo.ImageError, match="percentiles"):
        geo.read(EXAMPLES / "naip.tif", stretch=(98, 2))


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_bytes_give_an_image_or_one_sentence(data: st.DataObject, tmp_path: Path) -> None:
    name = data.draw(st.sampled_from(["ucmerced_baseballdiamond.jpg", "sentinel2_port.tif", "small.png"]))
    if name == "small.png":
        picture = PillowImage.open(EXAMPLES / "ucmerced_baseballdiamond.jpg").resize((32, 32)).quantize(16)
        picture.save(tmp_path / name)
        whole = bytearray((tmp_path / name).read_bytes())
    else:
        whole = bytearray((EXAMPLES / name).read_bytes())
    # Half of the damage goes where the formats keep their structure.
    places = st.one_of(st.integers(4, 300), st.integers(4, len(whole) - 1))
    for place in data.draw(st.lists(places, min_size=1, max_size=12)):
        whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged_{name}"
    path.write_bytes(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders may grumble about what they can mend
        with contextlib.suppress(geo.ImageError):
            image, frame = geo.read(path)
            assert image.shape == (*frame.size_hw, 3)


# -- out ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked() -> tuple[Image, geo.Frame]:
    return geo.read(EXAMPLES / "airport.jpg")


def save(asked: tuple[Image, geo.Frame], path: Path, overwrite: bool = False) -> None:
    if path.suffix == ".png":
        geo.write_png(asked[0], path, overwrite)
    else:
        geo.write(ANSWER, *asked, path, question="Where?", overwrite=overwrite)


EVERY = [".png", ".gpkg", ".geojson", ".tif", ".json"]


@pytest.mark.parametrize("suffix", EVERY)
def test_nothing_is_overwritten_unasked(suffix: str, asked: tuple[Image, geo.Frame], tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_text("precious")
    with pytest.raises(geo.ImageError, match="--overwrite"):
        save(asked, path)
    assert path.read_text() == "precious"
    save(asked, path, overwrite=True)
    assert path.read_bytes() != b"precious"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("suffix", EVERY)
def test_a_full_disk_leaves_nothing_behind(
    suffix: str, asked: tuple[Image, geo.Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("geopix.geo.writing.os.fsync", full)
    with pytest.raises(geo.ImageError, match=r"no space left on device.*make room"):
        save(asked, tmp_path / f"out{suffix}")
    assert not list(tmp_path.iterdir())
    kept = tmp_path / f"kept{suffix}"
    kept.write_text("precious")
    with pytest.raises(geo.ImageError):
        save(asked, kept, overwrite=True)
    assert kept.read_text() == "precious"


def test_a_write_that_stops_half_way(asked: tuple[Image, geo.Frame], tmp_path: Path) -> None:
    """The real thing: the system refuses every byte after the first hundred."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(geo.ImageError, match="cannot be written"):
            save(asked, tmp_path / "out.gpkg")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing_behind(
    asked: tuple[Image, geo.Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("geopix.geo.writing.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(asked, tmp_path / "out.tif")
    assert not list(tmp_path.iterdir())


def test_outputs_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    source = tmp_path / "image.tif"
    source.write_bytes(b"II*\0")
    (tmp_path / "link.tif").symlink_to(source)
    for path, overwrite, words in [
        (tmp_path / "out.shp", False, "one of .png, .gpkg, .geojson, .tif, .tiff, .json"),
        (tmp_path / "out", False, "suffix ''"),
        (tmp_path / "folder.png", True, "is a folder"),
        (tmp_path / "pipe.json", True, "not a regular file"),
        (tmp_path / "no" / "such" / "out.png", False, "there is no folder"),
        (source, True, "the image itself"),
        (tmp_path / "link.tif", True, "the image itself"),
    ]:
        with pytest.raises(geo.ImageError, match=words.replace(".", r"\.")):
            geo.check_output(path, overwrite, str(source))
    geo.check_output(tmp_path / "Fine.GeoJSON", False)
    # A super-user may write everywhere, so the system's own word is played here.
    monkeypatch.setattr("geopix.geo.writing.os.access", lambda *_: False)
    with pytest.raises(geo.ImageError, match="read-only"):
        geo.check_output(tmp_path / "out.png", False)


def test_links_keep_pointing_at_their_file(asked: tuple[Image, geo.Frame], tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    save(asked, tmp_path / "link.json", overwrite=True)
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text().startswith("{")


def test_answers_about_another_image_are_refused(asked: tuple[Image, geo.Frame], tmp_path: Path) -> None:
    image, frame = asked
    wrong = Instance("x", "ship", (0.0, 0.0, 1.0, 1.0), np.ones((8, 8), np.bool_))
    for answer, picture in [
        (Answer("", (), (8, 8), "nano", 0.1), image),
        (Answer("", (wrong,), (600, 600), "nano", 0.1), image),
        (ANSWER, image[:8, :8]),
    ]:
        with pytest.raises(geo.ImageError, match=r"\(8, 8\)"):
            geo.write(answer, picture, frame, tmp_path / "o.tif", question="q")
    with pytest.raises(geo.ImageError, match="overlay"):
        geo.write(ANSWER, image, frame, tmp_path / "o.png", question="q")
    assert not list(tmp_path.iterdir())


def test_geojson_needs_a_place_on_earth(tmp_path: Path) -> None:
    local = 'LOCAL_CS["hall floor",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    frame = geo.Frame((600, 600), local, rasterio.Affine(1, 0, 0, 0, -1, 600), "hall.tif")
    image = np.zeros((600, 600, 3), np.uint8)
    with pytest.raises(geo.ImageError, match="gpkg"):
        geo.write(ANSWER, image, frame, tmp_path / "o.geojson", question="q")
    assert not list(tmp_path.iterdir())
    geo.write(ANSWER, image, frame, tmp_path / "o.gpkg", question="q")
    assert (tmp_path / "o.gpkg").stat().st_size > 0
