"""Answers in a file, and answers from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geopix.data.describe.replay import Replay
from geopix.data.describe.replies import Replies, Reply
from geopix.data.describe.run import describe_set
from geopix.data.describe.settle import Wish
from geopix.data.describe.task import StopError
from geopix.data.entries import SetReader
from tests.data.describe.sets import entries, make, truth

ONE = Reply("1", "toy/1", "toy", "{}", "stop", 10, 20, 0.5)
TWO = Reply("2", "toy/1", "toy", "“cut", "length", 1, 2, None)


def test_answers_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / "replies"
    replies = Replies(path)
    replies.add(ONE)
    replies.add(TWO)
    assert replies.get("2") == TWO
    replies.close()
    again = Replies(path)
    assert (again.get("1"), again.get("2"), again.get("3")) == (ONE, TWO, None)
    assert (len(again), again.spent_usd, again.keys) == (2, 0.5, {"toy/1"})
    again.close()


def test_a_line_cut_short_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "replies"
    replies = Replies(path)
    replies.add(ONE)
    replies.close()
    with path.open("ab") as file:
        file.write(b'{"id": "2", "con')
    again = Replies(path)
    again.add(TWO)
    again.close()
    assert [json.loads(line)["id"] for line in path.read_bytes().splitlines()] == ["1", "2"]


def test_only_one_process_may_write(tmp_path: Path) -> None:
    replies = Replies(tmp_path / "replies")
    with pytest.raises(StopError, match="another process"):
        Replies(tmp_path / "replies")
    replies.close()
    assert not (tmp_path / "replies").exists()  # nothing was in it


@pytest.mark.parametrize(
    "line",
    ['{"key": "a"}', "[]", "nonsense", '{"id": 1, "key": "a", "model": "m", "content": "c"}',
     '{"id": "1", "key": "a", "model": "m", "content": "c", "usd": "free"}',
     '{"id": "1", "key": "a", "model": "m", "content": "c", "usd": -5}'],
)  # fmt: skip
def test_other_files_are_left_alone(tmp_path: Path, line: str) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text(line + "\n")
    with pytest.raises(StopError, match="is no file of answers"):
        Replies(path)
    assert path.read_text() == line + "\n"


def answer(said: dict[int, str]) -> dict[str, object]:
    return {"descriptions": [{"index": index, "description": words} for index, words in said.items()]}


def test_a_file_of_answers_describes_a_set(tmp_path: Path) -> None:
    made = entries(4)
    reader = make(tmp_path / "set", made)
    lines = [{"key": made[0].key, "content": answer(truth(made)[0])}]
    lines += [{"key": made[1].key, "content": json.dumps(answer({0: "the rightmost ship", 1: "the rightmost ship"}))}]
    lines += [{"key": made[1].key, "content": answer({0: "the leftmost ship"})}]
    lines += [{"key": made[2].key, "content": answer({7: "the leftmost ship"})}]
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    told = describe_set(reader, tmp_path / "out", Replay(path), Wish(attempts=2))
    said = [[one.descriptions for one in entry.objects] for entry in SetReader(tmp_path / "out")]
    assert said[0] == [(words,) for words in truth(made)[0].values()]
    assert said[1] == [("the leftmost ship",), ("the rightmost ship",)]
    assert said[2:] == [[(), ()], [(), (), ()]]
    assert told.unanswered == 2
    assert told.dropped == {"file holds no answer": 5}


@pytest.mark.parametrize("line", ["[]", "{}", '{"key": 1, "content": ""}', '{"key": "a", "content": 5}', "\x00"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(StopError, match="line 1 is no answer"):
        Replay(path)
