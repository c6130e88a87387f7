"""``geopix chat``: a conversation about one image in the terminal (§III-A, multi-turn)."""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geopix import geo
from geopix.apps import ask, show
from geopix.apps.answer import print_instances
from geopix.apps.errors import clean, complain, debugging, sentence
from geopix.records import Answer, Image

if TYPE_CHECKING:
    from geopix.assistant import Assistant

HELP = """\
Type a question, or one of:
  /save FILE     write the last answer: .png overlay, .gpkg, .geojson, .tif labels, .json COCO
                 (/save --overwrite FILE replaces a file)
  /image PATH    go on with another image; the conversation starts anew
  /reset         forget the conversation, keep the image
  /help          this list
  /quit          leave (as Ctrl-D does); Ctrl-C cancels an answer"""


class ChatError(ValueError):
    """A command of the conversation that can't be followed."""


@dataclass
class Conversation:
    """One conversation: the assistant, the image it sees, and the last answer for ``/save``."""

    guide: Assistant
    path: Path
    image: Image
    frame: geo.Frame
    bands: tuple[int, int, int] | None
    last: tuple[str, Answer] | None = None

    def answer(self, question: str) -> None:
        """Stream the answer to a question on stdout, then its table; Ctrl-C cancels it.

        A cancelled answer is no part of the conversation: `Assistant.stream` keeps a turn only when it ends.
        """
        answer: Answer | None = None
        said: list[str] = []
        pieces = self.guide.stream(question)
        for piece in pieces:
            if isinstance(piece, Answer):
                answer = piece
            else:
                said.append(piece)
                print(clean(piece), end="", flush=True)
        if said:
            print()
        if answer is None:
            raise ChatError("the answer ended before it was complete; ask again")
        if "".join(said).split() != answer.text.split():
            show.print_text(answer.text)  # the stream may lack the marks that name the masks
        print_instances(answer, self.frame)
        self.last = question, answer

    def save(self, words: list[str]) -> None:
        """``/save [--overwrite] FILE``.

        Raises:
            ChatError: If there is nothing to save or no single file is named.
            ValueError: See `geopix.apps.ask.check_outputs`.
            OSError: If the file can't be written.
        """
        overwrite = "--overwrite" in words
        files = [word for word in words if word != "--overwrite"]
        if len(files) != 1:
            raise ChatError("/save takes one file, as in: /save ships.gpkg (put quotes around a name with spaces)")
        if self.last is None:
            raise ChatError("there is no answer to save yet; ask something first")
        path = Path(files[0]).expanduser()
        ask.check_outputs([path], self.path, overwrite)
        question, answer = self.last
        ask.save(path, answer, self.image, self.frame, question=question, overwrite=overwrite)

    def look_at(self, words: list[str]) -> None:
        """``/image PATH``: show the assistant another image; the old one stays if it can't be read.

        Raises:
            ChatError: If no single path is given.
            ValueError: See `geopix.geo.read`.
            OSError: If the file can't be read.
        """
        if len(words) != 1:
            raise ChatError("/image takes one path, as in: /image port.tif (put quotes around a name with spaces)")
        path = Path(words[0]).expanduser()
        with show.quiet_stdout():
            image, frame = geo.read(path, self.bands)
            self.guide.set_image(image)
        self.path, self.image, self.frame, self.last = path, image, frame, None
        _introduce(path, frame)

    def command(self, line: str) -> bool:
        """Follow a line that begins with "/"; False if it ends the conversation.

        Raises:
            ChatError: If there is no such command.
        """
        try:
            name, *words = shlex.split(line)
        except ValueError:  # an apostrophe in a file name, or a quote left open: take the rest as it stands
            name, *words = line.split(maxsplit=1)
        if name in ("/quit", "/exit"):
            return False
        if name == "/save":
            self.save(words)
        elif name == "/image":
            self.look_at(words)
        elif name == "/reset":
            self.guide.reset()
            self.last = None
            print("The conversation starts anew.")
        elif name == "/help":
            print(HELP)
        else:
            raise ChatError(f"there is no command {name}; /help lists them")
        return True


def run(
    image_path: Path,
    *,
    model: str,
    device: str,
    dtype: str,
    quantize: str | None,
    bands: tuple[int, int, int] | None,
) -> None:
    """Hold a conversation about an image until ``/quit`` or the end of the input.

    Raises:
        ValueError: If the image or the model can't be loaded, with the sentence for the user.
        OSError: If the image can't be read.
    """
    with show.quiet_stdout():
        image, frame = geo.read(image_path, bands)
        from geopix import assistant  # seconds of torch: after a wrong path has been told

        guide = assistant.load(model, device, dtype, quantize)
        guide.set_image(image)
    conversation = Conversation(guide, image_path, image, frame, bands)
    _introduce(image_path, frame)
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  gives input() its history and editing keys
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print("\n(Ctrl-D or /quit leaves)")
            continue
        if line and not _follow(conversation, line):
            return


def _follow(conversation: Conversation, line: str) -> bool:
    """One line of the user; whatever goes wrong is one sentence, and the conversation goes on."""
    try:
        if line.startswith("/"):
            return conversation.command(line)
        conversation.answer(line)
    except KeyboardInterrupt:
        print()
        complain("cancelled")
    except Exception as error:
        if debugging():
            raise
        print(end="", flush=True)
        complain(sentence(error))
    return True


def _introduce(path: Path, frame: geo.Frame) -> None:
    height, width = frame.size_hw
    ask.say_notes(frame)
    print(clean(f"{path.name}: {width} x {height} pixels. Ask about it; /help lists the commands."))
