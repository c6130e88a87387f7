"""How the 7B model is cut for eight devices, on the meta device, and what the files of configs/accelerate ask for."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora
from geopix.train import sharding, together
from tests.tiny_llava import full_size
from tests.tiny_model import tiny_geopix

CONFIGS = Path(__file__).parents[2] / "configs" / "accelerate"
DECODER_LAYER = 4 * 4096 * 4096 + 3 * 4096 * 11_008 + 2 * 4096


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    """As stage 1 trains it: bfloat16, LoRA of rank 128 in float32 as PEFT makes it."""
    made, dialogue, _ = full_size(tmp_path_factory.mktemp("llava"), tokens=32_002, rows=32_064)
    cast(nn.Module, made).to(torch.bfloat16)
    made.language.causal.requires_grad_(False)
    made.language.llm = add_lora(made.language.causal, 128, 16, 0.05, dialogue.new_ids)
    return made


@pytest.fixture
def eight() -> Iterator[None]:
    """The first of eight devices, as far as torch can tell."""
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=8)
    yield
    torch.distributed.destroy_process_group()


def launched(name: str) -> Any:
    """What `accelerate launch --config_file` makes of a file."""
    words = ["--config_file", str(CONFIGS / name), "-m", "geopix", "train"]
    given = launch_command_parser().parse_args(words)
    if given.num_processes is None:
        given.main_process_port = 0  # any that is free
    made, defaults, _ = _validate_launch_command(given)
    made.deepspeed_fields_from_accelerate_config = list(defaults.deepspeed_config)
    return made


def test_the_units_are_the_frozen_weights_of_the_layers(model: nn.Module) -> None:
    found = sharding.units(model)
    assert [unit.name.rsplit(".", 1)[1] for unit in found] == [str(number) for number in range(32)]
    names = [name for unit in found for name in unit.parameters]
    assert len(names) == len(set(names)) == 32 * 9  # four matrices of attention, three of the MLP, two norms
    assert not [name for name in names if "lora_" in name]
    assert {sum(parameter.numel() for parameter in unit.parameters.values()) for unit in found} == {DECODER_LAYER}
    assert sharding.gathered(found) == 2 * 2 * DECODER_LAYER
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    frozen = sum(parameter.numel() for parameter in model.parameters()) - trained - 32 * DECODER_LAYER
    assert frozen == 2 * 32_064 * 4096 + 4096 + 303_507_456  # words and the last norm, the encoder: whole


def test_torch_cuts_it_into_these_units(model: nn.Module, eight: None) -> None:
    cut = {name for unit in sharding.units(model) for name in unit.parameters}
    made = cast(GeoPixModel, copy.deepcopy(model))
    stack = made.language.causal.base_model
    sharding.shard(made, stack, init_device_mesh("cpu", (8,)))
    sharded = {name for name, module in made.named_modules() if isinstance(module, FSDPModule)}
    [above] = [name for name, module in made.named_modules() if module is stack]
    assert sharded == {unit.name for unit in sharding.units(model)} | {above}
    before = dict(model.named_parameters())
    for name, parameter in made.named_parameters():
        assert isinstance(parameter, DTensor) == (name in cut)
        assert parameter.requires_grad == before[name].requires_grad
        assert parameter.dtype == before[name].dtype
        if isinstance(parameter, DTensor):
            assert parameter.to_local().numel() == sharding.share(before[name].shape, 8)


def test_a_model_without_such_layers_is_refused(eight: None) -> None:
    other = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="nothing to shard: none of LlamaDecoderLayer"):
        sharding.shard(other, other, init_device_mesh("cpu", (8,)))


@pytest.mark.parametrize(
    ("shape", "devices", "kept"),
    [((4096, 4096), 8, 512 * 4096), ((10, 3), 8, 2 * 3), ((2,), 8, 1), ((), 8, 1), ((32_007, 2), 8, 4001 * 2)],
)
def test_a_share_is_of_whole_rows(shape: tuple[int, ...], devices: int, kept: int) -> None:
    assert sharding.share(shape, devices) == kept


@pytest.mark.parametrize(("name", "processes", "cpus"), [("fsdp2.yaml", 8, False), ("two_cpus_fsdp2.yaml", 2, True)])
def test_the_files_ask_for_what_the_loop_knows(
    monkeypatch: pytest.MonkeyPatch, name: str, processes: int, cpus: bool
) -> None:
    launch = launched(name)
    assert (launch.num_processes, launch.use_cpu, launch.use_fsdp) == (processes, cpus, True)
    for key, value in prepare_multi_gpu_env(launch).items():
        monkeypatch.setenv(key, value)
    assert together.shards(cast(Accelerator, SimpleNamespace(num_processes=processes)))
    assert not together.shards(cast(Accelerator, SimpleNamespace(num_processes=1)))
    asked = FullyShardedDataParallelPlugin()
    assert (asked.fsdp_version, asked.reshard_after_forward) == (2, True)
    assert not isinstance(asked.cpu_offload, CPUOffloadPolicy)


def test_nano_has_units_too() -> None:
    tiny, _ = tiny_geopix()
    tiny.language.causal.requires_grad_(False)
    assert [len(unit.parameters) for unit in sharding.units(tiny)] == [9, 9]


def test_deepspeed_is_told_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = launched("deepspeed_zero2.yaml")
    assert launch.use_deepspeed
    _, told = prepare_deepspeed_cmd_env(launch)
    file = CONFIGS.parents[1] / told["ACCELERATE_DEEPSPEED_CONFIG_FILE"]
    config = HfDeepSpeedConfig(str(file))
    assert config.is_zero2()
    assert not config.is_offload()
    assert json.loads(file.read_text())["bf16"] == {"enabled": True}
    documented = {
        "stage", "overlap_comm", "contiguous_gradients", "reduce_scatter", "reduce_bucket_size", "allgather_partitions",
        "allgather_bucket_size", "round_robin_gradients",
    }  # fmt: skip
    assert set(config.get_value("zero_optimization")) <= documented
    whole = {
        "bf16", "zero_optimization", "zero_allow_untested_optimizer", "gradient_clipping",
        "gradient_accumulation_steps", "train_batch_size", "train_micro_batch_size_per_gpu", "wall_clock_breakdown",
    }  # fmt: skip
    assert set(config.config) <= whole


def test_two_cpus_are_two_processes_that_speak_by_gloo(tmp_path: Path) -> None:
    script = tmp_path / "sum.py"
    script.write_text(
        "import torch\n"
        "from accelerate import Accelerator\n"
        "among = Accelerator(cpu=True)\n"
        "total = among.reduce(torch.tensor([among.process_index + 1.0]), 'sum').item()\n"
        "told = among.distributed_type.value, among.num_processes, total, torch.distributed.get_backend()\n"
        f"open(f'{tmp_path}/{{among.process_index}}', 'w').write(' '.join(map(str, told)))\n"
        "among.end_training()\n"
    )
    config, launch = str(CONFIGS / "two_cpus.yaml"), [sys.executable, "-m", "accelerate.commands.launch"]
    subprocess.run(
        [*launch, "--config_file", config, "--main_process_port", "0", str(script)],
        capture_output=True, text=True, timeout=300, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["MULTI_CPU 2 3.0 gloo"] * 2
    assert load_config_from_file(config).num_processes == 2
