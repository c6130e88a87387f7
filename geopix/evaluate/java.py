"""The two Java programs that caption scores are made with (§V-D): the PTB tokenizer and METEOR 1.5.

Both come in pycocoevalcap, which asks them line by line without a word when something goes wrong. Here every failure
is one sentence, and nothing is written into the package's folder.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib import util
from pathlib import Path

OLDEST = 8
"""The Java that pycocoevalcap asks for; 17 is what this was tested with."""
TIMEOUT_S = 1800
"""Seconds for a whole set of captions; METEOR takes some ten to start and a minute for ten thousand."""
PUNCTUATION = frozenset("'' ' `` ` -LRB- -RRB- -LCB- -RCB- . ? ! , : - -- ... ;".split())
"""Tokens that pycocoevalcap leaves out. Round brackets stay, as "-lrb-": it looks for them in capitals after the
tokenizer has made everything small."""
_METEOR_NUMBERS = 23


class JavaError(ValueError):
    """Java is missing, too old, or failed."""


def java(timeout_s: float = 60) -> str:
    """The version of the ``java`` on the path, such as "17.0.15".

    Raises:
        JavaError: If there is none that can be used.
    """
    path = shutil.which("java")
    if path is None:
        raise JavaError(f"there is no java on the path; install Java {OLDEST} or newer for METEOR and PTB tokens")
    try:
        told = subprocess.run([path, "-version"], capture_output=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JavaError(f"{path} does not run ({error}); install Java {OLDEST} or newer") from error
    words = (told.stderr + told.stdout).decode("utf-8", "replace")
    found = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', words)
    if told.returncode or found is None:
        raise JavaError(f"{path} is no working Java ({_line(words)}); install Java {OLDEST} or newer")
    if int(found[2]) < OLDEST:
        raise JavaError(f"{path} is Java {found[1]}; METEOR and PTB tokens need Java {OLDEST} or newer")
    return found[1]


def ptb_tokens(captions: Sequence[str]) -> list[str]:
    """Each caption's PTB tokens, small, without punctuation, joined by spaces; as pycocoevalcap's PTBTokenizer.

    Raises:
        JavaError: If Java is missing or fails.
    """
    java()
    lines = [" ".join(caption.split()) for caption in captions]  # any other line break would shift all that follow
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "captions.txt"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="replace")
        jar = _package() / "tokenizer" / "stanford-corenlp-3.4.1.jar"
        command = ["-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", str(path)]
        told = _run("the PTB tokenizer", command, b"").split("\n")
    if len(told) < len(lines) or any(told[len(lines) :]):
        raise JavaError(f"the PTB tokenizer gave {len(told)} lines for {len(lines)} captions; report this")
    kept = ([word for word in line.rstrip().split(" ") if word not in PUNCTUATION] for line in told[: len(lines)])
    return [" ".join(words) for words in kept]


def meteor_statistics(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
    """What `geopix.evaluate.measures.meteor` adds up, of every tokenized caption against its tokenized references.

    Raises:
        JavaError: If Java is missing or fails.
    """
    java()
    asked = []
    for caption, true in zip(predicted, references, strict=True):
        said = caption.replace("|||", "").replace("  ", " ")
        asked.append(" ||| ".join(("SCORE", *(one.replace("|||", "") for one in true), said)))
    command = ["-Xmx2G", "-Dfile.encoding=UTF-8", "-Duser.language=en", "-jar"]  # else numbers follow the locale
    command += [str(_package() / "meteor" / "meteor-1.5.jar"), "-", "-", "-stdio", "-l", "en", "-norm"]
    told = _run("METEOR", command, "".join(f"{line}\n" for line in asked).encode("utf-8", "replace")).splitlines()
    try:
        rows = [tuple(map(float, line.split())) for line in told]
    except ValueError as error:
        raise JavaError(f"METEOR answered something else than numbers ({error}); report this") from error
    if len(rows) != len(asked) or any(len(row) != _METEOR_NUMBERS for row in rows):
        raise JavaError(f"METEOR answered {len(rows)} of {len(asked)} captions; report this")
    return rows


def _package() -> Path:
    found = util.find_spec("pycocoevalcap")
    if found is None or not found.submodule_search_locations:
        raise JavaError("pycocoevalcap is not installed; install it with: pip install 'geopix[captions]'")
    return Path(next(iter(found.submodule_search_locations)))


def _run(name: str, command: Sequence[str], text: bytes) -> str:
    path = shutil.which("java") or "java"
    try:
        told = subprocess.run([path, *command], input=text, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise JavaError(f"{name} took longer than {TIMEOUT_S:,} s and was stopped; score fewer captions") from error
    except OSError as error:
        raise JavaError(f"{name} does not run: {error}") from error
    if told.returncode:
        raise JavaError(f"{name} failed in Java ({_line(told.stderr.decode('utf-8', 'replace'))})")
    return told.stdout.decode("utf-8", "replace")


def _line(words: str) -> str:
    """The first line that says something; a JVM that was given options begins by telling so."""
    lines = (" ".join(line.split())[:200] for line in words.splitlines())
    return next((line for line in lines if line and not line.startswith("Picked up")), "it said nothing")
