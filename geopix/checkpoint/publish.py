"""A model as a folder for others: ours from the authors' release, and one with a card on the hub (§V-A)."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCardData

from geopix.checkpoint import hub
from geopix.checkpoint.describe import UNKNOWN, facts
from geopix.checkpoint.files import CheckpointError
from geopix.checkpoint.folder import save
from geopix.checkpoint.open import find, read
from geopix.checkpoint.released import NO_MEMORY, is_release
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel


def convert(name: str, out: Path) -> None:
    """Write the authors' release as a folder of ours, safetensors only; whole, or not at all.

    Args:
        name: A folder laid out as the release, or a hub id.
        out: Made; it may exist if it is empty.

    Raises:
        CheckpointError: If ``out`` holds something, or as `load`.
    """
    _check_empty(out)
    folder = find(name)
    if not is_release(folder):
        raise CheckpointError(
            f"{folder} is not laid out as the authors' release (vlm, seg, pec, clm); give one that is"
        )
    _write(*read(name), out)


def push(name: str, hub_id: str, private: bool = False, dry_run: Path | None = None) -> str:
    """Put a model on the hub: the whole of it, its processor, and a card of what is known of it.

    Args:
        name: The model, see `load`; every tensor goes as exact as it lies here.
        hub_id: Where to: "owner/model"; made if need be.
        private: Whether nobody else may see it, if it is made.
        dry_run: A new folder to write instead, with everything that would go up.

    Returns:
        The address of the upload, or the folder.

    Raises:
        CheckpointError: If the id is none, ``dry_run`` holds something, the hub refuses, or as `load`.
    """
    _check_target(hub_id, dry_run)  # before anything slow
    model, dialogue = read(name)
    return push_to_hub(model, dialogue, hub_id, private, dry_run)


def push_to_hub(
    model: GeoPixModel, dialogue: Dialogue, hub_id: str, private: bool = False, dry_run: Path | None = None
) -> str:
    """The same for a model in memory; see `push`.

    Raises:
        ValueError: If its adapter is not merged, or its weights are quantised.
        CheckpointError: As `push`.
    """
    _check_target(hub_id, dry_run)
    told = card(facts(model, hub_id))
    if dry_run is not None:
        _write(model, dialogue, dry_run, told)
        return str(dry_run)
    with tempfile.TemporaryDirectory() as place:
        _write(model, dialogue, Path(place) / "model", told)
        return hub.upload(Path(place) / "model", hub_id, private)


def card(known: dict[str, Any]) -> str:
    """A model card, README.md, of what `facts` gave; what it does not know is told as not known."""
    licences = {part["licence"] for part in known["parts"]}
    named = {"Apache-2.0": "apache-2.0", "MIT": "mit", UNKNOWN: None}  # as the hub names them
    data = ModelCardData(
        license=named.get(min(licences), "other") if len(licences) == 1 else "other",
        library_name="geopix",
        pipeline_tag="image-text-to-text",
        tags=["geopix", "remote-sensing", "image-segmentation"],
        base_model=known["base_model"] if hub.HUB_ID.fullmatch(str(known["base_model"])) else None,
    )
    rows = [
        f"| {part['part']} | {part['parameters']:,} | {_cell(part['source'])} | {_cell(part['licence'])} |"
        for part in known["parts"]
    ]
    total = sum(part["parameters"] for part in known["parts"])
    memory = known["memory"]
    if known["mask_path"] == "released":
        remembered = f"None at work: {NO_MEMORY}."
    elif memory is None:
        remembered = "None: this model was made without a memory."
    else:
        settings = ", ".join(f"{key} {value}" for key, value in memory.items() if key not in ("fusion", "folded"))
        form = "it folded, for inference" if memory["folded"] else "the whole bank"
        remembered = f"Fusion {memory['fusion']} ({settings}); the weights hold {form}."
    base = f"Base model: {_cell(known['base_model'])}.\n\n" if known["base_model"] else ""
    training = known["training"]
    return f"""---
{data.to_yaml()}
---

# {known["name"]}

A GeoPix model: asked about an overhead image in plain words, it answers in text, with a mask for every object meant.

```
geopix ask scene.tif "Segment the ships." --model {known["name"]}
```

{base}## Parts

| part | parameters | source | licence |
|---|---|---|---|
{chr(10).join(rows)}
| all | {total:,} | | |

## Class-wise memory

{remembered}

Classes: {_cell(", ".join(known["class_names"])) or UNKNOWN}.

## Data and their terms

{chr(10).join(f"- {_cell(term)}" for term in known["data_terms"]) or "Not stated by this model."}

## Training

{"Not recorded in this model." if not training else f"```yaml{chr(10)}{_yaml(training)}```"}

Written by GeoPix {version("geopix")} from what the model's own files say. Nothing was measured for this card.
"""


def _write(model: GeoPixModel, dialogue: Dialogue, out: Path, told: str | None = None) -> None:
    """A model's folder, whole or not at all."""
    _check_empty(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        save(model, dialogue, staging)
        if told is not None:
            (staging / "README.md").write_text(told, encoding="utf-8")
        staging.replace(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_target(hub_id: str, dry_run: Path | None) -> None:
    if hub.HUB_ID.fullmatch(hub_id) is None:
        raise CheckpointError(f"'{hub_id}' is no hub id; give an owner and a name, as in someone/my-geopix")
    if dry_run is not None:
        _check_empty(dry_run)


def _check_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} exists and is no empty folder; name a new one")


def _cell(text: object) -> str:
    """On one line, and no table's border."""
    return " ".join(str(text).split()).replace("|", "\\|")


def _yaml(settings: Any) -> str:
    return str(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)).replace("```", "")
