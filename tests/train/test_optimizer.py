"""AdamW with single-precision masters: torch's own where nothing is rounded, and exact where parameters are."""

from __future__ import annotations

import math

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
