"""``python -m geopix``: the same as the ``geopix`` command (§III-A, the user's side of Fig. 1)."""

from __future__ import annotations

from geopix.apps.cli import main

if __name__ == "__main__":
    main()
