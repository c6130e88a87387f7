"""``geopix info``: what a model is made of (Fig. 2), what it needs, and what its licences and data allow."""

from __future__ import annotations

import json

from rich.console import Console

from geopix.apps import show


def run(model: str, as_json: bool) -> None:
    """Print the parts of a model with parameter counts, memory, licences and data terms.

    Raises:
        ValueError: If there is no such model, with the sentence for the user.
        OSError: If its files can't be read.
    """
    with show.quiet_stdout():
        from geopix import checkpoint

        facts = checkpoint.describe(model)
    if as_json:
        print(json.dumps(facts, allow_nan=False))
        return
    parts = facts["parts"]
    rows = [
        (
            part["part"],
            f"{part['parameters']:,}",
            f"{part['parameters'] if part['trainable'] else 0:,}",
            show.megabytes(part["bytes"]),
            part["source"],
            part["licence"],
        )
        for part in parts
    ]
    whole, size = (sum(part[key] for part in parts) for key in ("parameters", "bytes"))
    ours = sum(part["parameters"] for part in parts if part["trainable"])
    rows.append(("all", f"{whole:,}", f"{ours:,}", show.megabytes(size), "", ""))
    console = Console(highlight=False)
    console.print(show.plain(facts["name"]))
    headings = ("part", "parameters", "trained by us", "size", "source", "licence")
    console.print(show.table(headings, rows, numeric=("parameters", "trained by us", "size")))
    console.print(f"memory needed: about {show.megabytes(facts['memory_bytes'])}")
    console.print("data terms:")
    for term in facts["data_terms"] or ["not stated by this model"]:
        console.print(show.plain(f"  - {term}"), soft_wrap=True)
