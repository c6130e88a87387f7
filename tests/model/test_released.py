"""The authors' mask path, against numbers that their own modules gave."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from geopix.checkpoint.released import fill_mask_path, unused_names
from geopix.model.configuration import GeoPixConfig
from geopix.model.geopix import GeoPixModel
from geopix.model.released import Neck, ReleasedMaskPredictor, fourier_table
from tests.tiny_model import tiny_geopix

GOLDEN = Path(__file__).parents[1] / "golden"


def rebuilt(name: str, shape: list[int]) -> Tensor:
    """A tensor of the golden weights, made from its name as they were."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    drawn = 0.02 * torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith("running_var"):
        return 1 + drawn.abs()
    if len(shape) == 1 and name.endswith("weight"):
        return 1 + drawn
    return 50 * drawn if "gaussian" in name else drawn


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tiny(seed: int = 0) -> ReleasedMaskPredictor:
    """Eight cells a side, two scales of three tokens, weights that tell everything apart."""
    torch.manual_seed(seed)
    predictor = ReleasedMaskPredictor(hidden=48, tokens_per_scale=3, width=32, side=8, blocks=2)
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return predictor.eval()


def seen(seed: int, n_images: int) -> list[Tensor]:
    return [drawn(seed + scale, n_images, 64, 32) for scale in range(2)]


@torch.no_grad()
def test_the_golden_values() -> None:
    golden = np.load(GOLDEN / "released.npz")
    manifest = json.loads((GOLDEN / "released_manifest.json").read_text())
    unused = unused_names()
    assert unused < manifest.keys()
    tensors = {
        name: torch.empty(0) if name in unused else rebuilt(name, shape) for name, shape in manifest.items()
    }  # what no mask depends on is not even made
    tensors["multiseg_scalar"], tensors["multiscale_scalar"] = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.6, 0.4])
    with torch.device("meta"):
        necks = nn.ModuleList(Neck(1024, 256, 32) for _ in range(2))
        predictor = ReleasedMaskPredictor(hidden=4096, tokens_per_scale=3, width=256, side=32, blocks=2)
    necks.to_empty(device="cpu").eval()
    predictor.to_empty(device="cpu").eval()
    fill_mask_path(necks, predictor, tensors, GOLDEN)

    features = [drawn(8, 1, 576, 1024), drawn(9, 1, 576, 1024)]
    projected = [neck(one) for neck, one in zip(necks.children(), features, strict=True)]
    for ours, theirs in zip(projected, golden["necks"], strict=True):  # kept in half precision
        expected = torch.from_numpy(theirs).float().flatten(1).T
        torch.testing.assert_close(ours[0], expected, rtol=1e-3, atol=1e-4)
    embeddings = drawn(7, 3, 6, 4096).view(1, 3, 2, 3, 4096)

    def close(ours: Tensor, theirs: np.ndarray) -> None:
        torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=1e-4)

    close(predictor.fuse(embeddings)[0], golden["tokens"])
    whole = predictor(projected, None, embeddings)
    close(whole.logits[0], golden["masks"])
    close(whole.by_scale[0][0], golden["level0_final"][:, 0])
    first = predictor(projected, None, embeddings, refine=False)
    close(first.initial[0][0], golden["level0_initial"][:, 0])
    assert (whole.logits - first.logits).abs().max() > 0.01  # what is left of the memory is not nothing


@torch.no_grad()
def test_a_batch_equals_single_calls() -> None:
    predictor = tiny()
    images, embeddings = seen(1, 3), drawn(5, 3, 4, 2, 3, 48)
    together = predictor(images, None, embeddings)
    assert together.logits.shape == (3, 4, 32, 32)
    assert [tuple(mask.shape) for mask in together.by_scale] == [(3, 4, 16, 16), (3, 4, 32, 32)]
    assert together.logits.flatten(2).std(dim=-1).min() > 0.01
    for image in range(3):
        for target in range(4):
            alone = predictor(
                [scale[image : image + 1] for scale in images], None, embeddings[image : image + 1, target : target + 1]
            )
            torch.testing.assert_close(alone.logits[0, 0], together.logits[image, target], rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("n_targets", [0, 1, 2, 300])
def test_any_number_of_targets(n_targets: int) -> None:
    out = tiny()(seen(1, 2), None, drawn(5, 2, n_targets, 2, 3, 48))
    assert out.logits.shape == (2, n_targets, 32, 32)
    assert [tuple(mask.shape) for mask in out.by_scale] == [(2, n_targets, 16, 16), (2, n_targets, 32, 32)]
    assert torch.isfinite(out.logits).all()
    assert (out.iou, out.class_logits, out.class_weights, out.pointed) == (None, None, None, None)


@torch.no_grad()
def test_the_coarse_mask_guides_the_fine_one() -> None:
    predictor = tiny()
    image, fused = drawn(1, 1, 64, 32), drawn(2, 1, 32)
    here, there = torch.full((1, 16, 16), -30.0), torch.full((1, 16, 16), -30.0)
    here[:, :8], there[:, 8:] = 30, 30
    ours, theirs = (predictor.decode(1, image, fused, mask) for mask in (here, there))
    assert (ours - theirs).abs().max() > 0.01


def test_the_position_encoding_by_hand() -> None:
    table = fourier_table(torch.tensor([[0.25, 0.0], [0.0, 0.5]]), side=2)
    # The centres are at -1/2 and 1/2; two pi times (x / 4, y / 2) is (-pi/4, -pi/2) in the first cell, row by row.
    half = 0.5**0.5
    expected = [[-half, -1, half, 0], [half, -1, half, 0], [-half, 1, half, 0], [half, 1, half, 0]]
    torch.testing.assert_close(table, torch.tensor(expected), rtol=0, atol=1e-6)


def released_config(**changes: object) -> GeoPixConfig:
    whole, _ = tiny_geopix()
    settings = {
        "vision_config": whole.config.vision_config, "text_config": whole.config.text_config, "image_size": 56,
        "encoder_layers": (3, 2), "mask_path": "released", "mask_width": 32, "mask_side": 8, "decoder_blocks": 2,
        "memory": {"fusion": "none"}, **changes,
    }  # fmt: skip
    return GeoPixConfig(**settings)


@torch.no_grad()
def test_the_whole_model_takes_it_for_its_mask_path() -> None:
    model = GeoPixModel(released_config()).eval()
    images = model.see_features(drawn(3, 2, 2, 16, 32))
    embeddings = drawn(4, 2, 3, 6, 48)
    out = model.predict_masks(images, embeddings)
    assert out.logits.shape == (2, 3, 32, 32)
    one = model.predict_masks(images.rows([1]), embeddings[1:])
    torch.testing.assert_close(one.logits[0], out.logits[1], rtol=0, atol=1e-5)
    many = model.predict_masks(images, embeddings.repeat(1, 50, 1, 1))
    torch.testing.assert_close(many.logits[:, 147:], out.logits, rtol=0, atol=1e-5)
    model.mask_predictor.fold()
    assert torch.equal(model.predict_masks(images, embeddings).logits, out.logits)
    with pytest.raises(ValueError, match="released mask path can be asked, not trained here"):
        _ = model.trainable_predictor


@pytest.mark.parametrize("changes", [{"encoder_layers": (3, 2, 1)}, {"encoder_layers": (3,)}])
def test_other_scales_than_the_released_ones(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"released mask path has 2 scales .*give mask_path 'geopix'"):
        GeoPixModel(released_config(**changes))
