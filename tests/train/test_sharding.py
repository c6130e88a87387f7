"""The 7B model is cut as configs/accelerate says: by accelerate's own code, on the meta device, for eight devices."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.distributed
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from torch import nn
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from geopix.model.llm import add_lora
from geopix.train import sharding
from tests.tiny_llava import full_size
from tests.tiny_model import tiny_geopix

CONFIGS = Path(__file__).parents[2] / "configs" / "accelerate"
DECODER_LAYER = 4 * 4096 * 4096 + 3 * 4096 * 11_008 + 2 * 4096
LORA = 2 * 2 * 128 * 4096
"""Of one layer: W_q and W_v have two matrices each, of rank 128."""
ATTENTION = 4 * (256 * 256 + 256)
"""Of the mask path, as are its two users."""
SELF_ATTENTION = ATTENTION + (256 * 1024 + 1024) + (1024 * 256 + 256) + 2 * 2 * 256
CROSS_ATTENTION = (256 * 64 + 64) + 2 * (64 * 64 + 64) + (64 * 256 + 256) + 2 * 256 + 2 * 64 + 1
VISION_LAYER = 4 * (1024 * 1024 + 1024) + (1024 * 4096 + 4096) + (4096 * 1024 + 1024) + 2 * 2 * 1024


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


class Step(nn.Module):
    """What is prepared is a step of training, in which the model is one part."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


def test_every_parameter_is_in_one_unit_or_kept_whole(model: nn.Module) -> None:
    found = sharding.units(model)
    names = Counter(name for unit in found for name in unit.parameters) + Counter(list(sharding.kept_whole(model)))
    assert names == Counter(name for name, _ in model.named_parameters())
    bank, *attention = sharding.kept_whole(model).items()
    assert (bank[0], bank[1].numel()) == ("mask_predictor.memory.bank.rows", 75 * 2 * 64 * 64 * 32 * 32)
    assert all(name.startswith("mask_predictor.attention.") for name, _ in attention)
    assert sum(parameter.numel() for _, parameter in attention) == 2 * (SELF_ATTENTION + CROSS_ATTENTION)


def test_the_units_of_the_7b_model(model: nn.Module) -> None:
    *layers, rest = sharding.units(model)
    sizes = Counter((type(model.get_submodule(unit.name)).__name__, unit.size) for unit in layers)
    block = 3 * ATTENTION + (256 * 1024 + 1024) + (1024 * 256 + 256) + 4 * 2 * 256
    assert sizes == {
        ("LlamaDecoderLayer", DECODER_LAYER + LORA): 32,
        ("CLIPEncoderLayer", VISION_LAYER): 24,
        ("TwoWayBlock", block): 6,
    }
    words, new = 2 * 32_064 * 4096, 8 * 4096
    assert rest.name == ""
    assert 0 < rest.size - words - new - 20_979_712 - 1_709_056 < 10_000_000  # CLIP's ends, the predictor's other parts
    two = 2 * (2 * DECODER_LAYER + 4 * LORA)
    assert sharding.gathered([*layers, rest]) == two + rest.bytes


def test_accelerate_cuts_it_into_these_units(model: nn.Module, eight: None, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {f"model.{name}": unit for unit in sharding.units(model) for name in unit.parameters}
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for name, value in prepare_multi_gpu_env(launched("fsdp2.yaml")).items():
        monkeypatch.setenv(name, value)
    step, plugin = Step(copy.deepcopy(model)), FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward
    accelerator = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin), mixed_precision="bf16", is_main_process=False,
        device=torch.device("meta"),
    )  # fmt: skip
    fsdp2_prepare_model(accelerator, step)
    sharded = {name for name, module in step.named_modules() if isinstance(module, torch.distributed.fsdp.FSDPModule)}
    assert sharded == {f"model.{unit.name}" for unit in sharding.units(model) if unit.name} | {""}
    kept = 0
    for name, parameter in step.named_parameters():
        assert isinstance(parameter, DTensor) == (name in expected)
        if isinstance(parameter, DTensor):
            local = parameter.to_local()
            assert local.numel() == sharding.share(shapes[name.removeprefix("model.")], 8)
            assert local.dtype == (torch.float32 if parameter.requires_grad else torch.bfloat16)
            kept += local.numel()
    whole = sum(unit.size for unit in sharding.units(model))
    assert whole / 8 <= kept < whole / 8 + 1_000_000  # what has few rows is cut unevenly


@pytest.mark.parametrize(
    ("shape", "devices", "kept"),
    [((4096, 4096), 8, 512 * 4096), ((10, 3), 8, 2 * 3), ((2,), 8, 1), ((), 8, 1), ((32_007, 2), 8, 4001 * 2)],
)
def test_a_share_is_of_whole_rows(shape: tuple[int, ...], devices: int, kept: int) -> None:
    assert sharding.share(shape, devices) == kept


def test_the_file_names_the_layers_of_the_model_and_the_bank(model: nn.Module) -> None:
    settings = yaml.safe_load((CONFIGS / "fsdp2.yaml").read_text())["fsdp_config"]
    layers = set(settings["fsdp_transformer_layer_cls_to_wrap"].split(","))
    assert layers == set(sharding.LAYERS) - {"Dinov2Layer"}  # nano's
    assert layers <= {type(module).__name__ for module in model.modules()}


def test_nano_has_units_too() -> None:
    tiny, _ = tiny_geopix()
    names = Counter(type(tiny.get_submodule(unit.name)).__name__ for unit in sharding.units(tiny)[:-1])
    assert names == {"Dinov2Layer": 3, "LlamaDecoderLayer": 2, "TwoWayBlock": 4}


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
