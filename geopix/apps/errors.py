"""What a user reads when something fails (around Fig. 1): one sentence on stderr, an exit code, no traceback."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer

FAILED = 1
"""Exit code of a command that could not do its job; wrong usage is 2."""

SOME_FAILED = 3
"""Exit code of ``geopix predict`` when some answer lines hold an error."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it (128 + SIGINT)."""

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission denied; check the rights of the file and its folder",
    errno.EPERM: "not permitted; check the rights of the file and its folder",
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.EISDIR: "this is a folder, where a file was expected",
    errno.ENOTDIR: "a part of this path is a file, not a folder; check the path",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EMFILE: "too many files are open; close other programs or raise the limit (ulimit -n)",
}


def clean(text: str) -> str:
    """Text that is safe to print: no terminal control characters, direction overrides or broken code points.

    Line breaks and tabs stay. File names and answers may hold anything; a terminal must not obey them.
    """
    return "".join(map(_safe, text))


def _safe(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":  # half of a pair: a file name that is not UTF-8
        return "?"
    return "" if category in ("Cc", "Cf") and character not in "\n\t\u200d" else character


def debugging() -> bool:
    """Whether GEOPIX_DEBUG asks for tracebacks and warnings."""
    return os.environ.get("GEOPIX_DEBUG", "") not in ("", "0")


def is_ours(error: BaseException) -> bool:
    """Whether a room of GeoPix raised its own kind of error, whose text is already the sentence for the user.

    Known by the room's name, so that no room has to be imported to tell.
    """
    return type(error).__module__.partition(".")[0] == "geopix"


def sentence(error: BaseException) -> str:
    """One line that says what went wrong and what to do, free of control characters."""
    if is_ours(error):
        said = str(error)
    elif isinstance(error, KeyboardInterrupt):
        said = str(error) or "stopped before the work was done"
    elif _out_of_memory(error):
        said = "not enough memory; close other programs, use a smaller image, or lower --batch-size"
    elif isinstance(error, OSError):
        said = _system_sentence(error)
    else:
        detail = f": {error}" if str(error) else ""
        said = f"unexpected {type(error).__name__}{detail}; please report, GEOPIX_DEBUG=1 shows the traceback"
    return " ".join(clean(said).split())


def _out_of_memory(error: BaseException) -> bool:
    # torch's own errors are told by name: importing torch to compare types would slow every command down.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _system_sentence(error: OSError) -> str:
    reason = _ADVICE.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    return f"{os.fsdecode(error.filename)}: {reason}" if isinstance(error.filename, (str, bytes)) else reason


def complain(text: str) -> None:
    """Print a line for the user on stderr."""
    print(clean(text), file=sys.stderr, flush=True)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn every failure inside into one sentence on stderr and an exit code; also usable as a decorator.

    Raises:
        typer.Exit: With `INTERRUPTED` after Ctrl-C, `FAILED` after any other failure.
    """
    try:
        with warnings.catch_warnings():
            if not debugging():
                warnings.simplefilter("ignore")  # libraries warn their developers; users get sentences
            yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except BrokenPipeError:  # whoever read our output has gone (`| head`): nothing to say
        _give_up_stdout()
        raise typer.Exit(FAILED) from None
    except (KeyboardInterrupt, Exception) as error:
        if debugging():
            traceback.print_exc()
        complain(f"geopix: {sentence(error)}")
        _give_up_stdout()
        raise typer.Exit(INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED) from None


def _give_up_stdout() -> None:
    """Where stdout can't take what waits in its buffer, let it go, or Python would complain once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
