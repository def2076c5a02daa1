"""The output of a training run: lines of metrics, checkpoints and finally the weights, all of them without NaN."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from dvae_lib.files import UserError
from dvae_lib.models.modalities import known_samples
from dvae_lib.models.saving import save_weights
from dvae_lib.training.checkpoints import CHECKPOINT, WEIGHTS, Metrics, load_checkpoint, save_checkpoint
from dvae_lib.training.fabric import Fabric


class Recorder:
    """Logs, checks and saves a training run in its folder, and resumes an interrupted one: `done` of `total` steps.

    Metrics are logged every `log_every` steps, where the loss is also checked; a checkpoint is saved every `save_every`
    steps if the last one is `save_seconds` old, after its weights have been checked.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        fabric: Fabric,
        stages: Sequence[tuple],
        log_every: int,
        save_every: int,
        save_seconds: float,
    ):
        self.folder, self.model, self.optimizer, self.fabric, self.stages = folder, model, optimizer, fabric, stages
        self.log_every, self.save_every, self.save_seconds = log_every, save_every, save_seconds
        self.total = sum(stage.steps for stage, _ in stages)
        self.done = self._checked = load_checkpoint(folder, model, optimizer, fabric.device)
        self._metrics = Metrics(folder, self.done) if fabric.is_global_zero else None
        self._saved_at = time.monotonic()

    @contextmanager
    def progress(self, description: str, quiet: bool) -> Iterator[None]:
        """Shows a progress bar inside the with block."""
        self._bar = tqdm(
            initial=self.done,
            total=self.total,
            desc=description,
            unit="step",
            mininterval=1.0,
            disable=quiet or not self.fabric.is_global_zero,
        )
        with self._bar:
            yield

    def record(self, now, loss: Tensor, terms: dict[str, Tensor]) -> bool:
        """Records a finished step (`loop.Step`); returns whether it was logged."""
        self.done = now.step + 1
        self._bar.update()
        logged = now.step % self.log_every == 0 or self.done == self.total
        if logged:
            loss, terms = self.fabric.all_reduce((loss.detach(), terms), reduce_op="mean")
            self._require_finite([loss], "The loss")
            self._checked = self.done
            if self._metrics:
                self._metrics.write(now.step, now.number, loss, terms)
            self._bar.set_postfix(stage=now.stage.name, loss=f"{loss.item():.3g}", refresh=False)
        due = self.done % self.save_every == 0 and self.done < self.total
        if due and time.monotonic() - self._saved_at >= self.save_seconds:
            self._save()
        return logged

    def stop(self) -> None:
        """Saves an unfinished training run."""
        self._save()
        if self.fabric.is_global_zero:
            message = f"Stopped after step {self.done}, saved in {self.folder}; the same command continues from there."
            self._bar.write(message, file=sys.stderr)  # a process that dies of SIGTERM does not write stdout's buffer
        self.fabric.barrier()  # if one process ended now, its launcher would kill the one that is still writing

    def finish(self) -> None:
        """Saves the trained weights."""
        self._require_finite(self.model.state_dict().values(), "A weight")
        if self.fabric.is_global_zero:
            save_weights(self.model, self.folder / WEIGHTS)
            (self.folder / CHECKPOINT).unlink(missing_ok=True)
        self.fabric.barrier()

    def _save(self) -> None:
        self._require_finite(self.model.state_dict().values(), "A weight")
        if self.fabric.is_global_zero:
            save_checkpoint(self.folder, self.model, self.optimizer, self.done)
        self._saved_at = time.monotonic()

    def _require_finite(self, tensors: Iterable[Tensor], what: str) -> None:
        """Raises UserError if a tensor is not finite, naming the cause in the unchecked batches, if there is one."""
        if all(torch.isfinite(tensor).all() for tensor in tensors):
            return
        blame = "The data are finite: lower the learning rate (--set lr=0.0001) and start again."
        for step, batch in self._unchecked():
            if not batch:
                blame = "Check the data for NaN, or lower the learning rate, and start again."
            for name, values in batch.items():
                bad = ~torch.isfinite(values).reshape(len(values), -1).all(1) & known_samples(name, batch)
                if bad.any():
                    which = f"In the batch of step {step}, {int(bad.sum())} of {len(bad)} samples"
                    blame = f"{which} have NaN or infinity in “{name}”: correct these, or leave them out."
                    raise self._not_finite(what, blame)
        raise self._not_finite(what, blame)

    def _not_finite(self, what: str, blame: str) -> UserError:
        checkpoint = self.folder / CHECKPOINT
        kept = f" The last good state is kept in {checkpoint}." if checkpoint.exists() else ""
        return UserError(f"{what} was not a finite number at step {self.done - 1}.{kept} {blame}")

    def _unchecked(self) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """The batches since the last check, by step."""
        first = 0
        for stage, source in self.stages:
            for step in range(max(self._checked, first), min(self.done, first + stage.steps)):
                yield step, source.batch(step)
            first += stage.steps
