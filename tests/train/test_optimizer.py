"""AdamW with single-precision masters: torch's own where nothing is rounded, and exact where parameters are."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from geopix.train.optimizer import MasterAdamW, schedule

BETAS = (0.9, 0.95)


def layer(dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(5, 3).to(dtype)


def optimizer(module: nn.Module, rate: float = 1e-2, decay: float = 0.0) -> MasterAdamW:
    named = list(module.named_parameters())
    return MasterAdamW(named, {name: rate for name, _ in named}, BETAS, decay)


def backward(module: nn.Module, step: int) -> None:
    """The gradients of a step, the same for every copy of a module."""
    generator = torch.Generator().manual_seed(step)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def test_in_single_precision_it_is_torchs_adamw() -> None:
    ours, theirs = layer(), layer()
    mine = optimizer(ours, decay=0.1)
    reference = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=BETAS, weight_decay=0.1)
    for step in range(20):
        share = schedule(step, 20, 5, 0.1)
        backward(ours, step)
        mine.step(share, clip=math.inf)
        backward(theirs, step)
        reference.param_groups[0]["lr"] = 1e-2 * share
        reference.step()
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-6, atol=1e-7)
        assert all(parameter.grad is None for parameter in ours.parameters())


def test_small_steps_add_up_in_half_precision() -> None:
    parameter = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    mine = MasterAdamW([("w", parameter)], {"w": 1e-4}, BETAS, 0.0)
    for _ in range(100):
        parameter.grad = torch.ones(4, dtype=torch.bfloat16)
        mine.step(1.0, clip=math.inf)
    torch.testing.assert_close(mine.masters["w"], torch.full((4,), 0.99), rtol=0, atol=1e-5)
    assert torch.equal(parameter.detach(), mine.masters["w"].bfloat16())
    assert (parameter < 1).all()
    assert (torch.ones(1, dtype=torch.bfloat16) - 1e-4 == 1).all()  # what one step comes to without a master


def test_every_parameter_has_its_own_rate() -> None:
    module = layer()
    before = [parameter.detach().clone() for parameter in module.parameters()]
    mine = MasterAdamW(module.named_parameters(), {"weight": 1e-3, "bias": 1e-2}, BETAS, 0.0)
    backward(module, 0)
    mine.step(0.5, clip=math.inf)
    # the first step of Adam is the rate, in the direction of the gradient's sign
    for parameter, old, rate in zip(module.parameters(), before, (1e-3, 1e-2), strict=True):
        torch.testing.assert_close((parameter - old).abs(), torch.full_like(old, 0.5 * rate), rtol=1e-3, atol=1e-7)


def test_the_whole_gradient_is_clipped_and_its_norm_told() -> None:
    first, second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    mine = MasterAdamW([("a", first), ("b", second)], {"a": 1.0, "b": 1.0}, BETAS, 0.0)
    first.grad, second.grad = torch.tensor([3.0]), torch.tensor([4.0])
    assert mine.step(1.0, clip=1.0) == pytest.approx(5.0)
    moments = [mine.adamw.state[master]["exp_avg"].item() for master in mine.masters.values()]
    assert moments == pytest.approx([0.1 * 0.6, 0.1 * 0.8], rel=1e-5)


def test_a_parameter_without_a_gradient_stays() -> None:
    module = layer()
    bias = module.bias.detach().clone()
    mine = optimizer(module, decay=0.5)
    backward(module, 0)
    module.bias.grad = None
    mine.step(1.0, clip=1.0)
    assert torch.equal(module.bias, bias)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_state_goes_on_bit_for_bit(dtype: torch.dtype) -> None:
    straight, stopped, resumed = layer(dtype), layer(dtype), layer(dtype)
    one, two, three = (optimizer(module, decay=0.1) for module in (straight, stopped, resumed))
    for step in range(5):
        for module, mine in ((straight, one), (stopped, two)):
            backward(module, step)
            mine.step(1.0, clip=1.0)
    stored: dict[str, Tensor] = load(save(two.state()))
    with torch.no_grad():
        for parameter in resumed.parameters():
            parameter.zero_()
    three.load_state(stored)
    assert torch.equal(resumed.weight, stopped.weight)
    for step in range(5, 10):
        for module, mine in ((straight, one), (resumed, three)):
            backward(module, step)
            assert mine.step(1.0, clip=1.0) > 0
    for own, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(own, other)
    for name, tensor in one.state().items():
        assert torch.equal(tensor, three.state()[name]), name


def test_a_state_from_before_the_first_step_can_be_loaded() -> None:
    module = layer()
    stored = optimizer(module).state()
    assert set(stored) == {"master.weight", "master.bias"}
    other = layer()
    optimizer(other).load_state(stored)
    assert torch.equal(other.weight, module.weight)


def test_the_schedule_warms_up_and_cools_down() -> None:
    assert [schedule(step, 110, 10, 0.1) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert schedule(10, 110, 10, 0.1) == pytest.approx(1.0)
    assert schedule(60, 110, 10, 0.1) == pytest.approx(0.55)
    assert schedule(110, 110, 10, 0.1) == schedule(500, 110, 10, 0.1) == pytest.approx(0.1)
    assert schedule(0, 1, 0, 0.0) == 1.0


def _bank(rows: int = 6, columns: int = 4, dtype: torch.dtype = torch.float32) -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(rows, columns, sparse=True, dtype=dtype)


def _row_wise(bank: nn.Embedding, decay: float = 0.0) -> MasterAdamW:
    assert isinstance(bank.weight, nn.Parameter)
    return MasterAdamW([("bank", bank.weight)], {"bank": 1e-2}, BETAS, decay, row_wise={"bank"})


def _look_up(bank: nn.Embedding, rows: list[int], step: int) -> None:
    """Give the rows the gradients of a step."""
    factors = torch.randn(bank.embedding_dim, generator=torch.Generator().manual_seed(step)).to(bank.weight.dtype)
    (bank(torch.tensor(rows)) * factors).sum().backward()


def test_rows_of_a_batch_are_updated_as_by_adamw_and_no_others() -> None:
    bank, dense = _bank(), nn.Embedding.from_pretrained(_bank().weight.detach().clone(), freeze=False)
    before = bank.weight.detach().clone()
    mine, reference = _row_wise(bank), torch.optim.AdamW(dense.parameters(), lr=1e-2, betas=BETAS, weight_decay=0.0)
    for step in range(5):
        _look_up(bank, [1, 4], step)
        assert mine.step(1.0, clip=math.inf) > 0
        _look_up(dense, [1, 4], step)
        reference.step()
        reference.zero_grad()
    torch.testing.assert_close(bank.weight, dense.weight, rtol=1e-6, atol=1e-7)
    assert torch.equal(bank.weight[[0, 2, 3, 5]], before[[0, 2, 3, 5]])
    assert sorted(mine.masters) == ["bank[1]", "bank[4]"]  # nothing is kept of rows that no batch has touched


def test_a_row_that_is_not_in_a_batch_rests() -> None:
    bank = _bank()
    mine = _row_wise(bank, decay=0.1)
    _look_up(bank, [1, 4], 0)
    mine.step(1.0, clip=math.inf)
    before = bank.weight.detach().clone()
    _look_up(bank, [1], 1)
    mine.step(1.0, clip=math.inf)
    assert torch.equal(bank.weight[4], before[4])
    assert not torch.equal(bank.weight[1], before[1])


def test_rows_come_back_from_a_checkpoint() -> None:
    unbroken, stopped = _bank(dtype=torch.bfloat16), _bank(dtype=torch.bfloat16)
    mine, other = _row_wise(unbroken), _row_wise(stopped)
    for step in range(3):
        for bank, optimizer in ((unbroken, mine), (stopped, other)):
            _look_up(bank, [[4], [1, 2], [4, 1]][step], step)
            optimizer.step(1.0, clip=0.5)
    torch.manual_seed(9)
    again = nn.Embedding(6, 4, sparse=True, dtype=torch.bfloat16)
    resumed = _row_wise(again)
    resumed.load_state(load(save(other.state())))
    assert torch.equal(again.weight, unbroken.weight)
    for step, rows in ((3, [2, 4]), (4, [5])):
        norms = []
        for bank, optimizer in ((unbroken, mine), (again, resumed)):
            _look_up(bank, rows, step)
            norms.append(optimizer.step(1.0, clip=0.5))
        assert norms[0] == norms[1]
    assert torch.equal(again.weight, unbroken.weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_micro_batches_add_up_in_single_precision(dtype: torch.dtype) -> None:
    parameter, other = (nn.Parameter(torch.zeros(2, dtype=dtype)) for _ in range(2))
    mine = MasterAdamW([("w", parameter), ("v", other)], {"w": 1.0, "v": 1.0}, BETAS, 0.0)
    for value in (256.0, 1.0, 1.0, 1.0):  # in bfloat16, 256 + 1 is 256
        parameter.grad = torch.full((2,), value, dtype=dtype)
        mine.collect()
    assert parameter.grad is None
    assert mine.step(1.0, clip=math.inf, scale=1 / 4) == pytest.approx(259 / 4 * math.sqrt(2))
    assert torch.equal(other, torch.zeros(2, dtype=dtype))


def test_rows_of_micro_batches_add_up() -> None:
    once, twice = _bank(), _bank()
    whole, parts = _row_wise(once), _row_wise(twice)
    _look_up(once, [1, 4, 4], 0)
    whole.step(1.0, clip=math.inf)
    for rows in ([1, 4], [4]):
        _look_up(twice, rows, 0)
        parts.collect()
    parts.step(1.0, clip=math.inf)
    assert torch.equal(once.weight, twice.weight)
    assert sorted(parts.masters) == ["bank[1]", "bank[4]"]


def test_a_gradient_that_is_no_number_is_not_followed() -> None:
    module = layer()
    mine = optimizer(module)
    before = module.weight.detach().clone()
    backward(module, 0)
    assert module.weight.grad is not None
    module.weight.grad[0, 0] = torch.nan
    assert math.isnan(mine.step(1.0, clip=1.0))
    assert torch.equal(module.weight, before)
    backward(module, 0)
    assert math.isfinite(mine.step(1.0, clip=1.0))
    assert not torch.equal(module.weight, before)


def test_processes_sum_what_each_collected_and_rows_travel_only_where_they_are_touched() -> None:
    """Two optimisers in step, the sum of a tensor being that of both."""
    alone, (one, two) = _bank(), (_bank(), _bank())
    all_at_once, here, there = _row_wise(alone), _row_wise(one), _row_wise(two)
    _look_up(alone, [1, 4, 4, 5], 0)
    all_at_once.step(1.0, clip=math.inf)
    for bank, mine, rows in ((one, here, [1, 4]), (two, there, [4, 5])):
        _look_up(bank, rows, 0)
        mine.collect()
    sent: list[list[Tensor]] = [[], []]

    def noting(into: list[Tensor]) -> Callable[[Tensor], Tensor]:
        def total(tensor: Tensor) -> Tensor:
            into.append(tensor.clone())
            if len(into) == 1:  # who has a gradient: both know, by hand
                return torch.tensor([0.0, 1.0, 0.0, 0.0, 2.0, 1.0])
            return tensor

        return total

    for mine, into in ((here, sent[0]), (there, sent[1])):
        mine.meet(noting(into), torch.device("cpu"))
    assert [part.tolist() for part in (sent[0][0], sent[1][0])] == [[0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 1, 1]]
    assert sent[0][1].numel() == 3 * one.embedding_dim
    summed = (sent[0][1] + sent[1][1]).view(3, -1)
    for mine in (here, there):
        for row, values in zip((1, 4, 5), summed, strict=True):
            mine.masters[f"bank[{row}]"].grad = values.clone()
        mine.step(1.0, clip=math.inf)
    assert torch.equal(one.weight, two.weight)
    torch.testing.assert_close(one.weight, alone.weight)
