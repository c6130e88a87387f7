"""Caption scores against hand-worked values and against pycocoevalcap; what is missing is said, not replaced."""

from __future__ import annotations

import math
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from geopix.evaluate import java as java_module
from geopix.evaluate.captions import PLAIN, PTB, CaptionsError, plain_words, score, uncharged
from geopix.evaluate.java import JavaError, java, meteor_statistics, ptb_tokens
from geopix.evaluate.measures import meteor
from geopix.evaluate.questions import CAPTION, Asked
from geopix.evaluate.vqa import Accuracy

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java here")

TRUE = {
    "1": ["There is a piece of farmland.", "It is a piece of cropland."],
    "2": ["Two airplanes are parked (at the gate), next to a terminal - the largest one.", "Planes; an airport."],
    "3": ["A beach with 1,000 people.", "Sand, waves & people."],
    "4": ["Many white boats are docked at the harbour.", "It's a harbor; boats don't move."],
}
SAID = {
    "1": "There is a piece of farmland.",
    "2": "Several airplanes are parked at the airport.",
    "3": "people on a beach",
    "4": "Boats don't move in the harbor.",
}


def asked(true: dict[str, list[str]] | None = None) -> list[Asked]:
    true = TRUE if true is None else true
    return [Asked(key, f"image {key}", Path(key), "caption", CAPTION, tuple(told)) for key, told in true.items()]


def by_hand(words: dict[str, list[str]], true: dict[str, list[str]]) -> dict[str, float]:
    """What pycocoevalcap itself gives."""
    bleu, _ = Bleu(4).compute_score(true, words, verbose=0)
    return {
        **{f"bleu{n}": value for n, value in enumerate(bleu, start=1)},
        "rouge": Rouge().compute_score(true, words)[0],
        "cider": Cider().compute_score(true, words)[0],
    }


def test_scores_are_pycocoevalcaps_on_the_same_words() -> None:
    found = score(asked(), SAID, with_java=False)
    words = {key: [plain_words(caption)] for key, caption in SAID.items()}
    theirs = by_hand(words, {key: list(map(plain_words, told)) for key, told in TRUE.items()})
    ours = {**{f"bleu{n}": value for n, value in enumerate(found.bleu, start=1)}, "rouge": found.rouge}
    assert {**ours, "cider": found.cider} == pytest.approx(theirs, abs=1e-9)


SENTENCE = st.lists(st.sampled_from("a ship the road on of two".split()), min_size=1, max_size=12)


@given(
    st.lists(
        st.tuples(SENTENCE | st.just([]), st.lists(SENTENCE, min_size=1, max_size=3)),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=30, deadline=None)
def test_bleu_of_counts_is_pycocoevalcaps(drawn: list[tuple[list[str], list[list[str]]]]) -> None:
    true = {str(k): [" ".join(one) for one in told] for k, (_, told) in enumerate(drawn)}
    said = {str(k): " ".join(one) for k, (one, _) in enumerate(drawn)}
    found = score(asked(true), said, with_java=False)
    theirs = by_hand({key: [one] for key, one in said.items()}, true)
    for n in range(1, 5):
        assert found.bleu[n - 1] == pytest.approx(theirs[f"bleu{n}"], abs=1e-9)
    assert found.cider == pytest.approx(theirs["cider"], abs=1e-9)


def test_bleu_by_hand() -> None:
    found = score(asked({"1": ["a b c d e f"]}), {"1": "a b x d"}, with_java=False)
    short = math.exp(1 - 6 / 4)
    assert found.bleu[0] == pytest.approx(3 / 4 * short)
    assert found.bleu[1] == pytest.approx(math.sqrt(3 / 4 * 1 / 3) * short)
    assert found.bleu[2] == pytest.approx(0, abs=1e-4)
    assert found.mean_words == 4
    assert found.true_words == 6


def test_perfect_captions_have_perfect_scores() -> None:
    found = score(asked(), {key: told[0] for key, told in TRUE.items()}, with_java=False)
    assert found.bleu == pytest.approx((1, 1, 1, 1))
    assert found.rouge == pytest.approx(1)
    assert found.missing == 0


def test_without_java_the_protocol_has_another_name() -> None:
    found = score(asked(), SAID, with_java=False)
    assert found.meteor is None
    assert found.tokens == PLAIN
    assert "NOT comparable" in found.protocol
    assert "METEOR not available: it was not asked for" in found.protocol
    assert found.meteor_counts() is None


def test_an_image_without_a_caption_is_an_empty_caption_and_told() -> None:
    found = score(asked(), {"1": SAID["1"], "strange": "x"}, lambda said: [1.0] * len(said), with_java=False)
    assert found.missing == 3
    assert [one.n_words for one in found.scores] == [6, 0, 0, 0]
    assert found.clair == Accuracy(4, 0, 0.25, 0.25)


def test_clair_has_bounds_where_nobody_judged() -> None:
    heard: list[Any] = []

    def decide(said: Any) -> list[float | None]:
        heard.append(said)
        return [0.8, None, 0.4, 0.0]

    found = score(asked(), SAID, decide, with_java=False)
    assert heard[0][0] == (["There is a piece of farmland."], TRUE["1"])
    assert (found.clair.n, found.clair.not_judged) == (4, 1)
    assert (found.clair.low, found.clair.high) == pytest.approx((0.3, 0.55))
    assert found.clair.value is None
    assert score(asked(), SAID, with_java=False).clair == Accuracy(4, 4, 0.0, 1.0)
    with pytest.raises(ValueError, match="decided 1 of 4"):
        score(asked(), SAID, lambda said: [1.0], with_java=False)


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("There is a piece of farmland .", "there is a piece of farmland"),
        ("It's 1,000 m wide; boats don't move.", "it 's 1,000 m wide boats do n't move"),
        ("A three-lane high_rise road (north-south)!", "a three-lane high_rise road north-south"),
        ("", ""),
        ("...", ""),
    ],
)
def test_plain_words(caption: str, words: str) -> None:
    assert plain_words(caption) == words


