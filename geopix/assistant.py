"""Look once, ask many (Fig. 1): the only way in which anyone gets an answer from GeoPix."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from geopix import checkpoint
from geopix.batching import AT_ONCE, Batch, Prompt
from geopix.dialogue import PHRASE, Dialogue
from geopix.drawing import Drawing, Whose
from geopix.manners import Manners, Said, agree
from geopix.model.encoder import Letterbox, to_pixels
from geopix.model.geopix import GeoPixModel, Seen
from geopix.records import Answer, Image, Turn

MAX_QUESTION = 2000
"""Characters of a question."""


class QuestionError(ValueError):
    """A question that can't be asked."""


def load(
    model: str = "nano",
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
) -> Assistant:
    """An assistant on a model: "nano", a folder, or a hub id; the rest as `geopix.checkpoint.load` has it.

    Raises:
        geopix.checkpoint.CheckpointError: If the model can't be loaded.
    """
    return Assistant(*checkpoint.load(model, device, dtype, quantize, device_map), name=model)


class Assistant:
    """A conversation about one image at a time.

    Args:
        model: In evaluation mode, on its device.
        dialogue: The words around it.
        name: What answers call the model.
        group_at_once: Whether a segmentation group is appended in one forward pass or token by token; the answers
            are the same, the second is there to measure the first against.
        look_ahead: Whether words that the question suggests are read together, and kept where the model agrees; the
            answers are the same.
        class_query: Whose memory refines a mask, see `geopix.drawing.Drawing`.
    """

    def __init__(
        self,
        model: GeoPixModel,
        dialogue: Dialogue,
        name: str,
        group_at_once: bool = True,
        look_ahead: bool = True,
        class_query: Whose = "text",
    ) -> None:
        self.model, self.dialogue, self.name = model, dialogue, name
        self.manners = Manners(model.language, dialogue, model.config.written_boxes, group_at_once, look_ahead)
        self._drawing = Drawing(model, dialogue, class_query)
        self._seen: Seen | None = None
        self._box: Letterbox | None = None
        self._turn: Iterator[str | Answer] | None = None
        self.reset()

    @torch.no_grad()
    def set_image(self, image: Image) -> None:
        """Look at an image, (H, W, 3) uint8 RGB, and start a new conversation about it."""
        box = Letterbox((image.shape[0], image.shape[1]), self.model.config.image_size)
        seen = self._look([box.apply(image)])
        self.reset()
        self._box, self._seen = box, seen

    def reset(self) -> None:
        """Forget the conversation, keep the image."""
        self._break_off()
        self._cache = DynamicCache()
        self._owed: list[int] = []  # said by the assistant, not yet read by the model: the end of the last answer

    def ask(self, question: str) -> Answer:
        """Answer a question about the image, knowing what was said before; greedy, so always the same.

        Raises:
            QuestionError: If the question is empty, too long or holds control characters, or there is no image.
        """
        *_, answer = self.stream(question)
        assert isinstance(answer, Answer)
        return answer

    def stream(self, question: str) -> Iterator[str | Answer]:
        """The same, word by word: pieces of text as they come, at last the answer.

        The pieces add up to the answer's text, but where a model garbles a box so that words already told change;
        there the whole text is told once more. A turn that is broken off, by closing the iterator, by an error or by
        the next question, leaves no trace in the conversation.
        """
        question = check_question(question)
        if self._seen is None or self._box is None:
            raise QuestionError("there is no image to ask about; call set_image first")
        self._break_off()
        ids = [*self._owed, *self.dialogue.question(question, first=self._cache.get_seq_length() == 0)]
        self._check_room(len(ids) + self._cache.get_seq_length())
        draft = self.manners.draft(question)
        self._turn = self._answer(ids, draft, self._seen, self._box)
        return self._turn

    @torch.no_grad()
    def _answer(self, ids: list[int], draft: list[int], seen: Seen, box: Letterbox) -> Iterator[str | Answer]:
        started = time.perf_counter()
        length, owed = self._cache.get_seq_length(), self._owed
        try:
            said, told = Said(), ""
            for _ in self._generate(ids, draft, seen, said):
                settled = self._settled(said.ids)
                if len(settled) > len(told) and settled.startswith(told):
                    yield settled[len(told) :]
                    told = settled
            spoken = self.dialogue.parse(said.ids)
            rest = spoken.text[len(told) :] if spoken.text.startswith(told) else f"\n{spoken.text}"
            if rest:
                yield rest
            instances = self._drawing.instances(seen, box, spoken, said.embeddings)
        except BaseException:
            self._owed = owed
            self._forget(length)
            raise
        yield Answer(spoken.text, instances, box.size_hw, self.name, time.perf_counter() - started)

    def _settled(self, ids: list[int]) -> str:
        """As much of an unfinished answer's text as stays the same whatever comes: whole words, whole mentions."""
        spoken = self.dialogue.parse(ids)
        if self.dialogue.phrase_id in ids:  # an open phrase is tidied once its mask or box is there
            before = self.dialogue.parse(ids[: len(ids) - 1 - ids[::-1].index(self.dialogue.phrase_id)])
            if len(before.mentions) == len(spoken.mentions):
                return before.text
        return spoken.text[: max(0, spoken.text.rfind(" "))]

    def _break_off(self) -> None:
        """Undo a turn that somebody began and never heard to its end."""
        turn, self._turn = getattr(self, "_turn", None), None
        if isinstance(turn, Generator):
            turn.close()

    def _forget(self, length: int) -> None:
        """Cut the conversation back to its first ``length`` tokens."""
        if not length:
            self._cache = DynamicCache()
        layer: Any
        for layer in self._cache.layers:  # a pass that was broken off has extended only some of them
            layer.crop(length - layer.get_seq_length())

    def _check_room(self, n_tokens: int) -> None:
        limit, kept = self.model.config.text_config.max_position_embeddings, self.manners.max_answer
        if n_tokens + kept > limit:
            raise QuestionError(
                f"conversation and question take {n_tokens:,} of the {limit:,} tokens that the model can read, and "
                f"{kept} are kept for the answer; forget the conversation (reset) or ask more briefly"
            )

    def ask_batch(self, images: Sequence[Image], questions: Sequence[str], at_once: int = AT_ONCE) -> list[Answer]:
        """Answer one question about each image, side by side; the conversation of `ask` is not touched.

        An image that is given several times (the same array) is looked at, and read, once.

        Args:
            images: (H, W, 3) uint8 RGB each.
            questions: One for each.
            at_once: How many are in work at a time.

        Raises:
            QuestionError: As `ask`, for the first bad question.
        """
        started = time.perf_counter()
        answers = dict(self.ask_each(images, questions, at_once))
        each = (time.perf_counter() - started) / max(1, len(answers))
        return [replace(answers[place], elapsed_s=each) for place in range(len(answers))]

    @torch.no_grad()
    def ask_each(
        self, images: Sequence[Image], questions: Sequence[str | Turn], at_once: int = AT_ONCE
    ) -> Iterator[tuple[int, Answer]]:
        """The same, one by one: a question's number and its answer, as soon as it is there.

        What an image takes in memory is let go once all questions about it are answered, so the lists may be long.
        ``elapsed_s`` is the time since the answer before.

        A `Turn` in a question's place has its answer given: the model reads it in one pass, whatever it would have
        said, and draws what it speaks of (teacher forcing, Table III's TF).

        Raises:
            QuestionError: As `ask`, for the first bad question.
        """
        first: dict[int, int] = {}
        numbers = [first.setdefault(id(image), place) for place, image in enumerate(images)]
        prompts = [self._prompt(question, image) for question, image in zip(questions, numbers, strict=True)]
        if prompts:
            self._check_room(max(len(prompt.ids) + prompt.given * len(prompt.draft) for prompt in prompts))
        side = self.model.config.image_size
        boxes = {place: Letterbox((images[place].shape[0], images[place].shape[1]), side) for place in set(numbers)}

        def look(places: list[int]) -> Seen:
            return self._look([boxes[place].apply(images[place]) for place in places])

        batch = Batch(self.model.language, self.dialogue, look, self.manners, at_once)
        since = time.perf_counter()
        for number, said, seen in batch.answer(prompts):
            spoken, box = self.dialogue.parse(said.ids), boxes[numbers[number]]
            instances = self._drawing.instances(seen, box, spoken, said.embeddings)
            now = time.perf_counter()
            yield number, Answer(spoken.text, instances, box.size_hw, self.name, now - since)
            since = time.perf_counter()

    def _prompt(self, question: str | Turn, image: int) -> Prompt:
        """A question with a guess at its answer, or with the answer itself."""
        text = check_question(question if isinstance(question, str) else question.question)
        if isinstance(question, str):
            return Prompt(self.dialogue.question(text, first=True), self.manners.draft(text), image)
        said = question.answer if self.dialogue.marks_phrases else question.answer.replace(f"{PHRASE} ", "")
        whole = self.dialogue.encode([replace(question, question=text, answer=said)])
        start = whole.answers.index(True)
        return Prompt(whole.ids[:start], whole.ids[start:-1], image, given=True)

    def _look(self, squares: list[Image]) -> Seen:
        config = self.model.config
        pixels = to_pixels(squares, config.image_mean, config.image_std)
        return self.model.see(pixels.to(self.model.device, self.model.dtype))

    def _generate(self, ids: list[int], draft: list[int], seen: Seen, said: Said) -> Iterator[None]:
        """Read ``ids``, then speak into ``said``, pausing after every pass through the model.

        A pass reads what is certain and a guess at what follows; of the guess it keeps what the model would have said
        itself, so no answer changes. Reading several tokens costs hardly more than reading one.
        """
        group, size = list(self.dialogue.group_ids), len(self.dialogue.group_ids)
        image = seen.tokens if self._cache.get_seq_length() == 0 else None
        read, guess = ids, self.manners.welcome(draft)
        opened: Tensor | None = None  # the state that predicts a group which is read in this pass
        while True:
            length = self._cache.get_seq_length() + len(read)
            if opened is not None and not self.manners.group_at_once:
                states = torch.cat([self._read([one]) for one in read])
            else:
                states = self._read([*read, *guess], image)
            if opened is not None:
                said.embeddings.append(torch.cat([opened, states[: size - 1]]))
            image, opened, states = None, None, states[len(read) - 1 :]
            logits = self.manners.logits(states[None])[0]

            def choose(place: int, logits: Tensor = logits) -> int:
                return self.manners.next(logits[place])

            kept, token = agree(guess, states, said, group, choose, self.manners.ends)
            if kept < len(guess):
                self._forget(length + kept)
            if self.manners.ends(token, said):
                break
            opened = states[kept : kept + 1] if token == group[0] else None
            read = group if token == group[0] else [token]
            said.ids += read
            guess = self.manners.guess([*ids, *draft, *said.ids])
            if opened is not None and not self.manners.group_at_once:
                guess = []
            yield
        self._owed = [self.dialogue.end_id]

    def _read(self, ids: list[int], image_tokens: Tensor | None = None) -> Tensor:
        """Extend the conversation by ids; their last hidden states (n, hidden)."""
        embedded = self.model.language.embed(torch.tensor([ids], device=self.model.device), image_tokens)
        hidden: Tensor = self.model.language(embedded, cache=self._cache)
        return hidden[0]


def check_question(question: str) -> str:
    """The question with plain spaces and no surrounding ones.

    Raises:
        QuestionError: If it is empty, too long, or holds control characters.
    """
    tidy = " ".join(question.split())
    if not tidy:
        raise QuestionError('the question is empty; ask something like "Segment the airplane on the left."')
    if len(tidy) > MAX_QUESTION:
        raise QuestionError(f"the question has {len(tidy):,} characters, at most {MAX_QUESTION:,} are read; shorten it")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in tidy):
        raise QuestionError("the question holds control characters; type it as plain text")
    return tidy
