"""What the tests of describers share: a key that opens nothing, and no way round localhost."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _localhost_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "for tests")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
