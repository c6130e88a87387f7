"""An answer on a terminal (Fig. 1, right side): the text and a table of what it points at."""

from __future__ import annotations

import numpy as np
from rich.console import Console

from geopix import geo
from geopix.apps import show
from geopix.geo.vectors import area_m2, map_polygons, pixel_polygons
from geopix.records import Answer, Instance


def print_answer(answer: Answer, frame: geo.Frame) -> None:
    """Print an answer's text and its table on stdout."""
    show.print_text(answer.text)
    print_instances(answer, frame)


def print_instances(answer: Answer, frame: geo.Frame) -> None:
    """Print the table of an answer's instances on stdout; nothing if there are none."""
    if not answer.instances:
        return
    headings = ("#", "phrase", "class", "class prob.", "pred. IoU", "box (x1 y1 x2 y2, px)", "area")
    rows = [
        (
            number,
            instance.phrase,
            instance.class_name,
            _fraction(instance.class_score),
            _fraction(instance.score),
            " ".join(f"{side:.0f}" for side in instance.box_xyxy_px),
            _area(instance, frame),
        )
        for number, instance in enumerate(answer.instances, start=1)
    ]
    made = show.table(headings, rows, numeric=("#", "class prob.", "pred. IoU", "area"))
    Console(highlight=False).print(made)


def _fraction(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _area(instance: Instance, frame: geo.Frame) -> str:
    """Geodesic square metres of the mask, or of the box without one; off the map, pixels of the mask."""
    if frame.crs_wkt is not None and frame.transform is not None:
        area = area_m2(map_polygons(pixel_polygons(instance), frame.transform), frame.crs_wkt)
        if area is not None:
            return f"{area:,.{0 if area >= 10 else 1}f} m2"
    return "-" if instance.mask is None else f"{np.count_nonzero(instance.mask):,} px"
