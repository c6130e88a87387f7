"""Windows and small views of rasters that are too large to be decoded whole (§IV-A: windows of large images)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geopix.geo.frame import ImageError
from geopix.geo.reading import driver_of, quiet
from geopix.records import Image


def size_of(path: Path) -> tuple[int, int]:
    """Height and width of a local PNG, JPEG or GeoTIFF in pixels, from its header.

    Raises:
        ImageError: If there is no such image, or its header is damaged.
    """
    with quiet():
        try:
            with rasterio.open(os.path.realpath(path), driver=driver_of(path)) as source:
                return source.height, source.width
        except (RasterioError, OSError) as error:
            raise ImageError(
                f"{path} is damaged or cut short and cannot be decoded; get a fresh copy of it."
            ) from error


def read_piece(path: Path, window_xyxy_px: tuple[int, int, int, int], shape_hw: tuple[int, int] | None = None) -> Image:
    """A window of a local 8-bit PNG, JPEG or GeoTIFF; no more than the window, or a reduced view, is held in memory.

    Args:
        path: A regular local file; its first three bands are red, green and blue, one band is grey.
        window_xyxy_px: Columns and rows, inside the image.
        shape_hw: Height and width to average down to; the window's own where None.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ImageError: If there is no such image, it is damaged, not 8-bit, or has a palette.
    """
    left, top, right, bottom = window_xyxy_px
    with quiet():
        try:
            with rasterio.open(os.path.realpath(path), driver=driver_of(path)) as source:
                if set(source.dtypes) != {"uint8"} or source.colorinterp[0] is ColorInterp.palette:
                    raise ImageError(
                        f"{path} is too large to read whole, and pieces are read of 8-bit RGB or grey images only; "
                        "convert it, for example with: gdal_translate -ot Byte -scale INPUT OUTPUT.tif"
                    )
                planes = source.read(
                    [1, 2, 3] if source.count >= 3 else [1, 1, 1],
                    window=Window(left, top, right - left, bottom - top),
                    out_shape=None if shape_hw is None else (3, *shape_hw),
                    resampling=Resampling.average,
                )
        except (RasterioError, OSError) as error:
            raise ImageError(
                f"{path} is damaged or cut short and cannot be decoded; get a fresh copy of it."
            ) from error
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1), dtype=np.uint8)
