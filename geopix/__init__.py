"""GeoPix: ask an overhead image in plain words; get text with a mask for every object meant (Fig. 1).

    import geopix
    assistant = geopix.load("nano")

The public names load on first use, so that ``import geopix`` and ``geopix --help`` cost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geopix.assistant import Assistant as Assistant
    from geopix.assistant import load as load
    from geopix.records import Answer as Answer
    from geopix.records import Instance as Instance
    from geopix.records import Sample as Sample

__version__ = "0.1.0"

_HOMES = {
    "load": "geopix.assistant",
    "Assistant": "geopix.assistant",
    "Answer": "geopix.records",
    "Instance": "geopix.records",
    "Sample": "geopix.records",
}

__all__ = ["Answer", "Assistant", "Instance", "Sample", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """A public name, imported from the room it lives in.

    Raises:
        AttributeError: If the package has no such public name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'geopix' has no attribute {name!r}; its public names are {', '.join(_HOMES)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
