"""Records come back by key, in order, and no key holds more than can be held."""

from __future__ import annotations

import pytest

from geopix.data.entries import EntryError
from geopix.data.foreign.spool import Spool, key_of


def test_records_are_grouped_in_the_order_in_which_they_came() -> None:
    with Spool() as spool:
        for key, record in (("b", 1), ("a", {"x": [1.5, None]}), ("b", "two"), ("c", [])):
            spool.add(key, record)
        assert list(spool) == ["b", "a", "c"]
        assert len(spool) == 3
        assert "a" in spool
        assert "z" not in spool
        assert [spool.take(key) for key in spool] == [[1, "two"], [{"x": [1.5, None]}], [[]]]
        assert spool.take("z") == []


def test_a_key_with_too_many_records_is_refused_and_others_are_not() -> None:
    with Spool(most=3) as spool:
        for number in range(100):
            spool.add("crowd", number)
        spool.add("calm", 1)
        with pytest.raises(EntryError, match="too many objects in one image: 100, at most 3"):
            spool.take("crowd")
        assert spool.take("calm") == [1]


@pytest.mark.parametrize("raw", [None, 1.5, True, [1], {"a": 1}])
def test_an_id_is_a_text_or_a_whole_number(raw: object) -> None:
    assert key_of(7) == key_of("7") == "7"
    with pytest.raises(TypeError, match="an id is"):
        key_of(raw)
