"""One training loop; a stage is a YAML file, not a branch (§III-C, §V-A)."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from geopix.config import Stage
from geopix.losses import (
    CellFacts,
    alignment_loss,
    iou_loss,
    mask_iou,
    mask_loss,
    pointer_loss,
    relation_loss,
    word_loss,
)
from geopix.model.geopix import GeoPixModel, Seen
from geopix.model.llm import branching
from geopix.model.memory import Bank
from geopix.model.projectors import merged
from geopix.model.relations import OrdinalEncoding, Relations
from geopix.train.batches import Batch, Sampler
from geopix.train.optimizer import MasterAdamW, schedule, target

Report = Callable[[int, dict[str, float]], None]


def step_losses(
    model: GeoPixModel, batch: Batch, stage: Stage, progress: float, states: Callable[[Batch], Tensor] | None
) -> dict[str, Tensor]:
    """All losses of one batch, each before its weight, and the mean IoU ("mask_iou", no gradient).

    Args:
        model: In training mode.
        batch: On the model's device.
        stage: What is on and what it weighs.
        progress: Share of the stage that is done; the true class is named to Q_c less and less (docs/paper.md).
        states: For the mask side alone, the frozen LLM's states of the batch's phrases (B, m, group, hidden); for
            the projector alone, the LLM's embeddings of the class names (classes, hidden).
    """
    losses: dict[str, Tensor] = {}
    predictor = model.trainable_predictor
    if stage.language == "words":
        assert states is not None
        tokens = model.multimodal_projector(batch.features[:, 0])
        return {"word": alignment_loss(tokens, states(batch), token_labels(batch.cells.classes, model.config.merge))}
    if stage.language == "relations":
        relations = _ordinal(model).relate(batch.features.transpose(1, 2).flatten(2))
        return {"relation": _relation_loss(relations, batch.cells)}
    if stage.language == "pointing":
        assert states is not None
        scene, _ = _ordinal(model)(batch.features.transpose(1, 2).flatten(2))
        pointed = predictor.point(scene, states(batch).unflatten(2, (predictor.n_scales, -1)))
        assert pointed is not None
        return {"pointer": pointer_loss(pointed[batch.present], batch.coverage[batch.present])}
    if batch.ids is None:
        seen = Seen(batch.features, *model.see_scales(batch.features))
        assert states is not None
        embeddings = states(batch)
    else:
        seen = model.see_features(batch.features)
        assert batch.branches is not None
        assert batch.answers is not None
        assert batch.groups is not None
        embedded = model.language.embed(batch.ids, seen.tokens)
        hidden = model.language(embedded, branching(batch.branches), positions=batch.positions)
        said = batch.answers[:, 1:]
        losses["word"] = word_loss(model.language.words(hidden[:, :-1][said]), batch.ids[:, 1:][said])
        embeddings = model.segmentation_embeddings(hidden, batch.groups)
    if seen.scene is not None:
        losses["relation"] = _relation_loss(seen.scene.relations, batch.cells)
    present = batch.present
    if not present.any():
        return losses
    named = torch.rand(present.shape, device=present.device) < stage.named_class * (1 - progress)
    class_ids = torch.where(named & present, batch.class_ids, -1)
    out = model.predict_masks(seen, embeddings, class_ids, refine=stage.refine)
    coverage = batch.coverage[present]
    weights = stage.loss.bce, stage.loss.dice
    sides = [mask_loss(mask[present], coverage, *weights) for mask in (*out.by_scale, *out.initial)]
    losses["mask"] = mask_loss(out.logits[present], coverage, *weights) + stage.loss.side_masks * sum(sides)
    with torch.no_grad():
        side = out.logits.shape[-1]  # nano's masks are as fine as the stored ones: nothing is pooled
        iou = mask_iou(out.logits[present], functional.adaptive_avg_pool2d(coverage, side))
    if out.pointed is not None:
        losses["pointer"] = pointer_loss(out.pointed[present], coverage)
    assert out.iou is not None
    assert out.class_logits is not None
    losses["iou"] = iou_loss(out.iou[present], iou)
    losses["class_query"] = word_loss(out.class_logits[present], batch.class_ids[present])
    losses["mask_iou"] = iou.mean()
    return losses


def _ordinal(model: GeoPixModel) -> OrdinalEncoding:
    ordinal = model.trainable_predictor.ordinal
    if ordinal is None:
        raise ValueError("this model has no relations to train; leave stages of relations and pointing out")
    return ordinal


def _relation_loss(said: Relations, cells: CellFacts) -> Tensor:
    return relation_loss(facts=cells, **vars(said))


def token_labels(cells: Tensor, merge: int) -> Tensor:
    """What every image token shows: the class of any object among its cells, else what the cells say.

    Args:
        cells: (B, n) class slots of the features' cells, the highest meaning nothing, -1 unknown.
        merge: Side of the square of cells that becomes a token.
    """
    return merged(cells[..., None], merge).amin(dim=-1)


def total_loss(losses: dict[str, Tensor], stage: Stage) -> Tensor:
    """The weighted sum; "mask" already holds its two weights."""
    weights = {
        "word": stage.loss.word, "mask": 1.0, "iou": stage.loss.iou,
        "class_query": stage.loss.class_query, "relation": stage.loss.relation,
        "pointer": stage.loss.pointer,
    }  # fmt: skip
    return torch.stack([weights[name] * value for name, value in losses.items() if name in weights]).sum()


def train(
    model: GeoPixModel,
    sampler: Sampler,
    stage: Stage,
    folder: Path,
    report: Report,
    states: Callable[[Batch], Tensor] | None = None,
) -> None:
    """Train until the stage's last step, from the last checkpoint in ``folder`` where there is one.

    Args:
        model: What is trainable has ``requires_grad``; everything else stays as it is.
        sampler: Gives the batch of a step.
        stage: The settings.
        folder: Where checkpoints and ``metrics.jsonl`` go.
        report: Called after every step with the step's number and its losses.
        states: See `step_losses`.

    Raises:
        FloatingPointError: If a loss is not finite; the last checkpoint is intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rates = {name: stage.learning_rate * _rate(name, stage) for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        if rates[name] == 0:
            parameter.requires_grad_(False)
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    banks = {f"{name}.rows" for name, module in model.named_modules() if isinstance(module, Bank)}
    optimizer = MasterAdamW(named, rates, stage.betas, stage.weight_decay, row_wise=banks)
    first = _resume(folder, model, optimizer)
    model.train()
    model.encoder.eval()
    for step in range(first, stage.steps):
        torch.manual_seed(stage.seed * 1_000_003 + step)  # dropout and class naming, the same after a restart
        started = time.perf_counter()
        batch = to_device(sampler.batch(step), model.device, model.dtype)
        losses = step_losses(model, batch, stage, step / stage.steps, states)
        loss = total_loss(losses, stage)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss of step {step} is {loss.item()}: {_numbers(losses)}")
        loss.backward()
        norm = optimizer.step(schedule(step, stage.steps, stage.warmup, stage.final_rate), stage.clip)
        numbers = {**_numbers(losses), "loss": float(loss.detach()), "norm": norm}
        numbers |= {"targets": float(batch.present.sum()), "seconds": time.perf_counter() - started}
        with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
        report(step, numbers)
        if (step + 1) % stage.checkpoint_every == 0 or step + 1 == stage.steps:
            save_checkpoint(folder, step + 1, model, optimizer)


def to_device(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    """The batch with every tensor on a device, the features in the model's precision."""
    moved: dict[str, Any] = {name: value.to(device) for name, value in vars(batch).items() if isinstance(value, Tensor)}
    moved["features"] = moved["features"].to(dtype)
    cells = CellFacts(*(value.to(device) for value in vars(batch.cells).values()))
    return Batch(**moved, cells=cells, phrases=batch.phrases)


def save_checkpoint(folder: Path, step: int, model: GeoPixModel, optimizer: MasterAdamW) -> None:
    """Write a checkpoint beside the last one, then take its place in one step."""
    staging, target, old = folder / ".checkpoint", folder / "checkpoint", folder / ".old"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    save_file(optimizer.state(), staging / "optimizer.safetensors")
    buffers = {name: tensor.contiguous() for name, tensor in model.named_buffers() if "running_" in name}
    save_file(buffers, staging / "buffers.safetensors")
    (staging / "step.json").write_text(json.dumps({"step": step}), encoding="utf-8")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.replace(old)
    staging.replace(target)
    shutil.rmtree(old, ignore_errors=True)


def load_trained(folder: Path, model: GeoPixModel) -> None:
    """Put the weights of a finished stage into a model; parameters the stage did not train stay as they are."""
    masters = load_file(folder / "checkpoint" / "optimizer.safetensors")
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for kind in ("whole.", "master."):  # rows of the bank that were touched replace what the whole says of them
            for name, tensor in masters.items():
                key = name.removeprefix(kind)
                if key != name and key.split("[")[0] in parameters:
                    target(key, parameters).copy_(tensor)
    _load_buffers(folder, model)


def _resume(folder: Path, model: GeoPixModel, optimizer: MasterAdamW) -> int:
    checkpoint = folder / "checkpoint"
    if not checkpoint.is_dir() and (folder / ".old").is_dir():  # killed between the two renames
        (folder / ".old").replace(checkpoint)
    if not checkpoint.is_dir():
        _forget_metrics(folder, 0)
        return 0
    optimizer.load_state(load_file(checkpoint / "optimizer.safetensors"))
    _load_buffers(folder, model)
    step = int(json.loads((checkpoint / "step.json").read_text(encoding="utf-8"))["step"])
    _forget_metrics(folder, step)
    return step


def _forget_metrics(folder: Path, first: int) -> None:
    """Drop the lines of steps that are about to be made again, and one that a killed run left half-written."""
    path, kept = folder / "metrics.jsonl", folder / ".metrics.jsonl"
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] < first]
    kept.write_text("".join(whole), encoding="utf-8")
    kept.replace(path)


def _load_buffers(folder: Path, model: GeoPixModel) -> None:
    own = dict(model.named_buffers())
    for name, tensor in load_file(folder / "checkpoint" / "buffers.safetensors").items():
        own[name].copy_(tensor)


def _rate(name: str, stage: Stage) -> float:
    """The multiple of the longest prefix that fits a parameter's name."""
    fitting = [prefix for prefix in stage.part_rates if name.startswith(prefix)]
    return stage.part_rates[max(fitting, key=len)] if fitting else 1.0


def _numbers(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in losses.items()}
