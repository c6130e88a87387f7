"""Images in: PNG, JPEG and GeoTIFF to 8-bit RGB, with their place on the map (§III-A, the image x of Fig. 1)."""

from __future__ import annotations

import math
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps
from rasterio.enums import ColorInterp
from rasterio.errors import NodataShadowWarning, NotGeoreferencedWarning, RasterioError

from geopix.geo.frame import Frame, ImageError
from geopix.records import Image

MIN_SIDE_PX: Final = 8
"""Smaller images hold nothing that could be asked about."""

MAX_PIXELS: Final = 100_000_000
"""Larger images are refused from their header, before a pixel is decoded; 300 MB as RGB."""

DEFAULT_STRETCH: Final = (2.0, 98.0)
"""Percentiles that become black and white where a band is not 8-bit."""

_MAGIC: Final = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "GTiff",
    b"MM\x00*": "GTiff",
    b"II+\x00": "GTiff",
    b"MM\x00+": "GTiff",
}
_REMOTE: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+:/|/vsi)")
# Whole words; "red edge" is another band, and B4 alone is red only in some sensors, B04 in Sentinel-2.
_BAND_WORDS: Final = (r"\b(red\b(?![ _-]?edge)|b04\b)", r"\b(green|b03)\b", r"\b(blue|b02)\b")
# Larger values are an undeclared nodata (often the lowest float32), and would overflow the stretch.
_BEYOND: Final = 1e38
# Percentiles of more values than this are taken from an even subset of them.
_SAMPLE: Final = 4_000_000


