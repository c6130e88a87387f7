"""Files and fine-tuning jobs of an endpoint that speaks OpenAI's protocol, through the official client (§IV-C)."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from geopix.data.finetune import limits

if TYPE_CHECKING:
    from openai import OpenAI

PART_BYTES: Final = 64_000_000
"""Of an upload too large for one go."""

_ID = re.compile(r"[A-Za-z0-9][\w.:-]{0,199}", re.ASCII)
_NO_SUCH_LIST: Final = (404, 405, 501)


class FinetuneError(ValueError):
    """A job that can't be started or watched, with the sentence for the user."""


class NoAnswerError(FinetuneError):
    """The endpoint could not be reached, was busy or broke down: trying again may help."""


@dataclass(frozen=True, slots=True)
class State:
    """How a job is.

    Args:
        job: Its id.
        status: As the endpoint calls it.
        trained_tokens: So far, None where it does not say.
        model: The model's name once it has succeeded, else "".
        said: The endpoint's last words on it: an event, or what went wrong.
        ends_at: When it expects to be done, in seconds since 1970, or None.
    """

    job: str
    status: str
    trained_tokens: int | None = None
    model: str = ""
    said: str = ""
    ends_at: float | None = None


def identifier(text: Any, what: str) -> str:
    """An id that is safe in an address and in a terminal.

    Raises:
        FinetuneError: If it is none.
    """
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise FinetuneError(f"{str(text)[:60]!r} is no id of a {what}; is the endpoint's address right?")
    return text


class Endpoint:
    """An endpoint; making it sends nothing. Methods raise `FinetuneError`, `NoAnswerError` where one may try again.

    Args:
        base_url: Its address, or None for OpenAI's own. The key is that of ``OPENAI_API_KEY``; others may need none.

    Raises:
        FinetuneError: If the package or the key is missing, or the address is none.
    """

    def __init__(self, base_url: str | None = None) -> None:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise FinetuneError(
                "the openai package is missing; install it with: pip install 'geopix[describe]'"
            ) from error
        if base_url is not None and not re.match(r"https?://[^\s/]", base_url):
            raise FinetuneError(f"{base_url!r} is no address such as https://example.org/v1")
        key = os.environ.get("OPENAI_API_KEY") or ("none" if base_url else "")
        if not key:
            raise FinetuneError(
                "there is no key: put it into the environment variable OPENAI_API_KEY, or name another endpoint with "
                "--base-url"
            )
        self._client: OpenAI = OpenAI(api_key=key, base_url=base_url)
        # What costs money is never sent twice by itself: who asks looks first whether it arrived.
        self._once = self._client.with_options(max_retries=0)
        self.address = str(self._client.base_url)

    def uploaded(self, name: str, size: int) -> str | None:
        """The id of a file of this name and size that is there already."""
        with self._asking("list its files", missing_is_fine=True):
            for file in self._client.files.list(purpose="fine-tune"):
                if file.filename == name and file.bytes == size and file.status != "error":
                    return identifier(file.id, "file")
        return None

    def upload(self, path: Path, name: str, sent: Callable[[int], None]) -> str:
        """Send a file under a name; its id.

        Args:
            path: The file.
            name: What it is called there.
            sent: Told the bytes sent.
        """
        made: Any
        with self._asking("take the file"):
            if path.stat().st_size <= limits.LARGEST_AT_ONCE:
                with _Counted(path, sent) as file:
                    made = self._once.files.create(file=(name, file), purpose="fine-tune")
            else:
                made = self._in_parts(path, name, sent)
        return identifier(getattr(made, "id", None), "file")

    def _in_parts(self, path: Path, name: str, sent: Callable[[int], None]) -> Any:
        upload = self._client.uploads.create(
            bytes=path.stat().st_size, filename=name, mime_type="text/jsonl", purpose="fine-tune"
        )
        parts: list[str] = []
        with path.open("rb") as file:
            while data := file.read(PART_BYTES):
                parts.append(self._client.uploads.parts.create(upload.id, data=data).id)
                sent(file.tell())
        return self._client.uploads.complete(upload.id, part_ids=parts).file

    def jobs(self, file: str, model: str) -> list[str]:
        """Ids of the jobs that teach this model this file, without those that failed or were cancelled."""
        found: list[str] = []
        with self._asking("list its jobs", missing_is_fine=True):
            for job in self._client.fine_tuning.jobs.list():
                if (job.training_file, job.model) == (file, model) and job.status not in ("failed", "cancelled"):
                    found.append(identifier(job.id, "job"))
        return found

    def create(self, file: str, model: str, epochs: int | None, suffix: str | None) -> str:
        """Start a job; its id."""
        from openai import omit

        with self._asking("start the job"):
            made: Any = self._once.fine_tuning.jobs.create(
                model=model,
                training_file=file,
                suffix=omit if suffix is None else suffix,
                method=omit
                if epochs is None
                else {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": epochs}}},
            )
        return identifier(getattr(made, "id", None), "job")

    def state(self, job: str) -> State:
        """How a job is."""
        with self._asking("tell how the job is"):
            found: Any = self._client.fine_tuning.jobs.retrieve(identifier(job, "job"))
            status, error = getattr(found, "status", None), getattr(found, "error", None)
            if not isinstance(status, str):
                raise FinetuneError(f"{self.address} answers something that is no job; is its address right?")
            said = str(getattr(error, "message", None) or "")
            tokens, ends_at = found.trained_tokens, found.estimated_finish
        return State(
            job,
            status,
            tokens if isinstance(tokens, int) else None,
            str(found.fine_tuned_model or ""),
            said or self._last_event(job),
            float(ends_at) if isinstance(ends_at, (int, float)) else None,
        )

    def _last_event(self, job: str) -> str:
        events: Any = []
        with self._asking("tell what happened", missing_is_fine=True):
            events = self._client.fine_tuning.jobs.list_events(job, limit=1).data
        return str(getattr(events[0], "message", "")) if events else ""

    @contextmanager
    def _asking(self, what: str, missing_is_fine: bool = False) -> Iterator[None]:
        """Turns the client's errors into ours; a list that the endpoint does not keep may be no error."""
        import openai

        try:
            yield
        except openai.APIConnectionError as error:
            raise NoAnswerError(f"{self.address} can't be reached; is its address right?") from error
        except openai.AuthenticationError as error:
            raise FinetuneError(f"{self.address} does not take the key in OPENAI_API_KEY") from error
        except openai.APIStatusError as error:
            if missing_is_fine and error.status_code in _NO_SUCH_LIST:
                return
            told = f"{self.address} did not {what}: status {error.status_code}, {' '.join(error.message.split())[:300]}"
            busy = isinstance(error, (openai.InternalServerError, openai.RateLimitError))
            if busy and error.code != "insufficient_quota":
                raise NoAnswerError(told) from error
            raise FinetuneError(told) from error
        except (openai.OpenAIError, AttributeError, TypeError) as error:  # the client hands on what it can't read
            raise FinetuneError(f"{self.address} did not {what}: its answer is no JSON of that kind") from error


class _Counted(io.FileIO):
    """A file that tells how much of it was read, so that it need not be held whole to be watched."""

    def __init__(self, path: Path, told: Callable[[int], None]) -> None:
        super().__init__(path, "rb")
        self._told = told

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on."""
        data = super().read(-1 if size is None else size)
        self._told(self.tell())
        return data
