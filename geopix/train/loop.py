"""One training loop; a stage is a YAML file, not a branch (§III-C, §V-A).

Ours and not transformers.Trainer (the reasons stand in docs/log.md): what is fed and every random number is a function
of the seed and the step, an update is the same on one process or many, and checkpoints hold no pickle.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator

from geopix.checkpoint import CheckpointError
from geopix.config import Stage
from geopix.model.geopix import GeoPixModel
from geopix.model.memory import Bank
from geopix.train import checkpoints, overlays
from geopix.train.batches import Sampler
from geopix.train.checkpoints import Checkpoint, Tell
from geopix.train.optimizer import MasterAdamW, schedule, target
from geopix.train.step import States, step_losses, to_device, total_loss
from geopix.train.together import RunningAverages, Update, accelerator, shard, shards
from geopix.train.trouble import DivergedError, culprits, enough_memory, printable
from geopix.train.watch import Watch

Report = Callable[[int, dict[str, float]], None]

PATIENCE = 10
"""Updates in a row that may be left out before a run that skips bad losses gives up."""


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


def train(
    model: GeoPixModel,
    sampler: Sampler,
    stage: Stage,
    folder: Path,
    report: Report,
    states: States | None = None,
    tell: Tell = _say,
) -> None:
    """Train until the stage's last step, from the last checkpoint in ``folder`` where there is one.

    Args:
        model: What is trainable has ``requires_grad``; everything else stays as it is.
        sampler: Gives micro-batches by number: those of step s are s * accumulate and the ones after it.
        stage: The settings.
        folder: Where checkpoints, ``metrics.jsonl`` and pictures go.
        report: Called after every step with the step's number and its losses, on the main process.
        states: See `step_losses`.
        tell: Told what is not worth stopping for, a sentence each: damaged checkpoints, unreadable samples.

    Raises:
        DivergedError: If a loss or gradient is not finite and the stage does not skip it, or only such come.
        TrainingMemoryError: If there is too little memory.
        CheckpointError: If a checkpoint can't be written, or none of those there can be used.
    """
    among = accelerator()
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(model, sampler, stage, folder, states, among, tell if among.is_main_process else _silent)
    first = run.resume()
    watch = Watch(folder, first, run.tell) if among.is_main_process else None
    model.train()
    model.encoder.eval()
    measured: list[float] = []
    left_out = 0
    try:
        for step in range(first, stage.steps):
            started = time.perf_counter()
            with enough_memory(stage, step):
                update, norm = run.update(step)
            numbers = update.numbers()
            left_out = 0 if norm is not None else left_out + 1
            if left_out == PATIENCE:
                raise DivergedError(f"the last {PATIENCE} steps up to step {step} had no finite loss or gradient")
            numbers |= {} if norm is None else {"norm": norm}
            numbers |= {"seconds": time.perf_counter() - started}
            if stage.best_by in numbers:
                measured.append(numbers[stage.best_by])
            if watch is not None:
                watch.write(step, numbers, update.notes)
                report(step, numbers)
            if (step + 1) % stage.checkpoint_every == 0 or step + 1 == stage.steps:
                if watch is not None:
                    watch.sync()
                    run.save(step + 1, measured)
                among.wait_for_everyone()
                measured = []
    finally:
        if watch is not None:
            watch.close()


def _silent(text: str) -> None:
    """Only the main process speaks."""


class _Run:
    """A stage under way; the parts of `train`."""

    def __init__(
        self,
        model: GeoPixModel,
        sampler: Sampler,
        stage: Stage,
        folder: Path,
        states: States | None,
        among: Accelerator,
        tell: Tell,
    ) -> None:
        self.model, self.sampler, self.stage, self.folder = model, sampler, stage, folder
        self.states, self.among, self.tell = states, among, tell
        rates = {name: stage.rate_of(name) for name, _ in model.named_parameters()}
        for name, parameter in model.named_parameters():
            if rates[name] == 0:
                parameter.requires_grad_(False)
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        banks = {f"{name}.rows" for name, module in model.named_modules() if isinstance(module, Bank)}
        self.optimizer = MasterAdamW(named, rates, stage.betas, stage.weight_decay, row_wise=banks)
        if stage.gradient_checkpointing:
            model.language.causal.activation_checkpointing_enable({"use_reentrant": False})
        self.sharded = shards(among)
        if self.sharded:
            shard(model, among)
        self.averages = RunningAverages(model)
        self.told: set[str] = set()

    def update(self, step: int) -> tuple[Update, float | None]:
        """Make the update of a step: what it came to, and the gradient's norm (None where nothing was updated)."""
        stage, among = self.stage, self.among
        update = Update(stage.accumulate, among.device)
        self.averages.start()
        for first in range(0, stage.accumulate, among.num_processes):
            micro = first + among.process_index
            if micro < stage.accumulate:
                self._micro_batch(step, micro, update)
            elif self.sharded:  # what is computed there is forgotten: layers are gathered by all, or by none
                self._micro_batch(step, stage.accumulate - 1, None)
        update.meet(among)
        if among.num_processes > 1:
            self.optimizer.meet(lambda tensor: among.reduce(tensor, "sum"), among.device)
        good = update.good
        if not good:
            self.optimizer.forget()
            return update, None
        share = schedule(step, stage.steps, stage.warmup, stage.final_rate)
        norm = self.optimizer.step(share, stage.clip, 1 / good)
        if not torch.isfinite(torch.tensor(norm)):
            if stage.on_bad_loss == "stop":
                raise DivergedError(f"the gradient of step {step} is {norm}, though its losses are finite")
            update.note("skipped", [f"the whole step: its gradient is {norm}"])
            return update, None
        self.averages.finish(among, good)
        return update, norm

    def _micro_batch(self, step: int, micro: int, update: Update | None) -> None:
        """Compute one micro-batch's losses and collect its gradients; without an update it leaves no trace."""
        stage, model = self.stage, self.model
        number = step * stage.accumulate + micro
        torch.manual_seed(stage.seed * 1_000_003 + number)  # dropout and class naming, the same after a restart
        batch = to_device(self.sampler.batch(number), model.device, model.dtype)
        self._note_unreadable(update)
        progress = step / stage.steps
        told = step_losses(model, batch, stage, progress, self.states)
        loss = total_loss(told.losses, stage)
        finite = bool(torch.isfinite(loss))
        good = finite and update is not None
        if finite or self.sharded:
            loss.backward()
        if good:
            self.optimizer.collect()
        else:
            self.optimizer.forget_last()
        self.averages.take(good)
        anywhere = self._anywhere(not finite)
        if anywhere:  # sharded, all processes look, as the layers that one needs are gathered by all
            bad = culprits(model, batch, stage, progress, self.states, self.sampler.dialogue)
            self.averages.take(False)
        if update is None:
            return
        numbers = {name: float(value.detach()) for name, value in told.losses.items()}
        if finite:
            numbers |= {"loss": float(loss.detach()), "targets": float(batch.present.sum())}
            update.add(micro, {**numbers, "good": 1.0})
        else:
            sentence = f"the loss of step {step} is {loss.item()}: {_shown(numbers)}; it comes from {'; '.join(bad)}"
            if stage.on_bad_loss == "stop":
                raise DivergedError(printable(sentence))
            self.tell(f"{sentence}; left out")
            update.note("skipped", bad)
        drawn = stage.overlays_every and (step + 1) % stage.overlays_every == 0 and micro == 0
        if drawn and told.logits is not None:
            path = self.folder / "overlays" / f"{step + 1:08d}.png"
            overlays.draw(batch, told.logits, self.sampler.dialogue, path)

    def _anywhere(self, here: bool) -> bool:
        """Whether something holds here, or, sharded, in any process."""
        if not self.sharded:
            return here
        return bool(self.among.reduce(torch.tensor(float(here), device=self.among.device), "sum"))

    def _note_unreadable(self, update: Update | None) -> None:
        """Say of every sample that can't be read so once, and write it down every time that it is drawn."""
        for store in self.sampler.stores:
            met, store.unreadable = store.unreadable, []
            if update is None:
                continue
            update.note("unreadable", met)
            for text in met:
                if text not in self.told:
                    self.told.add(text)
                    self.tell(f"{text}; the next one that can be read takes its place")

    def save(self, step: int, measured: list[float]) -> None:
        """Write a checkpoint after so many updates."""
        sign = -1 if self.stage.best_by == "mask_iou" else 1
        measure = sign * sum(measured) / len(measured) if measured else None
        buffers = dict(self.averages.buffers)
        checkpoint = Checkpoint(step, self.optimizer.state(), buffers, measure, self.stage.model_dump(mode="json"))
        checkpoints.save(self.folder, checkpoint, self.stage.keep_last)

    def resume(self) -> int:
        """Go on from the newest checkpoint that is whole; the step that comes next."""
        found = checkpoints.newest(self.folder, self.tell)
        if found is None:
            return 0
        try:
            self.optimizer.load_state(found.optimizer)
            _copy_buffers(found, self.model)
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"the checkpoint of step {found.step} in {self.folder} is of a stage with other parts ({error}); give "
                "the settings it was made with, or delete the folder"
            ) from error
        return found.step


def load_trained(folder: Path, model: GeoPixModel, tell: Tell = _say) -> None:
    """Put the weights of a finished stage into a model; parameters the stage did not train stay as they are.

    Raises:
        CheckpointError: If the stage has no checkpoint, or none that is whole.
    """
    found = checkpoints.newest(folder, tell)
    if found is None:
        raise CheckpointError(f"there is no checkpoint in {folder}; train that stage first")
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for kind in ("whole.", "master."):  # rows of the bank that were touched replace what the whole says of them
            for name, tensor in found.optimizer.items():
                key = name.removeprefix(kind)
                if key != name and key.split("[")[0] in parameters:
                    target(key, parameters).copy_(tensor)
    _copy_buffers(found, model)


def _copy_buffers(found: Checkpoint, model: GeoPixModel) -> None:
    own = dict(model.named_buffers())
    for name, tensor in found.buffers.items():
        own[name].copy_(tensor)


def _shown(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())