def read(
    path: Path, bands: tuple[int, int, int] | None = None, stretch: tuple[float, float] | None = None
) -> tuple[Image, Frame]:
    """Reads a local PNG, JPEG or GeoTIFF as RGB.

    8-bit values stay as they are; every other type is stretched, band by band, between two percentiles of its valid
    pixels. A pixel is valid where any of the bands is neither nodata, masked, fully transparent nor non-finite (or
    beyond 1e38); the others become black. Partial transparency is dropped: the colours stay. Of many bands those
    that are named or flagged red, green and blue are taken, else the first three; one or two bands give grey. The
    orientation in the EXIF data is applied unless the file is georeferenced, for that describes the stored pixels.

    Args:
        path: A regular local file; its content and not its suffix says what it is.
        bands: The bands for red, green and blue, counted from 1; they may repeat.
        stretch: Percentiles 0..100 that become 0 and 255. Given, it holds for 8-bit images too; None means
            `DEFAULT_STRETCH` for all but 8-bit ones.

    Returns:
        The image, (H, W, 3) uint8 RGB, and its frame.

    Raises:
        ImageError: If there is no such image, it is damaged, smaller than `MIN_SIDE_PX` a side or larger than
            `MAX_PIXELS`, holds no valid pixel, or lacks one of the bands.
    """
    if stretch is not None and not 0 <= stretch[0] < stretch[1] <= 100:
        raise ImageError(
            f"the stretch is two percentiles with 0 <= low < high <= 100, not {stretch[0]} and {stretch[1]}."
        )
    driver = driver_of(path)
    try:
        with quiet(), rasterio.open(os.path.realpath(path), driver=driver) as source:
            _check_size(path, source.height, source.width)
            crs_wkt, transform, notes = _place(path, source)
            if driver == "GTiff" or source.dtypes[0] != "uint8":
                planes, valid = _raster_planes(path, source, bands)
            else:
                planes, valid = _picture_planes(path, bands, upright=transform is None)
    except ImageError:
        raise
    except (RasterioError, OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise ImageError(f"{path} is damaged or cut short and cannot be decoded; get a fresh copy of it.") from error
    image = _to_rgb(path, planes, valid, stretch)
    return image, Frame((image.shape[0], image.shape[1]), crs_wkt, transform, str(path), notes)


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings about what is checked here or does not matter."""
    # Images without a place on the map are welcome, and size is checked here, with our own limit.
    with warnings.catch_warnings(), rasterio.Env():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        warnings.simplefilter("ignore", NodataShadowWarning)
        warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
        yield


def driver_of(path: Path) -> str:
    """The kind of a local file, from its first bytes."""
    if _REMOTE.match(str(path)):
        raise ImageError(f"{path} is not a local file, and only those are read; download it and name the copy.")
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; name one PNG, JPEG or GeoTIFF file in it.")
        if not path.exists():
            raise ImageError(f"there is no file {path}; check the name and the folder.")
        if not path.is_file():
            raise ImageError(f"{path} is not a regular file; name a PNG, JPEG or GeoTIFF file.")
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageError(f"{path} cannot be opened ({reason}); check its name and permissions.") from error
    if not start:
        raise ImageError(f"{path} is empty (0 bytes); get a fresh copy of it.")
    for magic, driver in _MAGIC.items():
        if start.startswith(magic):
            return driver
    raise ImageError(
        f"{path} is neither PNG, JPEG nor GeoTIFF, whatever its suffix says; "
        "convert it, for example with: gdal_translate INPUT OUTPUT.tif"
    )


def _check_size(path: Path, height: int, width: int) -> None:
    if min(height, width) < MIN_SIDE_PX:
        raise ImageError(f"{path} is {width} x {height} px, and an image needs at least {MIN_SIDE_PX} px a side.")
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{path} is {width:,} x {height:,} px, over the limit of {MAX_PIXELS // 1_000_000} megapixels; "
            "cut a window out of it, for example with: gdal_translate -srcwin X Y WIDTH HEIGHT INPUT OUTPUT.tif"
        )


def _place(path: Path, source: Any) -> tuple[str | None, Affine | None, tuple[str, ...]]:
    """CRS, transform and notes of an open raster."""
    crs_wkt = source.crs.to_wkt() if source.crs else None
    transform: Affine | None = source.transform
    # GDAL says identity where the file says nothing.
    if transform is None or transform.is_identity or not all(map(math.isfinite, transform)) or transform.is_degenerate:
        transform = None
    if transform is None and (source.gcps[0] or source.rpcs):
        kind = "ground control points" if source.gcps[0] else "RPCs"
        note = f"{path} is placed on the map by {kind} only, which are not used: everything is in pixels; "
        return None, None, (note + "rectify it with gdalwarp to get map coordinates.",)
    if transform is None and crs_wkt is not None:
        note = f"{path} has a CRS but no usable geotransform: everything is in pixels."
        return None, None, (note,)
    if transform is not None and crs_wkt is None:
        note = f"{path} has a geotransform (or world file) but no CRS: everything is in pixels; "
        return None, transform, (note + "assign one with: gdal_edit.py -a_srs EPSG:CODE FILE",)
    return crs_wkt, transform, ()


def _chosen(path: Path, bands: tuple[int, ...], count: int) -> list[int]:
    if len(bands) != 3 or not all(1 <= band <= count for band in bands):
        given = ",".join(map(str, bands))
        raise ImageError(f"{path} has {count} band(s), so --bands takes three numbers from 1 to {count}, not {given}.")
    return list(bands)


def _raster_planes(
    path: Path, source: Any, bands: tuple[int, int, int] | None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """(1 or 3, H, W) values of any real type and their (same shape) validity, from a raster."""
    if source.count == 0:
        raise ImageError(f"{path} holds no bands, only references to other files; name one of those.")
    interpretation = source.colorinterp
    colour = [index for index in source.indexes if interpretation[index - 1] is not ColorInterp.alpha] or [1]
    picked = _default_bands(source, colour) if bands is None else _chosen(path, bands, source.count)
    kinds = {source.dtypes[index - 1] for index in picked}
    if any(kind.startswith("complex") for kind in kinds):
        raise ImageError(f"{path} holds complex numbers; save the amplitude as a real band and name that file.")
    unique = sorted(set(picked))
    planes = source.read(unique)
    valid = source.read_masks(unique) > 0
    depth = int(source.tags(unique[0], ns="IMAGE_STRUCTURE").get("NBITS", 8))
    if bands is None and len(unique) == 1 and interpretation[unique[0] - 1] is ColorInterp.palette:
        return _palette(source.colormap(unique[0]), planes[0], valid[0])
    if planes.dtype == np.uint8 and depth < 8:
        planes = planes * np.uint8(255 // (2**depth - 1))
    if bands is None and _is_cmyk(source, colour):
        ink = source.read(colour[:4]).astype(np.uint16)
        planes = ((255 - ink[:3]) * (255 - ink[3]) // 255).astype(np.uint8)
        return planes, np.broadcast_to(valid.any(axis=0), planes.shape)
    order = [unique.index(index) for index in picked]
    return planes[order], valid[order]


def _default_bands(source: Any, colour: list[int]) -> list[int]:
    """The bands to show: [red, green, blue], or one band for grey."""
    names = [(source.descriptions[index - 1] or "").lower() for index in colour]
    named = [next((i for i, name in zip(colour, names, strict=True) if re.search(w, name)), None) for w in _BAND_WORDS]
    flags = {source.colorinterp[index - 1]: index for index in reversed(colour)}
    flagged = [flags.get(kind) for kind in (ColorInterp.red, ColorInterp.green, ColorInterp.blue)]
    # A name was given on purpose; a colour flag is often just the writer's default.
    for trio in (named, flagged):
        found = [index for index in trio if index is not None]
        if len(found) == 3:
            return found
    return colour[:3] if len(colour) >= 3 else colour[:1]


def _is_cmyk(source: Any, colour: list[int]) -> bool:
    kinds = [source.colorinterp[index - 1] for index in colour[:4]]
    return kinds == [ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black] and (
        source.dtypes[0] == "uint8"
    )


def _palette(
    colours: dict[int, tuple[int, int, int, int]], plane: NDArray[Any], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    table = np.zeros((max(256, *(index + 1 for index in colours)), 4), np.uint8)
    for index, rgba in colours.items():
        table[index] = rgba
    rgba_planes = np.moveaxis(table[np.minimum(plane, len(table) - 1)], -1, 0)
    return rgba_planes[:3], np.broadcast_to(valid & (rgba_planes[3] > 0), rgba_planes[:3].shape)


def _picture_planes(
    path: Path, bands: tuple[int, int, int] | None, upright: bool
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(1 or 3, H, W) uint8 and validity of an 8-bit PNG or JPEG: palette, CMYK and 1-bit become RGB or grey."""
    with PillowImage.open(path, formats=("PNG", "JPEG")) as opened:
        opened.load()
        picture = ImageOps.exif_transpose(opened) if upright else opened
        clear = "A" in picture.getbands() or "transparency" in picture.info
        grey = picture.mode in ("1", "L", "LA")
        rgba = np.asarray(picture.convert("RGBA" if clear else "RGB"), np.uint8)
    planes = np.moveaxis(rgba[..., :1] if grey else rgba[..., :3], -1, 0)
    if bands is not None:
        planes = planes[[index - 1 for index in _chosen(path, bands, len(planes))]]
    valid = rgba[..., 3] > 0 if clear else np.ones(rgba.shape[:2], np.bool_)
    return planes, np.broadcast_to(valid, planes.shape)


def _to_rgb(path: Path, planes: NDArray[Any], valid: NDArray[np.bool_], stretch: tuple[float, float] | None) -> Image:
    """(1 or 3, H, W) values of any real type -> (H, W, 3) uint8; invalid pixels black."""
    if planes.dtype.kind == "f":
        valid = valid & (np.abs(planes) < _BEYOND)  # False for NaN too
    seen = valid.any(axis=0)
    if not seen.any():
        raise ImageError(
            f"{path} holds no valid pixel: all are nodata, NaN or transparent; choose other bands or another file."
        )
    if planes.dtype == np.uint8 and stretch is None:
        shown = np.where(seen, planes, np.uint8(0))
    else:
        low, high = stretch or DEFAULT_STRETCH
        shown = np.stack([_stretched(plane, ok, low, high) for plane, ok in zip(planes, valid, strict=True)])
    rgb = np.moveaxis(shown, 0, -1)
    return np.ascontiguousarray(np.broadcast_to(rgb, (*rgb.shape[:2], 3)))


def _stretched(plane: NDArray[Any], valid: NDArray[np.bool_], low: float, high: float) -> NDArray[np.uint8]:
    """One band (H, W) to 0..255 between two percentiles of its valid pixels; a constant band becomes mid-grey."""
    values = plane[valid]
    if not values.size:
        return np.zeros(plane.shape, np.uint8)
    sample = values[:: max(1, values.size // _SAMPLE)].astype(np.float64)
    bottom, top = np.percentile(sample, (low, high))
    if not top > bottom:
        bottom, top = float(values.min()), float(values.max())
    result = np.zeros(plane.shape, np.uint8)
    if top > bottom:
        scaled = (values.astype(np.float64) - bottom) / (top - bottom)
        result[valid] = np.rint(np.clip(scaled, 0.0, 1.0) * 255.0).astype(np.uint8)
    else:
        result[valid] = 128
    return result
