"""Teacher-forced masks on the validation windows of NWPU VHR-10: a score free of what the model would say (§V-F)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from geopix.ablation.plan import Test
from geopix.classes import ClassVocabulary
from geopix.dialogue import Dialogue
from geopix.evaluate import vhr10
from geopix.evaluate.vhr10 import Question
from geopix.model.encoder import Letterbox
from geopix.model.geopix import GeoPixModel, Seen
from geopix.model.mask_predictor import ClassQuery
from geopix.records import Sample
from geopix.train.answers import AnswersError, Watch, dialogue_states
from geopix.train.features import FeatureStore

KINDS = ("referred", "all")

PROTOCOL = (
    "TF, teacher-forced: the right words of every answer are given, the masks are the model's; a question's masks are "
    "held against the true ones in their order, at the window's original resolution. mIoU is the mean over questions, "
    "cIoU is pixels over pixels. Not comparable with AR-H, nor with the paper's numbers: other data, another size."
)


@dataclass(frozen=True)
class Validation:
    """What a row is scored on.

    Args:
        windows: Every window once, in the order of ``store``.
        store: Their features.
        questions: Of every window those that are asked about it.
    """

    windows: list[Sample]
    store: FeatureStore
    questions: list[list[Question]]

    @property
    def flat(self) -> list[Question]:
        """All questions, in the order in which scores come."""
        return [question for of_window in self.questions for question in of_window]

    @property
    def key(self) -> str:
        """Names the windows and the questions: twelve hexadecimal digits."""
        return _key([[q.window.key, q.turn.question, q.turn.answer] for q in self.flat])


@dataclass(frozen=True)
class Score:
    """One question: its mean IoU in 0..1, and the pixels of intersections and unions of its masks, summed."""

    iou: float
    intersection_px: int
    union_px: int


def validation(asked: Sequence[Question], limit: int, model: GeoPixModel, folder: Path, watch: Watch) -> Validation:
    """The questions that mean something, spread over kinds and images, and the features of their windows.

    Args:
        asked: See `geopix.evaluate.vhr10.questions`.
        limit: How many at most.
        model: Whose encoder looks at the windows, once.
        folder: Where features are kept.
        watch: Told how many windows were looked at.
    """
    chosen = vhr10.spread([q for q in asked if q.kind in KINDS and q.turn.targets], limit)
    by_window: dict[int, list[Question]] = {}
    for question in chosen:
        by_window.setdefault(id(question.window), []).append(question)
    windows = [questions[0].window for questions in by_window.values()]
    config = model.config
    shape = len(config.encoder_layers), config.grid_side**2, config.vision_config.hidden_size
    store = FeatureStore(folder / _key([window.key for window in windows]), *shape)
    if len(store) < len(windows):
        store.build(
            model.encoder, windows[len(store) :], config.image_size,
            progress=lambda done: watch("features of the validation windows", done, len(windows)),
        )  # fmt: skip
    return Validation(windows, store, list(by_window.values()))


def validation_states(model: GeoPixModel, dialogue: Dialogue, on: Validation, watch: Watch) -> list[Tensor]:
    """What the LLM says at the segmentation tokens of the right answers, a window at a time; see `dialogue_states`."""
    states = []
    for place, questions in enumerate(on.questions):
        features = on.store[place].features[None]
        states += dialogue_states(model, dialogue, features, [[question.turn for question in questions]])
        watch("reading validation dialogues", place + 1, len(on.questions))
    return states


def kept_states(model: GeoPixModel, dialogue: Dialogue, on: Validation, path: Path, watch: Watch) -> list[Tensor]:
    """The same, read once and kept in a file.

    Raises:
        AnswersError: If the file is damaged.
    """
    sizes = [sum(len(question.turn.targets) for question in questions) for questions in on.questions]
    if not path.is_file():
        staging = path.with_suffix(".part")
        save_file({"states": torch.cat(validation_states(model, dialogue, on, watch)).cpu()}, staging)
        staging.replace(path)
    try:
        states = load_file(path)["states"]
    except (OSError, SafetensorError, KeyError) as error:
        raise AnswersError(f"{path} is damaged ({error}); delete it, it is made again") from error
    if len(states) != sum(sizes) or not torch.isfinite(states).all():
        raise AnswersError(f"{path} does not hold {sum(sizes)} states; delete it, it is made again")
    return list(states.split(sizes))


@torch.no_grad()
def score(model: GeoPixModel, on: Validation, states: Sequence[Tensor], test: Test, watch: Watch) -> list[Score]:
    """Every question's masks, given the words, against the truth.

    Args:
        model: In evaluation mode.
        on: Windows and questions.
        states: Of every window (targets of all its questions, L * tokens per scale, hidden).
        test: Where Q_c comes from.
        watch: Told how many windows are scored.
    """
    vocabulary = ClassVocabulary(tuple(model.config.class_names))
    tokens = len(model.encoder.layers) * model.config.tokens_per_scale
    scores = []
    for place, (window, questions) in enumerate(zip(on.windows, on.questions, strict=True)):
        features = on.store[place].features[None].to(model.device, model.dtype)
        seen = Seen(features, *model.see_scales(features))
        targets = [target for question in questions for target in question.turn.targets]
        slots = [vocabulary.id(window.instances[target].class_name) for target in targets]
        named, query = class_query(slots, test, vocabulary, place)
        class_ids = None if named is None else torch.tensor([named], device=model.device)
        groups = states[place][None, :, :tokens].to(model.device)
        out = model.predict_masks(seen, groups, class_ids, query, refine=test != "initial")
        box, logits = Letterbox(window.size_hw, model.config.image_size), iter(out.logits[0])
        for question in questions:
            scores.append(
                _in_order([(box.to_mask(next(logits)), window.instances[t].mask) for t in question.turn.targets])
            )
        watch("scoring", place + 1, len(on.windows))
    return scores


def class_query(
    slots: Sequence[int], test: Test, vocabulary: ClassVocabulary, place: int
) -> tuple[list[int] | None, ClassQuery]:
    """The class slots that are named for targets of the given true ones, and how Q_c is predicted where none is.

    Args:
        slots: The true classes.
        test: See `geopix.ablation.plan.Test`.
        vocabulary: Class slots.
        place: Of the window; draws the wrong classes.
    """
    if test == "given":
        return list(slots), "mixture"
    if test == "wrong":
        known = len(vocabulary)
        shifts = np.random.default_rng((vhr10.SEED, place)).integers(1, known, size=len(slots)).tolist()
        return [(slot + shift) % known for slot, shift in zip(slots, shifts, strict=True)], "mixture"
    if test == "unknown":
        return [vocabulary.unknown_id] * len(slots), "mixture"
    return None, test if test == "top-1" or test == "none" else "mixture"


def _in_order(pairs: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> Score:
    ious, shared, union = [], 0, 0
    for predicted, true in pairs:
        assert true is not None
        both, either = int(np.count_nonzero(predicted & true)), int(np.count_nonzero(predicted | true))
        ious.append(both / either if either else 0.0)
        shared, union = shared + both, union + either
    return Score(float(np.mean(ious)), shared, union)


def _key(told: object) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]
