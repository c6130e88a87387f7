"""``geopix predict``: many questions about many images, in batches, resumable (§III-A)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from geopix import geo
from geopix.apps import show
from geopix.apps.errors import complain, is_ours, sentence
from geopix.apps.jsonl import (
    AnswerFile,
    Progress,
    Request,
    RequestsError,
    check_answers,
    encode,
    read_requests,
)
from geopix.records import Answer, Image

if TYPE_CHECKING:
    from geopix.assistant import Assistant


def run(
    requests_path: Path,
    answers_path: Path,
    *,
    batch_size: int,
    model: str,
    device: str,
    dtype: str,
    quantize: str | None,
    bands: tuple[int, int, int] | None,
    overwrite: bool,
) -> int:
    """Answer every request that has no answer yet; the number of answer lines that hold an error.

    Raises:
        RequestsError: If a file can't be used, with the sentence for the user.
        ValueError: If the model can't be loaded.
        OSError: If a file can't be read or written.
        KeyboardInterrupt: After Ctrl-C, saying how to go on.
    """
    total = _check_paths(requests_path, answers_path)
    old = answers_path.exists() and not overwrite
    progress = check_answers(answers_path, read_requests(requests_path)) if old else Progress()
    if progress.done == total:
        complain(f"all {total} requests are already answered in {answers_path}; --overwrite answers them again")
        return progress.errors
    if progress.done:
        complain(f"going on after {progress.done} of {total} answers in {answers_path}")
    try:
        with show.quiet_stdout():
            from geopix import assistant  # seconds of torch: after wrong files have been told

            guide = assistant.load(model, device, dtype, quantize)
            requests = itertools.islice(read_requests(requests_path), progress.done, None)
            _answer_all(guide, requests, answers_path, progress, total, batch_size, bands)
    except KeyboardInterrupt:
        anew = " without --overwrite" if overwrite and progress.done else ""
        raise KeyboardInterrupt(
            f"stopped with {progress.done} of {total} answers in {answers_path}; run the same command again"
            f"{anew} to go on"
        ) from None
    failed = f", {progress.errors} of them with an error" if progress.errors else ""
    complain(f"wrote {total} answers to {answers_path}{failed}")
    return progress.errors


def _check_paths(requests_path: Path, answers_path: Path) -> int:
    """The number of requests, once both paths are known to be good; the file is read through, not held."""
    if requests_path.is_dir() or (requests_path.exists() and not requests_path.is_file()):
        raise RequestsError(f"{requests_path} is not a file; give a .jsonl file with one request a line")
    total = sum(1 for _ in read_requests(requests_path))
    if not total:
        raise RequestsError(
            f'{requests_path} holds no requests; write lines like {{"id": "1", "image": "a.png", "question": "..."}}'
        )
    if answers_path.exists() and (not answers_path.is_file() or answers_path.samefile(requests_path)):
        raise RequestsError(f"{answers_path} can't take the answers; name a new .jsonl file with -o")
    folder = answers_path.parent
    if not folder.is_dir():
        raise RequestsError(f"there is no folder {folder} for the answers; make it first (mkdir -p {folder})")
    if not os.access(answers_path if answers_path.exists() else folder, os.W_OK):
        raise RequestsError(f"{answers_path} can't be written; choose a folder that you may write to")
    return total


def _answer_all(
    guide: Assistant,
    requests: Iterator[Request],
    answers_path: Path,
    progress: Progress,
    total: int,
    batch_size: int,
    bands: tuple[int, int, int] | None,
) -> None:
    def note() -> str:
        return f"{progress.errors} with an error" if progress.errors else ""

    bar = show.counting("answering", total, note, done=progress.done)
    with closing(AnswerFile(answers_path, progress.size)) as file, bar as moved:
        while batch := list(itertools.islice(requests, batch_size)):
            answers = answer_batch(guide, batch, bands)
            file.append(b"".join(map(encode, answers)))
            progress.done += len(answers)
            progress.errors += sum(answer.error is not None for answer in answers)
            moved(progress.done)


def answer_batch(guide: Assistant, batch: Sequence[Request], bands: tuple[int, int, int] | None = None) -> list[Answer]:
    """An answer for every request, in order; what can't be answered gets an answer with an ``error``.

    If the batch fails as a whole it is answered one by one, so that a bad request can't take others down.
    """
    images: dict[Path, Image | str] = {}
    for request in batch:
        if request.image is not None and request.image not in images:
            images[request.image] = _read(request.image, bands)
    answers: dict[int, Answer] = {}
    asked: list[tuple[int, Image, str]] = []
    for place, request in enumerate(batch):
        image = None if request.image is None else images[request.image]
        if request.error is not None or image is None:
            answers[place] = _failure(guide, request.error or "there is no image to ask about")
        elif isinstance(image, str):
            answers[place] = _failure(guide, image)
        else:
            asked.append((place, image, request.question))
    places = [place for place, _, _ in asked]
    answers.update(zip(places, _ask(guide, [(image, question) for _, image, question in asked]), strict=True))
    return [replace(answers[place], id=request.id) for place, request in enumerate(batch)]


def _read(path: Path, bands: tuple[int, int, int] | None) -> Image | str:
    """The image, or the sentence that says why there is none."""
    try:
        return geo.read(path, bands)[0]
    except Exception as error:
        return sentence(error)


def _ask(guide: Assistant, asked: Sequence[tuple[Image, str]]) -> list[Answer]:
    if not asked:
        return []
    try:
        answers = guide.ask_batch([image for image, _ in asked], [question for _, question in asked])
        if len(answers) != len(asked):
            raise RequestsError(f"the model gave {len(answers)} answers to {len(asked)} questions")
        return answers
    except Exception as error:
        if len(asked) > 1:
            return [answer for pair in asked for answer in _ask(guide, [pair])]
        if not is_ours(error):
            complain(sentence(error))  # not a fault of the request: worth the user's eye as it happens
        return [_failure(guide, sentence(error), size_hw=asked[0][0].shape[:2])]


def _failure(guide: Assistant, error: str, size_hw: tuple[int, ...] = (0, 0)) -> Answer:
    """An answer that holds only an error; its size is 0 x 0 where no image could be read."""
    return Answer("", (), (size_hw[0], size_hw[1]), guide.name, 0.0, error=error)