def test_what_can_not_be_scored_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CaptionsError, match="no images"):
        score([], {})
    with pytest.raises(CaptionsError, match="no reference holds a word"):
        score(asked({"1": ["..."]}), {"1": "a"}, with_java=False)
    with pytest.raises(ValueError, match="more than once"):
        score([*asked(), *asked()], SAID)
    monkeypatch.setitem(sys.modules, "pycocoevalcap.bleu", None)
    with pytest.raises(CaptionsError, match=r"pip install 'geopix\[captions\]'"):
        score(asked(), SAID, with_java=False)


def fake_java(folder: Path, script: str) -> None:
    path = folder / "java"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


RUNS = '[ "$1" = -version ] && echo \'openjdk version "21"\' >&2 ||'
"""A Java that knows its version, and then?"""


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'java version \"1.7.0_80\"' >&2", r"is Java 1\.7\.0_80; METEOR and PTB tokens need Java 8"),
        ("echo 'Unable to locate one.' >&2; exit 1", r"no working Java \(Unable to locate one\.\)"),
        ("exit 0", "it said nothing"),
        (f"{RUNS} {{ echo Picked up options >&2; echo broken >&2; exit 1; }}", r"failed in Java \(broken\)"),
        (f"{RUNS} echo one line", "lines for 10 captions"),
    ],
)
def test_a_java_that_does_not_work_is_told_and_nothing_is_scored_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, told: str
) -> None:
    fake_java(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(JavaError, match=told):
        ptb_tokens([""] * 10)
    found = score(asked(), SAID)
    assert found.tokens == PLAIN
    assert found.meteor is None
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(JavaError, match="no java on the path; install Java 8 or newer"):
        java()


def test_meteor_that_answers_nonsense_is_not_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, f"{RUNS} {{ cat > /dev/null; echo 1 2 x; }}")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(JavaError, match="something else than numbers"):
        meteor_statistics(["a"], [["a"]])
    monkeypatch.setattr(java_module, "_package", lambda: tmp_path)
    fake_java(tmp_path, f"{RUNS} {{ cat > /dev/null; echo 1 2; }}")
    with pytest.raises(JavaError, match="answered 1 of 1"):
        meteor_statistics(["a"], [["a"]])


@needs_java
def test_tokens_are_pycocoevalcaps(capfd: pytest.CaptureFixture[str]) -> None:
    captions = [*SAID.values(), *(one for told in TRUE.values() for one in told), "", "A line\nbreak \u2028 here\r\n."]
    theirs = PTBTokenizer().tokenize({k: [{"caption": " ".join(one.split())}] for k, one in enumerate(captions)})
    assert ptb_tokens(captions) == [theirs[k][0] for k in range(len(captions))]
    assert java()
    capfd.readouterr()


def test_meteor_adds_up_as_its_own_program() -> None:
    """Counts and scores as meteor-1.5.jar gave them for four captions, alone and together."""
    counts = [
        "6 4 4 2 2 2 2 2 0 0 0 0 0 0 0 0 0 0 0 0 1 4 4", "0 2 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
        "6 4 4 2 0 0 0 0 0 0 0 0 1 1 1 1 0 0 0 0 1 2 2", "4 4 2 2 2 2 2 2 0 0 0 0 0 0 0 0 0 0 0 0 1 4 4",
    ]  # fmt: skip
    rows = np.array([uncharged(list(map(float, line.split()))) for line in counts])
    assert meteor(rows) == pytest.approx([0.5255759325753065, 0, 0.1841617974061978, 1], abs=1e-12)
    assert float(meteor(rows.sum(axis=0))) == pytest.approx(0.38751922408689093, abs=1e-12)


@needs_java
@pytest.mark.slow
def test_everything_is_pycocoevalcaps_by_hand(capfd: pytest.CaptureFixture[str]) -> None:
    found = score(asked(), SAID)
    assert found.tokens == PTB
    tokenizer = PTBTokenizer()
    true = tokenizer.tokenize({key: [{"caption": one} for one in told] for key, told in TRUE.items()})
    words = tokenizer.tokenize({key: [{"caption": one}] for key, one in SAID.items()})
    program = Meteor()
    theirs = {**by_hand(words, true), "meteor": program.compute_score(true, words)[0]}
    for pipe in (program.meteor_p.stdout, program.meteor_p.stderr):  # it leaves them open
        pipe.close()
    ours = {**{f"bleu{n}": value for n, value in enumerate(found.bleu, start=1)}, "rouge": found.rouge}
    assert {**ours, "cider": found.cider, "meteor": found.meteor} == pytest.approx(theirs, abs=1e-6)
    capfd.readouterr()
