"""Class names: synonyms lead to one slot, and a phrase names the class it means."""

from __future__ import annotations

import pytest

from geopix.classes import ABSENT_CANDIDATES, UNKNOWN, VHR10, ClassVocabulary, canonical, plural, wordings

NAMES = ClassVocabulary()


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("airplane", "airplanes"),
        ("aircraft", "aircraft"),
        ("container crane", "container cranes"),
        ("bus", "buses"),
        ("wharf", "wharfs"),
        ("stadium track", "stadium tracks"),
        ("ferry", "ferries"),
        ("highway", "highways"),
        ("beach", "beaches"),
    ],
)
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many


def test_slots_count_from_zero_and_end_with_unknown() -> None:
    assert len(NAMES) == 10
    assert [NAMES.id(name) for name in VHR10] == list(range(10))
    assert [NAMES.name(slot) for slot in range(11)] == [*VHR10, UNKNOWN]
    assert NAMES.unknown_id == NAMES.id("helicopter") == NAMES.id("") == 10


@pytest.mark.parametrize("slot", [-1, 11])
def test_there_is_no_slot_outside(slot: int) -> None:
    with pytest.raises(ValueError, match=f"class id {slot} is outside"):
        NAMES.name(slot)


@pytest.mark.parametrize("names", [("ship", "ship"), ("ship", "unknown")])
def test_a_vocabulary_holds_every_name_once_and_unknown_never(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="must differ"):
        ClassVocabulary(names)


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("storage_tank", "storage tank"),
        ("Storage-Tank", "storage tank"),
        ("groundtrackfield", "ground track field"),
        ("Oil Tank", "storage tank"),
        ("small-vehicle", "vehicle"),
        ("golffield", "golf course"),
        ("solar_panel", "solar panel"),
    ],
)
def test_foreign_spellings_become_ours(foreign: str, ours: str) -> None:
    assert canonical(foreign) == ours


def test_every_wording_of_a_class_leads_back_to_it_alone_and_in_a_phrase() -> None:
    for slot, name in enumerate(VHR10):
        assert wordings(name)[0] == name
        for word in wordings(name):
            assert canonical(word) == name
            assert NAMES.id(word) == slot
            assert NAMES.named_in(f"the second {word} from the left") == slot
            assert NAMES.named_in(f"all {plural(word).upper()}") == slot


def test_classes_asked_about_in_vain_are_named_by_no_known_word() -> None:
    assert not set(ABSENT_CANDIDATES) & set(VHR10)
    for name in ABSENT_CANDIDATES:
        assert all(NAMES.named_in(f"the {word}") is None for word in wordings(name))


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("the ship next to the bridge", "ship"),
        ("the bridge next to the ship", "bridge"),
        ("the track field", "ground track field"),
        ("the Oil-Tanks in the corner", "storage tank"),
        ("the leftmost basketball court", "basketball court"),
        ("both harbours", "harbor"),
    ],
)
def test_a_phrase_names_its_first_and_longest_mention(phrase: str, name: str) -> None:
    found = NAMES.named_in(phrase)
    assert found is not None
    assert NAMES.name(found) == name


@pytest.mark.parametrize("phrase", ["", "the helicopter", "the dockyard", "the scar", "the shipment", "it"])
def test_other_words_name_nothing(phrase: str) -> None:
    assert NAMES.named_in(phrase) is None


def test_a_vocabulary_of_other_classes_has_its_own_slots() -> None:
    other = ClassVocabulary(("solar panel", "vehicle"))
    assert other.id("SOLAR_PANEL") == 0
    assert other.named_in("the two trucks") == 1
    assert other.named_in("the airplane") is None
