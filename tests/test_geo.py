"""Rasters in and answers out: bands, validity, CRS, transform, areas, and files that other programs read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps
from pycocotools.coco import COCO
from pyproj import Geod, Transformer
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from geopix import geo
from geopix.geo.vectors import area_m2, map_polygons, pixel_polygons
from geopix.records import Answer, Instance, Mask, mask_box

EXAMPLES = Path(__file__).parents[1] / "examples"
UTM = Affine(10, 0, 500_000, 0, -10, 4_000_000)
TEXTS = ["phrase", "class", "question", "model"]
# Only a reminder, which GDAL gives whenever a raster has no place on the map.
NO_PLACE = "ignore:Dataset has no geotransform:rasterio.errors.NotGeoreferencedWarning"

MakeTif = Callable[..., Path]


@pytest.fixture
def make_tif(tmp_path: Path) -> MakeTif:
    """Writes (bands, H, W) as a GeoTIFF."""

    def make(
        values: NDArray[Any], name: str = "in.tif", after: Callable[[Any], None] | None = None, **more: Any
    ) -> Path:
        path = tmp_path / name
        bands, height, width = values.shape
        profile = {"crs": "EPSG:32633", "transform": UTM} | more
        with rasterio.open(
            path, "w", driver="GTiff", count=bands, height=height, width=width, dtype=values.dtype, **profile
        ) as raster:
            raster.write(values)
            if after is not None:
                after(raster)
        return path

    return make


def blob(size_hw: tuple[int, int]) -> Mask:
    """A mask with a hole, a second piece, and two pixels that touch at a corner."""
    mask = np.zeros(size_hw, np.bool_)
    mask[4:14, 5:20] = True
    mask[7:10, 9:13] = False
    mask[20:24, 22:30] = True
    mask[26, 2] = mask[27, 3] = True
    return mask


def instance(mask: Mask, phrase: str = "the pond", name: str = "pond", **more: Any) -> Instance:
    return Instance(phrase, name, mask_box(mask), mask, **more)


def answer(size_hw: tuple[int, int], *instances: Instance) -> Answer:
    return Answer("One [1].", instances, size_hw, "nano", 0.5)


def vectors(path: Path) -> tuple[dict[str, Any], list[Any], dict[str, list[Any]]]:
    """Layer information, geometries and columns of a vector file."""
    info, _, geometry, columns = pyogrio.raw.read(path)
    return (
        info,
        [None if wkb is None else shapely.from_wkb(wkb) for wkb in geometry],
        dict(zip(info["fields"], [list(column) for column in columns], strict=True)),
    )


# -- in ----------------------------------------------------------------------------------------------------------------


def test_shipped_pictures() -> None:
    for name, size_hw, on_map in [
        ("airport.jpg", (600, 600), False),
        ("ucmerced_baseballdiamond.jpg", (256, 256), False),
        ("sentinel2_port.tif", (88, 88), True),
        ("naip.tif", (256, 256), True),
    ]:
        image, frame = geo.read(EXAMPLES / name)
        assert image.shape == (*size_hw, 3)
        assert image.dtype == np.uint8
        assert image.std() > 10
        assert frame.size_hw == size_hw
        assert frame.on_map is on_map
        assert frame.notes == ()


def test_eight_bits_stay_as_they_are() -> None:
    image, _ = geo.read(EXAMPLES / "naip.tif")
    with rasterio.open(EXAMPLES / "naip.tif") as raster:
        np.testing.assert_array_equal(image, np.moveaxis(raster.read([1, 2, 3]), 0, -1))


def test_bands_are_counted_from_one() -> None:
    infrared, _ = geo.read(EXAMPLES / "naip.tif", bands=(4, 1, 4))
    with rasterio.open(EXAMPLES / "naip.tif") as raster:
        near, red = raster.read(4), raster.read(1)
    seen = (near > 0) | (red > 0)
    np.testing.assert_array_equal(infrared, np.stack([near, red, near], axis=-1) * seen[..., None])


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "float32", "float64"])
def test_stretch_reaches_black_and_white_at_the_percentiles(make_tif: MakeTif, dtype: str) -> None:
    ramp = np.arange(1000, 1000 + 40 * 50).reshape(40, 50).astype(dtype)
    image, _ = geo.read(make_tif(np.stack([ramp, ramp * 2, ramp])))
    low, high = np.percentile(ramp, (2, 98))
    expected = np.rint(np.clip((ramp.astype(float) - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(image[..., 0], expected)
    np.testing.assert_array_equal(image[..., 1], image[..., 0])  # every band by itself


def test_stretch_on_request_for_eight_bits(make_tif: MakeTif) -> None:
    ramp = np.tile(np.arange(100, 120, dtype=np.uint8), (20, 1))[None]
    assert geo.read(make_tif(ramp))[0].max() == 119
    assert geo.read(make_tif(ramp), stretch=(0, 100))[0].max() == 255


def test_one_and_two_bands_are_grey(make_tif: MakeTif) -> None:
    values = np.random.default_rng(0).integers(0, 255, (2, 16, 16), np.uint8)
    for count in (1, 2):
        image, _ = geo.read(make_tif(values[:count]))
        np.testing.assert_array_equal(image, np.repeat(values[0][..., None], 3, axis=-1))


def test_named_and_flagged_bands_win_over_their_order(make_tif: MakeTif) -> None:
    values = np.stack([np.full((16, 16), 10 * band, np.uint8) for band in range(1, 6)])

    def sentinel(raster: Any) -> None:
        raster.descriptions = ("B02", "B03", "B04", "B08", "red edge")

    def words(raster: Any) -> None:
        raster.descriptions = ("Blue", "Green", "Red edge 1", "Red", "NIR")

    def flags(raster: Any) -> None:
        kinds = ColorInterp
        raster.colorinterp = (kinds.undefined, kinds.blue, kinds.green, kinds.red, kinds.undefined)

    for name, after, expected in [
        ("a", sentinel, (30, 20, 10)),
        ("b", words, (40, 20, 10)),
        ("c", flags, (40, 30, 20)),
    ]:
        image, _ = geo.read(make_tif(values, f"{name}.tif", after, photometric="MINISBLACK"))
        assert tuple(image[0, 0]) == expected


def test_nodata_is_black_and_out_of_the_statistics(make_tif: MakeTif) -> None:
    values = np.random.default_rng(1).normal(100, 1, (3, 32, 32)).astype(np.float32)
    clean, _ = geo.read(make_tif(values, "clean.tif"), stretch=(0, 100))
    spoiled = values.copy()
    spoiled[:, :4, :4], spoiled[:, 5, 5], spoiled[:, 6, 6], spoiled[:, 7, 7] = -9999, np.nan, np.inf, -3.4e38
    image, _ = geo.read(make_tif(spoiled, nodata=-9999), stretch=(0, 100))
    assert not image[:4, :4].any()
    assert not image[[5, 6, 7], [5, 6, 7]].any()
    assert np.abs(image[10:].astype(int) - clean[10:]).max() <= 20  # the extremes may have been among the spoiled


def test_alpha_and_masks_of_geotiffs(make_tif: MakeTif) -> None:
    values = np.full((4, 16, 16), 200, np.uint8)
    values[3, :8] = 0
    flags = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)

    def alpha(raster: Any) -> None:
        raster.colorinterp = flags

    def masked(raster: Any) -> None:
        raster.write_mask(values[3] > 0)

    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        second = make_tif(values[:3], "masked.tif", masked)
    for path in (make_tif(values, "alpha.tif", alpha, photometric="RGB", alpha="YES"), second):
        image, _ = geo.read(path)
        assert not image[:8].any()
        assert (image[8:] == 200).all()


def test_palette_and_one_bit_geotiffs(make_tif: MakeTif) -> None:
    indices = np.zeros((1, 16, 16), np.uint8)
    indices[0, 8:] = 3

    def palette(raster: Any) -> None:
        raster.write_colormap(1, {0: (10, 20, 30, 255), 3: (200, 100, 50, 255)})

    image, _ = geo.read(make_tif(indices, "palette.tif", palette))
    assert (tuple(image[0, 0]), tuple(image[15, 0])) == ((10, 20, 30), (200, 100, 50))
    bits, _ = geo.read(make_tif(indices // 3, "bits.tif", nbits=1))
    assert (bits[0, 0, 0], bits[15, 0, 0]) == (0, 255)


def test_kinds_of_png_and_jpeg(tmp_path: Path) -> None:
    rgb = PillowImage.open(EXAMPLES / "ucmerced_baseballdiamond.jpg").convert("RGB").resize((64, 48))
    expected = np.asarray(rgb).astype(int)
    clear = rgb.copy()
    clear.putalpha(PillowImage.fromarray(np.where(np.arange(48)[:, None] < 24, 0, 128).repeat(64, 1).astype(np.uint8)))
    clear.save(tmp_path / "alpha.png")
    rgb.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=98)
    rgb.quantize(200).save(tmp_path / "palette.png")
    rgb.convert("L").save(tmp_path / "grey.png")
    rgb.convert("1").save(tmp_path / "bits.png")
    rgb.convert("CMYK").save(tmp_path / "cmyk.tif")
    deep = np.asarray(rgb.convert("L")).astype(np.uint16) * 100 + 500
    PillowImage.fromarray(deep).save(tmp_path / "deep.png")
    for name, tolerance in [("cmyk.jpg", 12), ("palette.png", 12), ("cmyk.tif", 2)]:
        assert np.abs(geo.read(tmp_path / name)[0] - expected).mean() < tolerance, name
    alpha, _ = geo.read(tmp_path / "alpha.png")
    assert not alpha[:24].any()
    np.testing.assert_array_equal(alpha[24:], expected[24:])
    grey, _ = geo.read(tmp_path / "grey.png")
    np.testing.assert_array_equal(grey[..., 2], np.asarray(rgb.convert("L")))
    assert set(np.unique(geo.read(tmp_path / "bits.png")[0])) == {0, 255}
    shown, _ = geo.read(tmp_path / "deep.png")
    assert (shown.min(), shown.max()) == (0, 255)
    assert np.corrcoef(shown[..., 0].ravel(), grey[..., 0].ravel())[0, 1] > 0.98


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    picture = PillowImage.open(EXAMPLES / "ucmerced_baseballdiamond.jpg").convert("RGB").crop((0, 0, 64, 32))
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    image, frame = geo.read(tmp_path / "turned.jpg")
    assert frame.size_hw == (64, 32)
    with PillowImage.open(tmp_path / "turned.jpg") as stored:
        np.testing.assert_array_equal(image, np.asarray(ImageOps.exif_transpose(stored)))
    # Where a world file places the stored pixels, they stay as they are stored.
    (tmp_path / "turned.jgw").write_text("10\n0\n0\n-10\n500005\n3999995\n")
    _, placed = geo.read(tmp_path / "turned.jpg")
    assert placed.size_hw == (32, 64)
    assert placed.transform == UTM
    assert placed.crs_wkt is None
    assert not placed.on_map
    assert "no CRS" in placed.notes[0]


@pytest.mark.filterwarnings(NO_PLACE)
def test_ground_control_points_are_no_place_on_the_map(make_tif: MakeTif) -> None:
    points = [rasterio.control.GroundControlPoint(r, c, 10 + c, 50 - r) for r, c in [(0, 0), (0, 9), (9, 0), (9, 9)]]

    def pin(raster: Any) -> None:
        raster.gcps = (points, rasterio.crs.CRS.from_epsg(4326))

    values = np.random.default_rng(0).integers(0, 255, (3, 16, 16), np.uint8)
    _, frame = geo.read(make_tif(values, after=pin, crs=None, transform=None))
    assert (frame.crs_wkt, frame.transform) == (None, None)
    assert "ground control points" in frame.notes[0]


# -- out ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["naip.tif", "sentinel2_port.tif"])
def test_crs_transform_and_area_survive(name: str, tmp_path: Path) -> None:
    image, frame = geo.read(EXAMPLES / name)
    mask = blob(frame.size_hw)
    one = answer(frame.size_hw, instance(mask, class_score=0.75, score=0.5))
    assert geo.write(one, image, frame, tmp_path / "out.gpkg", question="Where is it?") is None
    assert geo.write(one, image, frame, tmp_path / "out.tif", question="Where is it?") is None
    with rasterio.open(EXAMPLES / name) as source, rasterio.open(tmp_path / "out.tif") as labels:
        assert labels.crs == source.crs
        assert labels.transform == source.transform
        assert (labels.dtypes, labels.nodata, labels.compression.name) == (("uint32",), 0, "deflate")
        np.testing.assert_array_equal(labels.read(1), mask.astype(np.uint32))
        crs, transform = source.crs, source.transform
    info, (polygons,), columns = vectors(tmp_path / "out.gpkg")
    assert rasterio.crs.CRS.from_string(info["crs"]) == crs
    assert {key: values[0] for key, values in columns.items() if key in TEXTS} == {
        "phrase": "the pond", "class": "pond", "question": "Where is it?", "model": "nano",
    }  # fmt: skip
    assert (columns["id"], columns["class_score"], columns["score"]) == ([1], [0.75], [0.5])
    assert polygons.is_valid
    assert polygons.geom_type == "MultiPolygon"
    assert len(polygons.geoms) == 4  # pixels that touch at a corner lie apart
    assert sum(len(part.interiors) for part in polygons.geoms) == 1
    assert polygons.area == pytest.approx(mask.sum() * abs(transform.determinant), rel=1e-9)
    # Burning the polygons into the same grid gives the mask back, pixel for pixel.
    burnt = rasterio.features.rasterize([polygons], out_shape=mask.shape, transform=transform)
    np.testing.assert_array_equal(burnt, mask)
    # Reference: every pixel's own geodesic area, summed.
    lonlat = Transformer.from_crs(crs, 4326, always_xy=True)
    total = 0.0
    for row, column in zip(*np.nonzero(mask), strict=True):
        corners = [transform @ (column + dx, row + dy) for dx, dy in [(0, 0), (0, 1), (1, 1), (1, 0)]]
        x, y = lonlat.transform(*np.transpose(corners))
        total += abs(Geod(ellps="WGS84").polygon_area_perimeter(x, y)[0])
    assert columns["area_m2"][0] == pytest.approx(total, rel=1e-6)


def test_web_mercator_areas_are_true_areas() -> None:
    """At 60° north Web Mercator shows a square four times too large (two times each way, on the sphere)."""
    y = 6_378_137 * math.log(math.tan(math.pi / 4 + math.radians(60) / 2))
    square = shapely.box(0, y - 5, 10, y + 5)
    true = area_m2(shapely.MultiPolygon([square]), rasterio.crs.CRS.from_epsg(3857).to_wkt())
    assert true == pytest.approx(25, rel=0.01)


def test_geojson_is_longitude_and_latitude(tmp_path: Path) -> None:
    image, frame = geo.read(EXAMPLES / "naip.tif")
    one = answer(frame.size_hw, instance(blob(frame.size_hw)))
    assert geo.write(one, image, frame, tmp_path / "out.geojson", question="q") is None
    content = json.loads((tmp_path / "out.geojson").read_text())
    assert "crs" not in content
    polygons = shapely.geometry.shape(content["features"][0]["geometry"])
    assert polygons.is_valid
    assert all(part.exterior.is_ccw for part in polygons.geoms)
    back = Transformer.from_crs(4326, frame.crs_wkt, always_xy=True)
    x, y = back.transform(*polygons.bounds[:2])
    assert frame.transform is not None
    assert ~frame.transform @ (x, y) == pytest.approx((2, 28), abs=0.2)
    properties = content["features"][0]["properties"]
    assert properties["score"] is None
    assert properties["area_m2"] == pytest.approx(blob(frame.size_hw).sum() * 25, rel=0.002)


def test_geojson_is_cut_at_the_antimeridian(tmp_path: Path) -> None:
    crs = rasterio.crs.CRS.from_epsg(32601).to_wkt()
    x, y = Transformer.from_crs(4326, 32601, always_xy=True).transform(-180.0, 60.0)
    frame = geo.Frame((32, 32), crs, Affine(10, 0, x - 160, 0, -10, y + 160), "in.tif")
    mask = np.ones((32, 32), np.bool_)
    geo.write(
        answer((32, 32), instance(mask)), np.zeros((32, 32, 3), np.uint8), frame, tmp_path / "o.geojson", question=""
    )
    feature = json.loads((tmp_path / "o.geojson").read_text())["features"][0]
    parts = shapely.geometry.shape(feature["geometry"]).geoms
    assert len(parts) == 2
    assert max(part.bounds[2] - part.bounds[0] for part in parts) < 0.1
    assert feature["properties"]["area_m2"] == pytest.approx(320 * 320, rel=0.01)


def test_rotated_geotransform(make_tif: MakeTif, tmp_path: Path) -> None:
    turned = Affine.translation(500_000, 4_000_000) @ Affine.rotation(30) @ Affine.scale(10, -10)
    path = make_tif(np.random.default_rng(0).integers(0, 255, (3, 40, 40), np.uint8), transform=turned)
    image, frame = geo.read(path)
    assert frame.transform is not None
    assert frame.transform.almost_equals(turned, 1e-6)
    mask = blob((40, 40))
    boxed = Instance("box", "pond", (1.0, 2.0, 5.0, 4.0))
    geo.write(answer((40, 40), instance(mask), boxed), image, frame, tmp_path / "out.gpkg", question="q")
    geo.write(answer((40, 40), instance(mask)), image, frame, tmp_path / "out.tif", question="q")
    _, (polygons, box), columns = vectors(tmp_path / "out.gpkg")
    pixels = shapely.affinity.affine_transform(polygons, (~turned).to_shapely())
    assert pixels.symmetric_difference(pixel_polygons(instance(mask))).area < 1e-6
    assert polygons.area == pytest.approx(mask.sum() * 100)
    corners = {(round(x), round(y)) for x, y in box.geoms[0].exterior.coords}
    assert corners == {(round(x), round(y)) for x, y in (turned @ xy for xy in [(1, 2), (5, 2), (5, 4), (1, 4)])}
    assert columns["area_m2"][1] == pytest.approx(800, rel=0.002)
    with rasterio.open(tmp_path / "out.tif") as labels:
        assert labels.transform.almost_equals(turned, 1e-6)


def test_mirrored_transform_keeps_rings_and_areas_right() -> None:
    up = Affine(10, 0, 500_000, 0, 10, 4_000_000)  # south up
    polygons = map_polygons(pixel_polygons(instance(blob((32, 32)))), up)
    assert all(part.exterior.is_ccw for part in polygons.geoms)
    area = area_m2(polygons, rasterio.crs.CRS.from_epsg(32633).to_wkt())
    assert area == pytest.approx(blob((32, 32)).sum() * 100, rel=0.002)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_without_a_crs_everything_is_in_pixels(suffix: str, tmp_path: Path) -> None:
    image, frame = geo.read(EXAMPLES / "airport.jpg")
    mask = blob(frame.size_hw)
    note = geo.write(answer(frame.size_hw, instance(mask)), image, frame, tmp_path / f"o{suffix}", question="q")
    assert note is not None
    assert "in pixels" in note
    info, (polygons,), columns = vectors(tmp_path / f"o{suffix}")
    assert polygons.bounds == (2, 4, 30, 28)
    assert polygons.area == mask.sum()
    assert columns["area_m2"][0] is None or np.isnan(columns["area_m2"][0])
    if suffix == ".gpkg":
        assert not info["crs"] or "Undefined" in info["crs"]


def test_overlapping_labels_show_the_smaller(tmp_path: Path) -> None:
    image, frame = geo.read(EXAMPLES / "airport.jpg")
    large, small = np.zeros((2, 600, 600), np.bool_)
    large[10:50, 10:50], small[20:30, 20:30] = True, True
    boxed = Instance("a box", "pond", (100.0, 200.0, 103.0, 204.0))
    note = geo.write(
        answer((600, 600), instance(small), instance(large), boxed), image, frame, tmp_path / "o.tif", question="q"
    )
    assert note is not None
    assert "no map coordinates" in note
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(tmp_path / "o.tif") as raster:
        labels = raster.read(1)
    assert [int((labels == number).sum()) for number in (1, 2, 3)] == [100, 1500, 12]
    assert (labels[200:204, 100:103] == 3).all()


def test_coco_loads_with_pycocotools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, frame = geo.read(EXAMPLES / "naip.tif")
    mask = blob(frame.size_hw)
    boxed = Instance("a box", "bridge", (1.0, 2.0, 11.0, 6.0), score=0.5)
    assert (
        geo.write(answer(frame.size_hw, instance(mask), boxed), image, frame, tmp_path / "o.json", question="q") is None
    )
    coco = COCO(tmp_path / "o.json")
    first, second = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    np.testing.assert_array_equal(coco.annToMask(first), mask)
    assert isinstance(first["segmentation"]["counts"], str)
    assert (first["bbox"], first["area"]) == ([2, 4, 28, 24], mask.sum())
    assert (second["bbox"], second["area"], coco.annToMask(second).sum()) == ([1, 2, 10, 4], 40, 40)
    assert [coco.cats[a["category_id"]]["name"] for a in (first, second)] == ["pond", "bridge"]
    assert coco.imgs[1] == {"id": 1, "file_name": "naip.tif", "height": 256, "width": 256}
    assert "Done" in capsys.readouterr().out


@pytest.mark.parametrize("example", ["naip.tif", "airport.jpg"])
def test_empty_answers_give_valid_empty_files(example: str, tmp_path: Path) -> None:
    image, frame = geo.read(EXAMPLES / example)
    for suffix in (".gpkg", ".geojson", ".tif", ".json"):
        geo.write(answer(frame.size_hw), image, frame, tmp_path / f"o{suffix}", question="q")
    for suffix in (".gpkg", ".geojson"):
        assert len(vectors(tmp_path / f"o{suffix}")[1]) == 0
    assert "area_m2" in vectors(tmp_path / "o.gpkg")[2]
    assert COCO(tmp_path / "o.json").anns == {}


def test_empty_masks_keep_their_row(tmp_path: Path) -> None:
    image, frame = geo.read(EXAMPLES / "naip.tif")
    nothing = np.zeros(frame.size_hw, np.bool_)
    both = answer(frame.size_hw, instance(nothing), instance(blob(frame.size_hw)))
    geo.write(both, image, frame, tmp_path / "o.gpkg", question="\ud800 half a character")
    _, (first, second), columns = vectors(tmp_path / "o.gpkg")
    assert first is None or first.is_empty
    assert not second.is_empty
    assert columns["id"] == [1, 2]


def test_pictures_keep_every_pixel(tmp_path: Path) -> None:
    image, _ = geo.read(EXAMPLES / "airport.jpg")
    geo.write_png(image, tmp_path / "o.png")
    np.testing.assert_array_equal(geo.read(tmp_path / "o.png")[0], image)
    assert os.listdir(tmp_path) == ["o.png"]  # noqa: PTH208 - hidden leftovers count


def test_pieces_of_a_raster_are_those_of_the_whole(make_tif: MakeTif, tmp_path: Path) -> None:
    planes = np.random.default_rng(3).integers(0, 256, (4, 60, 90)).astype(np.uint8)
    path = make_tif(planes)
    assert geo.size_of(path) == (60, 90)
    piece = geo.read_piece(path, (10, 20, 50, 45))
    assert np.array_equal(piece, np.moveaxis(planes[:3, 20:45, 10:50], 0, -1))
    small = geo.read_piece(path, (0, 0, 90, 60), (6, 9))
    means = planes[:3].reshape(3, 6, 10, 9, 10).mean(axis=(2, 4))
    assert np.abs(small.astype(float) - np.moveaxis(means, 0, -1)).max() < 3
    grey = tmp_path / "grey.png"
    PillowImage.fromarray(planes[0]).save(grey)
    assert np.array_equal(geo.read_piece(grey, (0, 0, 9, 9))[..., 2], planes[0, :9, :9])


def test_pieces_are_refused_with_a_sentence(make_tif: MakeTif, tmp_path: Path) -> None:
    with pytest.raises(geo.ImageError, match="8-bit RGB or grey"):
        geo.read_piece(make_tif(np.zeros((3, 20, 20), np.uint16)), (0, 0, 9, 9))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(geo.ImageError, match="damaged"):
        geo.size_of(broken)
    with pytest.raises(geo.ImageError, match="damaged"):
        geo.read_piece(broken, (0, 0, 9, 9))
    with pytest.raises(geo.ImageError, match="there is no file"):
        geo.size_of(tmp_path / "none.png")
