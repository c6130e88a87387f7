"""A pointer that has learned one thing: which cell is the leftmost."""

from __future__ import annotations

import torch

from geopix.losses import pointer_loss
from geopix.model.pointer import Pointer


def test_a_word_learns_which_number_it_means() -> None:
    """Two words, two numbers in a cell's description; 60 steps on random scenes, then new scenes."""
    torch.manual_seed(0)
    pointer = Pointer(hidden=8, tokens=1, described=3, width=4, n_scales=1)
    words = torch.randn(2, 1, 8)
    optimizer = torch.optim.Adam(pointer.parameters(), 3e-3)

    def scene() -> tuple[torch.Tensor, torch.Tensor]:
        """16 scenes of 9 cells, of which one is the first and another the last of its kind."""
        described, coverage = torch.zeros(16, 9, 3), torch.zeros(16, 2, 9)
        for index in range(16):
            first, last = torch.randperm(9)[:2]
            described[index, first, 0] = described[index, last, 1] = 1
            coverage[index, 0, first] = coverage[index, 1, last] = 1
        return described, coverage

    there = torch.ones(16, 9, 1)
    said = words[None].expand(16, -1, -1, -1)
    for _ in range(60):
        described, coverage = scene()
        loss = pointer_loss(pointer(said, described, there).flatten(0, 1), coverage.flatten(0, 1).unflatten(1, (3, 3)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    described, coverage = scene()
    assert torch.equal(pointer(said, described, there).argmax(dim=-1), coverage.argmax(dim=-1))


def test_it_points_at_objects_and_marks_them_most() -> None:
    torch.manual_seed(0)
    pointer = Pointer(hidden=8, tokens=2, described=3, width=4, n_scales=2)
    there = torch.zeros(1, 9, 1)
    there[0, 4] = 1
    logits = pointer(torch.randn(1, 5, 2, 8), torch.randn(1, 1, 3).expand(1, 9, 3), there)
    assert logits.argmax(dim=-1).tolist() == [[4] * 5]
    marked = pointer.marked(logits, 1)
    assert marked.shape == (5, 9, 4)
    assert torch.allclose(marked[:, 4], pointer.mark[1].expand(5, -1))
    assert marked.norm(dim=-1).argmax(dim=-1).tolist() == [4] * 5
