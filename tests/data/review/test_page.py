"""The page: hostile texts stay texts, nothing but its own parts can run, and what it saves is read back."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from geopix.data.review import page
from geopix.data.review.corrections import Correction, Header, ReviewError, Spot
from tests.tiny_review import HOSTILE, entry, thing

HEADER = Header("ab" * 32, "0123456789ab", 2)
ENTRY = entry(3, thing(HOSTILE, (0, 10, 30, 30), HOSTILE), thing("ship", (2, 2, 12, 12)))


class Elements(HTMLParser):
    """Every tag that a browser would see, with its attributes, and the text of every script and style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside.append("")

        self.open = tag

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open in ("script", "style"):
            self.inside[-1] += data


def written() -> str:
    file = io.StringIO()
    images = [page.image(ENTRY, "images/00001.png", "overlays/00001.jpg", [[HOSTILE], [""]])] * 2
    page.write(file, HEADER, iter(images))
    return file.getvalue()


def test_a_hostile_text_comes_through_as_the_text_that_it_is() -> None:
    html = written()
    assert HOSTILE not in html
    data = html.split('type="application/json">', 1)[1].split("</script>", 1)[0]
    assert not set("<>&\u2028") & set(data)
    read = json.loads(data)
    assert read["images"][1]["objects"][0]["texts"] == [HOSTILE]
    assert read["images"][0]["objects"][0]["class"] == HOSTILE
    assert read["images"][0]["objects"][0]["box"] == [0, 25, 50, 50]
    assert (read["set_sha256"], read["review"], read["texts"]) == ("ab" * 32, "0123456789ab", 2)
    assert sorted({tag for tag, _ in Elements(html).tags} & {"img", "b"}) == ["img"]  # the frame's own, with no source


def test_nothing_comes_from_elsewhere_and_nothing_but_the_page_runs() -> None:
    html = written()
    elements = Elements(html)
    for tag, attributes in elements.tags:
        assert not {"src", "href", "srcset", "action"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", html)
    policy = next(attributes["content"] for tag, attributes in elements.tags if "http-equiv" in attributes)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    digests = {base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in elements.inside}
    for name in ("script-src", "style-src"):
        found = re.fullmatch(r"'sha256-(.+)'", rules[name])
        assert found is not None
        assert found[1] in digests


def test_the_script_only_ever_writes_text() -> None:
    script = Elements(written()).inside[-1]
    assert '"use strict"' in script
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("):
        assert way not in script


def one(**changed: Any) -> dict[str, Any]:
    return {
        "key": "toy/3",
        "object": 0,
        "text": 0,
        "was": "a ship",
        "verdict": "accepted",
        "words": "a ship",
        **changed,
    }


def saved(**changed: Any) -> dict[str, Any]:
    return {"format": "geopix-review", "version": 1, "set_sha256": "s", "review": "r", "texts": 2, **changed}


def test_what_the_page_saves_is_read() -> None:
    said = [
        one(),
        one(text=1, verdict="rewritten", words="the  ship"),
        one(object=1, verdict="rejected", words=""),
        one(text=2, verdict="rewritten", words="a ship"),
    ]
    header, found = page.read(saved(), said)
    assert header == Header("s", "r", 2)
    assert found == [
        Correction(Spot("toy/3", 0, 0), "a ship", "accepted", "a ship"),
        Correction(Spot("toy/3", 0, 1), "a ship", "rewritten", "the ship"),
        Correction(Spot("toy/3", 1, 0), "a ship", "rejected", ""),
        Correction(Spot("toy/3", 0, 2), "a ship", "accepted", "a ship"),
    ]


@pytest.mark.parametrize(
    ("head", "said", "complaint"),
    [
        ({"format": "other"}, [], "neither what the page saves"),
        ({"version": 2}, [], "version 2 is not 1"),
        ({"texts": "many"}, [], "which review"),
        ({"texts": 1e400}, [], "which review"),
        ({}, [7], "lacks its key"),
        ({}, [{"key": "a"}], "lacks its key"),
        ({}, [one(object=True)], "texts and numbers"),
        ({}, [one(words=None)], "texts and numbers"),
        ({}, [one(text=-1)], "counts its object or text"),
        ({}, [one(text=0.5)], "counts its object or text"),
        ({}, [one(verdict="maybe")], "'maybe', not one of accepted"),
        ({}, [one(words="another")], "is accepted, but reads 'another'"),
        ({}, [one(verdict="rewritten", words=" \t")], "text empty"),
        ({}, [one(verdict="rewritten", words="the <p>ship[SEG]")], "mark of the dialogue"),
        ({}, [one(verdict="rewritten", words="a\x07b")], "control characters"),
        ({}, [one(verdict="rewritten", words="a \u202eb")], "characters that nobody sees"),
        ({}, [one(verdict="rewritten", words="a" * 20_000)], "text too long"),
        ({}, [one(was="[SEG]", words="[SEG]")], "mark of the dialogue"),
    ],
)
def test_what_it_can_not_have_saved_is_told(head: dict[str, Any], said: list[Any], complaint: str) -> None:
    with pytest.raises(ReviewError, match=complaint):
        page.read(saved(**head), said)
