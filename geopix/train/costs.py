"""What a step costs, counted without computing it: operations and kept activations, on the meta device (§V-A)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from geopix.config import Stage
from geopix.losses import mask_loss, word_loss
from geopix.model.geopix import GeoPixModel, Seen
from geopix.model.llm import branching
from geopix.model.memory import AttendingMemory, FoldingMemory
from geopix.model.relations import Scene
from geopix.train.sharding import LAYERS

_META = torch.device("meta")


@dataclass(frozen=True)
class StepSize:
    """The shapes of a batch: ``images``, ``tokens`` of the longest sequence, ``answers`` tokens in all that the loss
    is about, ``targets`` of an image, and ``classes`` whose rows of the bank are read."""

    images: int
    tokens: int
    answers: int
    targets: int
    classes: int


@dataclass(frozen=True)
class Costs:
    """``operations`` in matrix products and convolutions, forwards and backwards, and those of the encoder where its
    features are not kept (``encoding``); bytes of ``activations`` kept for the way back, and of them where every layer
    of the LLM is computed again in its place (``checkpointed``)."""

    operations: int
    encoding: int
    activations: int
    checkpointed: int


def step_costs(model: GeoPixModel, stage: Stage, size: StepSize) -> Costs:
    """Walk through one step with tensors that have a shape and no numbers.

    Attention's scores count as kept: what a fused kernel would spare depends on the device.

    Args:
        model: On the meta device, with its adapter, and with gradients for what trains.
        stage: What is on.
        size: The batch's shapes.
    """
    model.train()
    kept = _Kept({tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())})
    layers = [module for module in model.language.modules() if type(module).__name__ in LAYERS]
    with FlopCounterMode(display=False) as counter, kept.watching(layers):
        loss = _walk(model, stage, size)
        loss.backward()
    model.zero_grad(set_to_none=True)
    with FlopCounterMode(display=False) as looking:
        side = model.config.image_size
        model.encoder(torch.empty(size.images, 3, side, side, dtype=_dtype(model), device=_META))
    recomputed = kept.total - sum(kept.of_layer) + sum(kept.entering) + max(kept.of_layer, default=0)
    return Costs(
        int(counter.get_total_flops()),
        int(looking.get_total_flops()),
        kept.total,
        recomputed if kept.of_layer else kept.total,
    )


class _Kept:
    """Bytes that autograd keeps, every storage once, parameters and buffers aside; in all, and by layer.

    Args:
        known: The storages of the parameters and buffers.
    """

    def __init__(self, known: set[int]) -> None:
        self.known, self.total = known, 0
        self.of_layer: list[int] = []
        self.entering: list[int] = []
        self._alive: list[Any] = []  # so that no storage takes the place of another

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.known.add(storage._cdata)
            self._alive.append(storage)
            self.total += storage.nbytes()
        return tensor

    @contextmanager
    def watching(self, layers: list[nn.Module]) -> Iterator[None]:
        """Count while this is open; ``layers`` are looked at one by one."""
        begun: list[int] = []

        def enters(layer: nn.Module, given: tuple[Any, ...]) -> None:
            begun.append(self.total)
            self.entering.append(given[0].nbytes)

        def leaves(layer: nn.Module, given: Any, out: Any) -> None:
            self.of_layer.append(self.total - begun.pop())

        handles = [layer.register_forward_pre_hook(enters) for layer in layers]
        handles += [layer.register_forward_hook(leaves) for layer in layers]
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda packed: packed):
                yield
        finally:
            for handle in handles:
                handle.remove()


def _walk(model: GeoPixModel, stage: Stage, size: StepSize) -> Tensor:
    """The shapes of `geopix.train.step.step_losses`, without what depends on numbers."""
    predictor, config = model.trainable_predictor, model.config
    scales, channels = len(config.encoder_layers), config.vision_config.hidden_size
    features = torch.empty(size.images, scales, config.grid_side**2, channels, dtype=_dtype(model), device=_META)
    group = scales * config.tokens_per_scale
    if stage.language == "words":
        return model.multimodal_projector(features[:, 0]).float().mean()
    cells = features.transpose(1, 2).flatten(2)
    spoken = torch.empty(size.images, size.targets, group, model.language.hidden, dtype=_dtype(model), device=_META)
    pointing = stage.language == "pointing" or not stage.masks
    if stage.language == "relations" or pointing:
        assert predictor.ordinal is not None
        scene, _ = predictor.ordinal(cells)
        loss = _related(scene)
        if pointing:
            pointed = predictor.point(scene, spoken.unflatten(2, (scales, -1)))
            assert pointed is not None
            loss = pointed.mean()
        return loss
    if stage.language in ("phrases", "answers"):
        seen = Seen(features, *model.see_scales(features))
        return _related(seen.scene) + _masks(model, stage, seen, spoken, size)
    seen = model.see_features(features)
    words = size.tokens - seen.tokens.shape[1]
    said = torch.empty(size.images, words, model.language.hidden, dtype=seen.tokens.dtype, device=_META)
    places = torch.zeros(size.images, size.tokens, dtype=torch.long, device=_META)
    hidden = model.language(torch.cat([seen.tokens, said], dim=1), branching(places), positions=places)
    answers = hidden.flatten(0, 1)[: size.answers]
    loss = word_loss(model.language.words(answers), torch.zeros(len(answers), dtype=torch.long, device=_META))
    embeddings = hidden[:, :1, None].expand(-1, size.targets, group, -1)
    return loss + _related(seen.scene) + _masks(model, stage, seen, embeddings, size)


def _related(scene: Scene | None) -> Tensor:
    """What the cells say of themselves, where they say anything."""
    if scene is None:
        return torch.zeros((), device=_META)
    return torch.stack([said.float().mean() for said in vars(scene.relations).values()]).sum()


def _masks(model: GeoPixModel, stage: Stage, seen: Seen, embeddings: Tensor, size: StepSize) -> Tensor:
    """The mask path, and F of as many rows of the bank as the batch reads, at every scale."""
    out = model.predict_masks(seen, embeddings, query="none", refine=stage.refine)
    assert out.class_logits is not None
    assert out.iou is not None
    loss: Tensor = out.class_logits.float().mean() + out.iou.float().mean()
    for masks in (out.logits, *out.by_scale, *out.initial):
        flat = masks.flatten(0, 1)
        loss = loss + mask_loss(flat, torch.zeros(flat.shape, device=_META), 1.0, 1.0)
    memory = model.trainable_predictor.memory
    if stage.refine and isinstance(memory, FoldingMemory | AttendingMemory):
        for _ in range(memory.bank.shape[1]):
            loss = loss + _fused(memory, size).float().mean()
    return loss


def _fused(memory: FoldingMemory | AttendingMemory, size: StepSize) -> Tensor:
    h = torch.empty(size.classes, *memory.bank.shape[2:], dtype=memory.bank.rows.dtype, device=_META)
    if isinstance(memory, FoldingMemory):
        return memory.fusion(h.requires_grad_())
    width, side = memory.bank.shape[3:5]
    asked = torch.empty(size.images * size.targets, side * side, width, dtype=h.dtype, device=_META)
    return memory.fusion(h[:1].expand(len(asked), -1, -1, -1, -1), asked.requires_grad_())


def _dtype(model: GeoPixModel) -> torch.dtype:
    """Of the features: that of the projector they enter."""
    return next(model.multimodal_projector.parameters()).dtype


def matmul_rate(
    device: torch.device, dtype: torch.dtype, side: int = 2048, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Operations a second that a device's matrix products reach, the best of five.

    Args:
        device, dtype, side: Of the two square matrices.
        clock: Tells seconds.
    """
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(5):
        _wait(device)
        started = clock()
        left @ right
        _wait(device)
        seconds.append(clock() - started)
    return 2 * side**3 / min(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
