"""VRSBench's rule with its generosities, the bounds of what nobody judged, and both averages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geopix.evaluate.questions import RSIEVAL_TYPES, VRSBENCH_TYPES, Asked
from geopix.evaluate.vqa import (
    CLOSED,
    TABLE_4,
    TABLE_5,
    Accuracy,
    benchmark_drops,
    by_rule,
    score,
    words,
)

NUMBER_WORDS = [
    *"zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen".split(),
    *(
        f"{ten}{one}"
        for ten in "twenty thirty forty fifty sixty seventy eighty ninety".split()
        for one in ("", *(f"-{one}" for one in "one two three four five six seven eight nine".split()))
    ),
]


def asked(number: int, answer: str, kind: str = "presence", image: str = "a") -> Asked:
    return Asked(str(number), image, Path(image), kind, f"Question {number}?", (answer,))


@pytest.mark.parametrize(
    ("true", "predicted", "told"),
    [
        ("no", "not known", (True, "part")),  # the rule looks for letters
        ("1", "12", (True, "part")),
        ("Yes", "YES.", (True, "part")),
        ("ship", "Two ships", (True, "part")),
        ("yes", "no", (False, "closed")),
        ("12", "1", (False, "closed")),
        ("99", "", (False, "closed")),
        ("100", "99", (None, "not judged")),  # the closed answers end at 99
        ("01", "1", (None, "not judged")),
        ("two", "2", (None, "not judged")),
        ("soccer field", "football field", (None, "not judged")),
        ("no", None, (False, "no answer")),
        ("ship", None, (False, "no answer")),
    ],
)
def test_the_rule_decides_as_the_benchmark_does(
    true: str, predicted: str | None, told: tuple[bool | None, str]
) -> None:
    assert by_rule(true, predicted) == told


def test_a_true_answer_that_would_fit_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="a part of every"):
        by_rule(" ", "anything")
    with pytest.raises(ValueError, match=r"2 question ids stand more than once"):
        score([asked(1, "a"), asked(1, "b"), asked(2, "a"), asked(2, "b")], {}, TABLE_4)


@given(st.text(min_size=1).filter(str.strip), st.text())
def test_the_rule_is_the_benchmarks_own(true: str, predicted: str) -> None:
    low_true, low_said = true.lower(), predicted.lower()
    if low_true in low_said:
        expected: bool | None = True
    elif low_true in ["yes", "no", *map(str, range(100))]:
        expected = low_true == low_said
    else:
        expected = None
    assert by_rule(true, predicted)[0] == expected
    assert by_rule(true, true)[0] is True


def test_what_nobody_judged_has_bounds_and_no_value() -> None:
    questions = [asked(1, "yes"), asked(2, "no"), asked(3, "pond", "scene"), asked(4, "rural", "scene")]
    said = {"1": "yes", "2": "not known", "3": "swimming pool", "4": "urban"}
    found = score(questions, said, TABLE_4)
    assert found.micro == Accuracy(4, 2, 0.5, 1.0)
    assert found.micro.value is None
    assert str(found.micro) == "50.0 to 100.0 (2 of 4 not judged)"
    assert found.of_kind("scene") == Accuracy(2, 2, 0.0, 1.0)
    assert found.of_kind("presence").value == 1.0
    assert str(found.of_kind("color")) == "-"
    assert found.macro == Accuracy(4, 2, 0.5, 1.0)
    assert found.generous == 1
    assert found.rules == {"part": 2, "not judged": 2}
    assert found.told == (
        "2 of 4 answers decided by the rule (1 of them right by letters, not by whole words); 2 left open by it, of "
        "which 0 judged (0.0 %), 2 not judged"
    )


def test_the_judge_is_asked_only_what_the_rule_leaves_open() -> None:
    heard: list[tuple[str, str, str]] = []

    def decide(answers: Sequence[tuple[str, str, str]]) -> list[bool | None]:
        heard.extend(answers)
        return [True, False, None]

    questions = [asked(1, "Yes"), asked(2, "Pond"), asked(3, "Rural"), asked(4, "Ship"), asked(5, "7")]
    said = {"1": "No", "2": "Swimming Pool", "3": "Urban", "4": "It is hard to say"}
    found = score(questions, said, TABLE_4, decide)
    assert heard == [
        ("Question 2?", "pond", "swimming pool"),
        ("Question 3?", "rural", "urban"),
        ("Question 4?", "ship", "it is hard to say"),
    ]
    assert [one.rule for one in found.verdicts] == ["closed", "judge", "judge", "not judged", "no answer"]
    assert found.micro == Accuracy(5, 1, 0.2, 0.4)
    assert found.missing == 1
    with pytest.raises(ValueError, match="decided 1 of 3"):
        score(questions, said, TABLE_4, lambda answers: [True])


def test_micro_weighs_questions_and_macro_weighs_types() -> None:
    questions = [*(asked(n, "yes") for n in range(8)), asked(8, "red", "color"), asked(9, "x", "weather")]
    said = {**{str(n): "yes" for n in range(8)}, "8": "blue red green"[:4], "9": "y"}
    found = score(questions, said, TABLE_4, lambda answers: [False] * len(answers))
    assert found.micro.value == 0.8
    assert found.macro.value == 0.5  # a kind without a column counts in micro alone
    assert found.macro.n == 9
    assert found.other_kinds == {"weather": 1}
    assert "1 questions of kinds without a row count in the micro average alone" in found.told


@given(st.lists(st.tuples(st.sampled_from(TABLE_4), st.sampled_from(["yes", "no", "pond", None])), max_size=30))
def test_bounds_enclose_every_judgement(drawn: list[tuple[str, str | None]]) -> None:
    questions = [asked(n, "yes" if n % 2 else "lake", kind) for n, (kind, _) in enumerate(drawn)]
    said = {str(n): answer for n, (_, answer) in enumerate(drawn) if answer is not None}
    open_ = score(questions, said, TABLE_4)
    for judgement in (True, False):
        closed = score(questions, said, TABLE_4, lambda answers, told=judgement: [told] * len(answers))  # type: ignore[misc]
        for name in ("micro", "macro"):
            bounds, value = getattr(open_, name), getattr(closed, name)
            assert value.not_judged == 0
            if value.n:
                assert (bounds.high if judgement else bounds.low) == pytest.approx(value.low)


def test_exact_answers_have_equal_words() -> None:
    found = score(
        [asked(1, "The medium residential."), asked(2, "a river")], {"1": "medium  Residential", "2": "rivers"}, ()
    )
    assert [one.exact for one in found.verdicts] == [True, False]
    assert [one.whole_words for one in found.verdicts] == [True, False]
    assert words("An up-and-down, the end.") == ("up-and-down", "end")
    assert score([asked(1, "?!")], {"1": "?!"}, ()).verdicts[0].exact is False


def test_the_tables_columns_stand_in_the_papers_order() -> None:
    assert tuple("category presence quantity color shape size position direction scene reasoning".split()) == TABLE_4
    assert len(TABLE_5) == 10
    assert TABLE_5[0] == "presence"
    assert VRSBENCH_TYPES["image"] == VRSBENCH_TYPES["rural or urban"] == "scene"
    file = "presence quantity color ab_position re_position area_comp road_ori image scene reasoning".split()
    assert tuple(RSIEVAL_TYPES[kind.replace("_", " ")] for kind in file) == TABLE_5
    assert len(CLOSED) == 102


@pytest.mark.parametrize(
    ("question", "answer", "dropped"),
    [
        ("What color is the flag?", "red", "holds 'flag'"),
        ("Is it a holiday resort?", "yes", "holds 'day'"),
        ("Where is the nose?", "left", "holds 'nose'"),
        ("Is the detail clear?", "yes", "holds 'tail'"),
        ("Is there a detail?", "yes", None),
        ("Which ship is larger?", "the stone one", "asks which, and a number answers"),
        ("Which is it?", "ship 7", "asks which, and a number answers"),
        ("How many ships?", "seven", None),
        ("Which ship is larger?", "the left ship", None),
        ("What Flag?", "red", None),  # capitals are not looked for
    ],
)
def test_the_benchmarks_filter(question: str, answer: str, dropped: str | None) -> None:
    assert benchmark_drops(question, answer) == dropped


@pytest.mark.parametrize("word", NUMBER_WORDS)
def test_every_number_word_is_found(word: str) -> None:
    assert benchmark_drops("Which?", word) is not None
