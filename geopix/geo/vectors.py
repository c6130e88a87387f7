"""Masks as polygons on the map, and their true areas (§III-A: from mask to object)."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any, Final

import numpy as np
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from rasterio import features

from geopix.geo.frame import Frame, ImageError
from geopix.records import Answer, Instance, mask_box

LAYER: Final = "instances"
_LONLAT: Final = "EPSG:4326"
_GEOD: Final = Geod(ellps="WGS84")


def pixel_polygons(instance: Instance) -> Any:
    """The outline of an instance in pixels: a valid `shapely.MultiPolygon` with holes; empty for an empty mask.

    Pixels belong together where they share a side (4-connectivity); those that only touch at a corner become
    separate polygons of the same MultiPolygon. Without a mask it is the box.
    """
    if instance.mask is None:
        x1, y1, x2, y2 = instance.box_xyxy_px
        return _multi(shapely.box(x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None)
    x1, y1, x2, y2 = map(int, mask_box(instance.mask))
    if x2 == x1:
        return _multi(None)
    window = instance.mask[y1:y2, x1:x2]
    offset = Affine.translation(x1, y1)
    found = features.shapes(window.astype(np.uint8), mask=window, connectivity=4, transform=offset)
    return _multi(shapely.MultiPolygon([shapely.geometry.shape(outline) for outline, _ in found]))


def map_polygons(pixels: Any, transform: Affine) -> Any:
    """Polygons in pixels (x right, y down) through an affine transform, rotated ones included, to map coordinates."""
    a, b, c, d, e, f = transform[:6]

    def place(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy[:, 0], xy[:, 1]
        return np.column_stack((a * x + b * y + c, d * x + e * y + f))

    return shapely.orient_polygons(shapely.transform(pixels, place))


def area_m2(polygons: Any, crs_wkt: str) -> float | None:
    """The geodesic area on WGS 84 in square metres, holes taken out; None where the CRS is not tied to the Earth."""
    lonlat = _to_lonlat(crs_wkt)
    if lonlat is None:
        return None
    placed = shapely.transform(polygons, lambda xy: np.column_stack(lonlat.transform(xy[:, 0], xy[:, 1])))
    # The way round decides the sign, and a mirrored geotransform turns every ring.
    area = abs(_GEOD.geometry_area_perimeter(shapely.orient_polygons(placed))[0])
    return area if math.isfinite(area) else None


def encode_vectors(answer: Answer, frame: Frame, driver: str, question: str) -> bytes:
    """The instances as a GeoPackage ("GPKG") or GeoJSON ("GeoJSON") file.

    A GeoPackage keeps the image's CRS; GeoJSON is longitude and latitude on WGS 84 by its standard (RFC 7946). Off
    the map both hold pixels, x right and y down from the image's top-left corner, and no CRS.

    Raises:
        ImageError: If GeoJSON is asked for and the CRS cannot be turned into longitude and latitude, or the driver
            refuses the coordinates.
    """
    if driver == "GeoJSON" and frame.crs_wkt is not None and frame.on_map and _to_lonlat(frame.crs_wkt) is None:
        raise ImageError(
            f"GeoJSON needs longitude and latitude, and the CRS of {frame.source} is not tied to the Earth; "
            "write a .gpkg, which keeps the CRS."
        )
    shapes, areas = [], []
    for instance in answer.instances:
        polygons, area = pixel_polygons(instance), None
        if frame.crs_wkt is not None and frame.transform is not None:
            polygons = map_polygons(polygons, frame.transform)
            area = area_m2(polygons, frame.crs_wkt)
        shapes.append(None if polygons.is_empty else shapely.to_wkb(polygons))
        areas.append(area)
    columns = {
        "id": np.arange(1, len(shapes) + 1, dtype=np.int32),
        "phrase": _texts([instance.phrase for instance in answer.instances]),
        "class": _texts([instance.class_name for instance in answer.instances]),
        "class_score": _numbers([instance.class_score for instance in answer.instances]),
        "score": _numbers([instance.score for instance in answer.instances]),
        "area_m2": _numbers(areas),
        "question": _texts([question] * len(shapes)),
        "model": _texts([answer.model] * len(shapes)),
    }
    if driver == "GPKG":
        # -1 is GeoPackage's "undefined Cartesian": pixels are no place on the Earth.
        options = {"GEOMETRY_NAME": "geom"} | ({} if frame.on_map else {"SRID": "-1"})
    else:
        options = {"RFC7946": "YES", "COORDINATE_PRECISION": "9"} if frame.on_map else {"COORDINATE_PRECISION": "3"}
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")
            pyogrio.raw.write(
                buffer,
                np.array(shapes, dtype=object),
                list(columns.values()),
                list(columns),
                layer=LAYER,
                driver=driver,
                geometry_type="MultiPolygon",
                crs=frame.crs_wkt if frame.on_map else None,
                layer_options=options,
            )
    except (DataSourceError, RuntimeError, ValueError) as error:
        kind = (
            "longitude and latitude, as GeoJSON needs; write a .gpkg instead" if driver == "GeoJSON" else "GeoPackage"
        )
        raise ImageError(f"the coordinates of {frame.source} cannot be turned into {kind} ({error}).") from error
    return buffer.getvalue()


def _to_lonlat(crs_wkt: str) -> Transformer | None:
    """From a CRS to longitude and latitude on WGS 84, or None where no such way is known."""
    try:
        return Transformer.from_crs(CRS.from_wkt(crs_wkt), _LONLAT, always_xy=True)
    except ProjError:
        return None


def _multi(geometry: Any | None) -> Any:
    """A valid MultiPolygon of the surfaces in a geometry."""
    if geometry is None:
        return shapely.MultiPolygon()
    valid = geometry if geometry.is_valid else shapely.make_valid(geometry)
    parts = [part for part in shapely.get_parts(valid, return_index=False) if not part.is_empty]
    surfaces = [surface for part in parts for surface in shapely.get_parts(part) if surface.geom_type == "Polygon"]
    return shapely.orient_polygons(shapely.MultiPolygon(surfaces))


def _texts(values: list[str]) -> NDArray[np.object_]:
    # Lone surrogates, as a terminal may send, have no place in a UTF-8 file.
    return np.array([value.encode("utf-8", "replace").decode("utf-8") for value in values], dtype=object)


def _numbers(values: list[float | None]) -> NDArray[np.float64]:
    """Missing values as NaN, which the drivers write as null."""
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
