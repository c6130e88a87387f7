"""``geopix push``: a model on the hub, with a card of what is known of it (§V-A)."""

from __future__ import annotations

from pathlib import Path

from geopix.apps.errors import complain
from geopix.apps.show import quiet_stdout


def run(model: str, hub_id: str, *, private: bool, dry_run: Path | None) -> None:
    """Upload it, or write the folder that would go up, and say on stderr where it is.

    Raises:
        ValueError: If the model can't be read or the hub refuses it, with the sentence for the user.
        OSError: If the folder can't be written.
    """
    with quiet_stdout():
        from geopix import checkpoint  # seconds of torch

        place = checkpoint.push(model, hub_id, private, dry_run)
    complain(f"{'pushed to' if dry_run is None else 'wrote'} {place}")
