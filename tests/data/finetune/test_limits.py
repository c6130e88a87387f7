"""Files of examples: what OpenAI's guide forbids is found before anything is sent, and tokens are counted its way."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from geopix.data.finetune import limits
from geopix.data.finetune.limits import ExamplesError, check, image_tokens


def uri(size: tuple[int, int] = (60, 40), form: str = "PNG", mode: str = "RGB", named: str = "") -> str:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, form)
    return f"data:image/{named or form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def example(*urls: str, role: str = "user", answer: str = "the ship") -> dict[str, Any]:
    shown: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url, "detail": "high"}} for url in urls]
    return {
        "messages": [
            {"role": "system", "content": "abcd"},
            {"role": role, "content": [{"type": "text", "text": "abcdefgh"}, *shown]},
            {"role": "assistant", "content": answer},
        ]
    }


def written(path: Path, *lines: Any, times: int = 10) -> Path:
    made = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in made * times))
    return path


@pytest.mark.parametrize(
    ("size", "detail", "tokens"),
    [
        ((1024, 1024), "high", 765),  # the guide's own examples
        ((2048, 4096), "high", 1105),
        ((4096, 8192), "low", 85),
        ((512, 512), "high", 255),
        ((600, 600), "high", 765),
        ((800, 800), "high", 765),
        ((60, 40), "high", 255),
        ((2048, 100), "high", 85 + 4 * 170),
    ],
)
def test_an_image_costs_what_the_guide_says(size: tuple[int, int], detail: str, tokens: int) -> None:
    assert image_tokens(*size, detail) == tokens


def test_a_good_file_is_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path / "e.jsonl", example(uri()), example(uri(form="JPEG"), uri(form="WEBP", mode="RGBA")), times=5
    )
    found = check(path)
    assert (found.examples, found.images, found.bytes) == (10, 15, path.stat().st_size)
    assert found.tokens == 10 * (1 + 2 + 2 + 3 * 4) + 15 * 255
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "line 1: Expecting value"),
        (b"[1]", 'no "messages"'),
        (b"[" * 100_000, "line 1"),
        (b"\xff\xfe", "line 1"),
        ({"messages": []}, 'no "messages"'),
        ({"messages": ["hello"]}, "'None', not of system"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "'tool', not of system"),
        ({"messages": [{"role": "user", "content": "x"}]}, "nothing to learn"),
        ({"messages": [{"role": "assistant", "content": None}]}, "has no content"),
        ({"messages": [{"role": "assistant", "content": " "}]}, "neither a text with words"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "'input_audio', neither"),
        (example(*[uri()] * 11), "11 images, where 10"),
        (example(uri(), role="assistant"), "stands in a message of assistant"),
        (example("https://example.org/a.png"), "not a data URI"),
        (example("data:image/gif;base64,R0lGODlhAQABAAAAACw="), "not a data URI"),
        (example("data:image/png;base64,!!!!"), "no base64"),
        (example("data:image/png;base64,aGVsbG8="), "is no PNG"),
        (example(uri(form="JPEG", named="png")), "is no PNG"),
        (example(uri(mode="L")), "is L, where RGB"),
    ],
)
def test_what_would_be_refused_is_told_with_its_line(tmp_path: Path, line: Any, said: str) -> None:
    with pytest.raises(ExamplesError, match=rf"e\.jsonl line 1: .*{said}|e\.jsonl {said}"):
        check(written(tmp_path / "e.jsonl", line, times=1))


def test_sizes_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "e.jsonl"
    with pytest.raises(ExamplesError, match="holds 9 examples, where 10 to 50,000"):
        check(written(path, example(uri()), times=9))
    monkeypatch.setattr(limits, "MOST_EXAMPLES", 11)
    with pytest.raises(ExamplesError, match="holds 12 examples"):
        check(written(path, example(uri()), times=12))
    monkeypatch.setattr(limits, "LARGEST_IMAGE", 50)
    with pytest.raises(ExamplesError, match=r"line 1: an image has .* bytes, where 50 are allowed"):
        check(written(path, example(uri())))
    monkeypatch.setattr(limits, "LARGEST_FILE", 100)
    with pytest.raises(ExamplesError, match="more than the 100 that can be sent"):
        check(path)
    with pytest.raises(ExamplesError, match="there is no file"):
        check(tmp_path / "none.jsonl")
    path.write_bytes(b"")
    with pytest.raises(ExamplesError, match="holds 0 examples"):
        check(path)
