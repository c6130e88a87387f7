"""Questions and answers about a sample, in varied wording and the paper's mixture of tasks (§III-C, §IV)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from geopix.classes import ABSENT_CANDIDATES, VHR10, plural, wordings
from geopix.data.askable import able, by_class, candidates, listed, masked, named
from geopix.data.describe import called, describe, reading_order
from geopix.dialogue import GROUP, PHRASE, box_text
from geopix.records import Instance, Sample, Turn

SHARES = {"segment": 0.44, "all": 0.2, "absent": 0.13, "refer": 0.09, "presence": 0.06, "count": 0.05, "caption": 0.03}
"""How often each kind of question is asked about an image with objects."""
KINDS = (*SHARES, "mixed", "vqa", "there", "nowhere")
"""What may be asked. "mixed": all of two classes or three; "vqa": a question that came with the image; "there": a mask
or a box of what is there by a label of the whole image, which tells how the answer begins and no more; "nowhere": a
box of what is not there."""
_OF_SCENES = ("there", "absent", "nowhere", "presence")
"""What labels of the whole image can answer."""

_SEGMENT = (
    "Segment {}.", "segment {}", "Can you segment {}?", "Please segment {} in this image.", "Segment {} in the image.",
    "Show me {}.", "Outline {}.", "Give me the mask of {}.", "Highlight {}.", "Find {} and segment it.", "Mark {}.",
    "Could you segment {} for me?", "I need a mask for {}.", "Please output the segmentation mask of {}.",
    "Where is {}? Show the mask.", "[segment] Segment {}.", "[segment] Can you segment {}?", "Delineate {}.",
)  # fmt: skip
_REFER = (
    "Where is {}?", "Give the bounding box of {}.", "Locate {}.", "[refer] Where is {}?", "Draw a box around {}.",
    "What is the bounding box of {}?", "[refer] Give me the location of {}.",
)  # fmt: skip
_PRESENCE = ("Is there {} in the image?", "Can you see {}?", "Is there {} here?", "Does the image contain {}?")
_COUNT = ("How many {} are there?", "How many {} are in the image?", "Count the {}.", "How many {} can you see?")
_CAPTION = (
    "Describe the image.", "Describe this image in one sentence.", "What does the image show?", "Caption this image.",
    "[caption] Describe the image in detail.", "What can you see in this picture?",
)  # fmt: skip
_ALL = ("all {}", "all the {}", "every {}", "the {}", "each {}")
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")


def facts_of(sample: Sample) -> dict[str, Any]:
    """A sample without its pixels, JSON-ready: what questions are made from, and the feature store keeps.

    `geopix.data.facts.facts_of_entry` makes the same of a set's entry, and says more: of an object whether it is
    "masked", of the image whether all objects of the annotated classes are "counted", and which "classes" those are.
    What is not said is true, and the classes are NWPU VHR-10's.
    """
    told = called if sample.complete else describe
    phrases = told(sample.instances, sample.size_hw)
    return {
        "key": sample.key,
        "size_hw": sample.size_hw,
        "instances": [
            {
                "class": instance.class_name,
                "box": [round(v, 1) for v in instance.box_xyxy_px],
                "phrases": words,
                "masked": instance.mask is not None,
            }
            for instance, words in zip(sample.instances, phrases, strict=True)
        ],
        "captions": sample.captions,
        "turns": [[turn.question, turn.answer] for turn in sample.turns],
        "complete": sample.complete,
        "there": sample.there,
        "missing": sample.missing,
    }


def ask(
    facts: dict[str, Any], count: int, rng: np.random.Generator, shares: Mapping[str, float] = SHARES
) -> list[Turn]:
    """Draw ``count`` questions about one image.

    Args:
        facts: What `facts_of` made of a sample.
        count: How many turns.
        rng: Where the wording comes from.
        shares: How often each kind is asked about an image with objects, of those that can be asked about it.

    Raises:
        ValueError: If nothing can be asked; see `askable`.
    """
    asked = []
    for _ in range(count):
        if facts["instances"]:
            can = {kind: share for kind, share in shares.items() if share and able(kind, facts)}
            if not can:  # none of what the stage wishes for
                can = dict.fromkeys((kind for kind in KINDS if able(kind, facts)), 1.0)
            if not can:
                raise ValueError(f"{facts['key']}: nothing can be asked about it")
            kind = str(rng.choice(list(can), p=np.array(list(can.values())) / sum(can.values())))
        elif (scene := _of_scenes(facts, shares)) and rng.random() < sum(scene.values()):
            kind = str(rng.choice(list(scene), p=np.array(list(scene.values())) / sum(scene.values())))
        elif facts["captions"] or facts["turns"]:
            kind = "caption" if facts["captions"] and (not facts["turns"] or rng.random() < 0.35) else "vqa"
        else:
            kind = "absent"
        asked.append(_ASKERS[kind](facts, rng))
    return asked


def _of_scenes(facts: dict[str, Any], shares: Mapping[str, float]) -> dict[str, float]:
    """What can be asked about an image without objects, of which labels tell what it shows."""
    if not facts.get("there") and not facts.get("missing"):
        return {}
    return {kind: shares[kind] for kind in _OF_SCENES if shares.get(kind) and able(kind, facts)}


def segment(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """One to four referred objects, each by a phrase that means only it; at times one that is not there."""
    told = [index for index, one in enumerate(facts["instances"]) if one["phrases"] and masked(one)]
    if not told:
        return all_of_a_class(facts, rng)
    wanted = min(len(told), int(rng.choice([1, 2, 3, 4], p=[0.5, 0.28, 0.14, 0.08])))
    chosen = [int(index) for index in rng.choice(told, size=wanted, replace=False)]
    phrases = [_phrase(facts["instances"][index], rng) for index in chosen]
    question = _pick(_SEGMENT, rng).format(_join(phrases))
    answer = ", ".join(f"{PHRASE} {phrase}{GROUP}" for phrase in phrases) + "."
    if candidates(facts) and wanted < 3 and rng.random() < 0.12:
        noun = _noun(_absent(facts, rng), rng)
        question = _pick(_SEGMENT, rng).format(_join([*phrases, f"the {noun}"]))
        answer += f" There is no {noun} in the image."
    return Turn(question, answer, "segment", tuple(chosen))


def all_of_a_class(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """Every object of one class, counted off in reading order."""
    groups = list(listed(facts).items())
    name, members = groups[int(rng.integers(len(groups)))]
    words, answer, targets = _all(facts, name, members, rng)
    return Turn(_pick(_SEGMENT, rng).format(words), f"{answer}.", "segment", targets)


def all_of_some_classes(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """Every object of two classes, at times of three."""
    groups = list(listed(facts).items())
    wanted = min(len(groups), 3 if rng.random() < 0.2 else 2)
    chosen = [groups[index] for index in rng.choice(len(groups), size=wanted, replace=False)]
    words, answers, targets = zip(*(_all(facts, name, members, rng) for name, members in chosen), strict=True)
    return Turn(_pick(_SEGMENT, rng).format(_join(words)), f"{', '.join(answers)}.", "segment", sum(targets, ()))


def _all(
    facts: dict[str, Any], name: str, members: Sequence[int], rng: np.random.Generator
) -> tuple[str, str, tuple[int, ...]]:
    """Words for all objects of a class, the answer that counts them off, and the objects in its order."""
    noun = _noun(name, rng)
    instances = [Instance(noun, name, tuple(facts["instances"][index]["box"])) for index in members]
    order, phrases = reading_order(instances, tuple(facts["size_hw"]))
    if len(members) == 1:
        words = f"the {noun}" if rng.random() < 0.5 else f"all {plural(noun)}"
    elif rng.random() < 0.25:
        words = f"the {_NUMBERS[len(members)]} {plural(noun)}"
    elif len(members) == 2 and rng.random() < 0.3:
        words = f"both {plural(noun)}"
    else:
        pattern = _pick(_ALL, rng)
        words = pattern.format(noun if pattern.startswith(("every", "each")) else plural(noun))
    answer = ", ".join(f"{PHRASE} {phrase.format(noun)}{GROUP}" for phrase in phrases)
    return words, answer, tuple(members[position] for position in order)


def absent(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """Something that is not there."""
    if not candidates(facts):
        return segment(facts, rng)
    noun = _noun(_absent(facts, rng), rng)
    question = _pick(_SEGMENT, rng).format(_some(noun, rng))
    return Turn(question, f"There is no {noun} in the image.", "segment")


def nowhere(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """A box of something that is not there."""
    noun = _noun(_absent(facts, rng), rng)
    return Turn(_pick(_REFER, rng).format(_some(noun, rng)), f"There is no {noun} in the image.", "refer")


def there(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """Something that is there, nobody knows where: the answer begins as one that goes on to name it.

    The words are those of `absent` and `nowhere`, so that the picture alone decides between yes and no.
    """
    noun = _noun(_pick(facts["there"], rng), rng)
    boxed = rng.random() < 0.2
    question = _pick(_REFER if boxed else _SEGMENT, rng).format(_some(noun, rng))
    return Turn(question, PHRASE, "refer" if boxed else "segment", begun=True)


def refer(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """A box for one referred object."""
    told = [instance for instance in facts["instances"] if instance["phrases"]]
    if not told:
        return count(facts, rng)
    instance = told[rng.integers(len(told))]
    phrase = _phrase(instance, rng)
    box = box_text(tuple(instance["box"]), tuple(facts["size_hw"]))
    return Turn(_pick(_REFER, rng).format(phrase), f"{PHRASE} {phrase} {box}.", "refer")


def presence(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """Whether a class is there, as often yes as no."""
    names = [*named(facts), *facts.get("there", ())]
    yes = rng.random() < 0.5 or not candidates(facts)
    name = _pick(names, rng) if yes and names else _absent(facts, rng)
    noun = _noun(name, rng)
    article = "an" if noun[0] in "aeiou" else "a"
    return Turn(_pick(_PRESENCE, rng).format(f"{article} {noun}"), "Yes." if name in names else "No.", "vqa")


def count(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """How many of a class."""
    name, members = _some_class(facts, rng)
    return Turn(_pick(_COUNT, rng).format(plural(_noun(name, rng))), f"{_number(len(members)).capitalize()}.", "vqa")


def caption(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """A sentence about the whole image: one that came with it, or what it holds."""
    if facts["captions"]:
        return Turn(_pick(_CAPTION, rng), facts["captions"][rng.integers(len(facts["captions"]))], "caption")
    groups = by_class(facts)
    told = [
        f"{_number(len(members))} {name if len(members) == 1 else plural(name)}" for name, members in groups.items()
    ]
    return Turn(_pick(_CAPTION, rng), f"The image shows {_join(told)}.", "caption")


def vqa(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """A question that came with the image."""
    question, answer, *task = facts["turns"][rng.integers(len(facts["turns"]))]
    return Turn(question, answer, task[0] if task else "vqa")


_ASKERS = {
    "segment": segment, "all": all_of_a_class, "mixed": all_of_some_classes, "absent": absent, "refer": refer,
    "presence": presence, "count": count, "caption": caption, "vqa": vqa, "there": there, "nowhere": nowhere,
}  # fmt: skip


def _some_class(facts: dict[str, Any], rng: np.random.Generator) -> tuple[str, list[int]]:
    groups = list(named(facts).items())
    return groups[rng.integers(len(groups))]


def _absent(facts: dict[str, Any], rng: np.random.Generator) -> str:
    """A class that is not in the image: seven times in ten one that the data set knows well."""
    looked_for = candidates(facts)
    if rng.random() < 0.3 and "classes" not in facts and facts["complete"]:
        looked_for = list(ABSENT_CANDIDATES)
    elif not facts["complete"] and rng.random() < 0.7:
        looked_for = [name for name in looked_for if name in VHR10] or looked_for
    return _pick(looked_for, rng)


def _some(noun: str, rng: np.random.Generator) -> str:
    """Words for what is asked about by its class, or as if one of several."""
    words = ("the {0}", "all {1}", "the leftmost {0}", "the largest {0}", "the {0} on the right")
    return _pick(words, rng, first=0.6).format(noun, plural(noun))


def _phrase(instance: dict[str, Any], rng: np.random.Generator) -> str:
    return _pick(instance["phrases"], rng).format(_noun(instance["class"], rng))


def _noun(name: str, rng: np.random.Generator) -> str:
    return _pick(wordings(name), rng, first=0.75)


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def _pick(options: Sequence[str], rng: np.random.Generator, first: float = 0.0) -> str:
    """One of the options at random; the first with at least the given chance."""
    return options[0] if rng.random() < first else options[int(rng.integers(len(options)))]


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
