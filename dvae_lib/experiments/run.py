"""Runs: an experiment and its folder; `load_or_train(name)` is what chapters call.

A run lives in runs/<profile>/<name>-<hash of its configuration>/. The same configuration, on data made by the same
recipe, is the same folder: trained once, loaded ever after.
"""

import dataclasses
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes

from dvae_lib import settings
from dvae_lib.datasets import RECIPES, open_dataset, split
from dvae_lib.datasets.batches import Batches, Part
from dvae_lib.datasets.dataset import Dataset
from dvae_lib.experiments import Experiment, experiments, find
from dvae_lib.experiments.evaluation import Model, evaluate, mean_labels
from dvae_lib.files import atomic_write, exclusive_lock, read_json, write_json
from dvae_lib.hand import Root
from dvae_lib.models import DVAE, CrossModalVAE
from dvae_lib.models.modalities import modality
from dvae_lib.models.regressors import Regressor
from dvae_lib.training import train
from dvae_lib.training.checkpoints import WEIGHTS, load_weights, read_metrics
from dvae_lib.training.distributed import make_fabric

CONFIG, MADE, EVALUATION, ERRORS = "config.json", "made.json", "evaluation.json", "errors.safetensors"
FORMAT = 1  # of the evaluation: what has another is evaluated anew, without training


def folder_of(name: str, config: Mapping, profile: str | None = None) -> Path:
    """Where a run of this name and configuration lives; another configuration is another folder."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    return settings.runs_root() / (profile or settings.profile()) / f"{name}-{digest}"


@dataclass
class Run:
    """An experiment and the folder where it was, or will be, trained."""

    experiment: Experiment
    profile: str

    @property
    def config(self) -> dict:
        return dataclasses.asdict(self.experiment) | {"recipes": {name: RECIPES[name] for name in self.experiment.data}}

    @property
    def folder(self) -> Path:
        return folder_of(self.experiment.name, self.config, self.profile)

    @property
    def trained(self) -> bool:
        found = all((self.folder / name).exists() for name in (WEIGHTS, EVALUATION, ERRORS))
        return found and self.evaluation.get("format") == FORMAT

    @property
    def evaluation(self) -> dict:
        return read_json(self.folder / EVALUATION)

    @property
    def made(self) -> dict[str, str]:
        """In which profile, when, on what and by which version it was trained, where that was kept."""
        unknown = {"profile": self.profile} | dict.fromkeys(("date", "hardware", "version"), "not kept")
        return read_json(self.folder / MADE) if (self.folder / MADE).exists() else unknown

    @property
    def errors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Each test sample's errors (N,), by source and by what was read: see `evaluation.Evaluation`."""
        found: dict[str, dict[str, torch.Tensor]] = {}
        for name, values in load_file(self.folder / ERRORS).items():
            source, what = name.split("/")
            found.setdefault(source, {})[what] = values
        return found

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """The training curves: step, loss and the terms of Eq. 1, each an array (NaN where not logged)."""
        lines = read_metrics(self.folder)
        names = dict.fromkeys(name for line in lines for name in line)
        return {name: np.array([line.get(name, np.nan) for line in lines]) for name in names}

    def build(self) -> Model:
        e = self.experiment
        torch.manual_seed(e.seed)
        decoded = {name: modality(name, e.size, weight) for name, weight in e.weights.items()}
        if e.schedule == "regression":
            return Regressor(list(decoded.values()), e.d, e.resnet)
        if not e.factors:
            known = decoded | {name: modality(name, e.size) for name in e.encoded if name not in decoded}
            return CrossModalVAE(known.values(), e.d, e.beta, e.encoded, e.resnet, e.width, decoded)
        if "image" in decoded:
            decoded["image"] = replace(decoded["image"], on_hand=e.on_hand)
        return DVAE(
            [(decoded[name], d) for name, d in e.factors.items()],
            [m for name, m in decoded.items() if name not in e.factors],
            ("image", e.unlabelled) if e.unlabelled else None,
            [decoded.get(name) or modality(name, e.size) for name in e.embeddings],
            e.beta,
            e.resnet,
            e.width,
            e.shared,
        )

    def load(self) -> Model:
        """The trained model, on the CPU, ready to be asked."""
        model = self.build()
        load_weights(model, self.folder / WEIGHTS)
        return model.eval()

    def parts(self, which: str) -> list[tuple[Dataset, np.ndarray]]:
        """The data sets with the indices of their "train" or "test" samples; only the first is tested on."""
        e = self.experiment
        names = e.data if which == "train" else e.data[:1]
        sets = [open_dataset(name, e.size, **e.options.get(name, {})) for name in names]
        return [(dataset, split(dataset, e.purpose)[which == "test"]) for dataset in sets]

    def batches(self, which: str, batch_size: int = 256) -> Batches:
        """Batches of the "train" or "test" samples as they are, without augmentation."""
        return Batches(self.parts(which), batch_size, self.experiment.images(), root=self.experiment.root)

    def training_batches(
        self, stage: str, device: torch.device | str = "cpu", rank: int = 0, world: int = 1
    ) -> Batches:
        """What a stage of training sees, by its labels (Sec. 4.4): the first data set's samples may have all, some
        (weak supervision, in the embedding step) or no image (semi-supervision, in the disentangling step).

        A batch takes equal shares of the parts, and is as large whatever there is: no run sees more images.
        """
        e = self.experiment
        (dataset, indices), *others = self.parts("train")
        labelled, rest = np.split(indices, [round(e.labelled * len(indices))])
        if stage == "disentangling":
            own = [Part(dataset, indices if e.unlabelled_poses else labelled)]
        else:
            own = [Part(dataset, labelled), *([] if e.weak is None else [Part(dataset, rest, e.weak)])]
        parts = [part for part in (*own, *(Part(*other) for other in others)) if len(part.indices)]
        return Batches(parts, e.batch, e.images(stage), e.augmentation, e.root, e.seed, device, rank, world)

    def train(self, device: str = "auto", devices: int = 1, nodes: int = 1, quiet: bool = False) -> None:
        """Trains to the end, or from where it was left, and evaluates; does nothing if that is done.

        If another process is at it, waits for it. device, devices, nodes: see `distributed.make_fabric`. quiet: without
        a progress bar.
        """
        if self.trained:
            return
        fabric = make_fabric(device, devices, nodes, self.experiment.precision)
        waiting = f"Another process is training {self.experiment.name}: waiting for it."
        with exclusive_lock(self.folder / ".lock", waiting) if fabric.is_global_zero else nullcontext():
            if fabric.broadcast(not self.trained):
                self._train(fabric, quiet)
            fabric.barrier()

    def _train(self, fabric: Fabric, quiet: bool) -> None:
        e = self.experiment
        if not (self.folder / WEIGHTS).exists():
            share = {"device": fabric.device, "rank": fabric.global_rank, "world": fabric.world_size}
            stages = [(stage, self.training_batches(stage.name, **share)) for stage in e.stages]
            if fabric.is_global_zero:
                write_json(self.folder / CONFIG, self.config)
                write_json(self.folder / MADE, {"profile": self.profile} | _circumstances(fabric))
            how = {"lr": e.lr, "decay": e.decay, "seed": e.seed}
            train(self.build(), stages, self.folder, fabric, **how, description=e.name, quiet=quiet)
        if fabric.is_global_zero:
            self._evaluate()

    def _evaluate(self) -> None:
        e, model = self.experiment, self.load()
        average = mean_labels(Batches(self.parts("train")[:1], 256, [], root=e.root).in_order())
        found = evaluate(model, self.batches("test").in_order(), average, e.root)
        for name, score in found.scores.items():
            score.to_csv(self.folder / f"pck-{name.replace(' ', '-')}.csv")
        flat = {f"{source}/{name}": values for source, of in found.errors.items() for name, values in of.items()}
        with atomic_write(self.folder / ERRORS) as temporary:
            temporary.write_bytes(as_bytes(flat))
        write_json(self.folder / EVALUATION, {"format": FORMAT} | found.report)


def _circumstances(fabric: Fabric) -> dict[str, str]:
    if fabric.device.type == "cuda":
        hardware = f"{fabric.world_size} × {torch.cuda.get_device_name(fabric.device)}"
    else:
        hardware = f"{os.cpu_count()} CPU cores" + (f" × {fabric.world_size}" if fabric.world_size > 1 else "")
    command = ["git", "-C", str(settings.ROOT), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or installed elsewhere
        commit = version("dvae_lib")
    return {"date": date.today().isoformat(), "hardware": hardware, "version": commit}


def every_run(profile: str | None = None, data: str | None = None, root: Root | None = None) -> dict[str, Run]:
    """All runs of a profile on some data, trained or not, by name; what is not given is as `settings` says."""
    profile = profile or settings.profile()
    return {name: Run(experiment, profile) for name, experiment in experiments(profile, data, root).items()}


def load_or_train(name: str, profile: str | None = None, data: str | None = None, **changes: float | str | dict) -> Run:
    """The run of this name, trained now if it is not yet. With changes, as beta=1.0, a run of its own."""
    assignments = [f"{what}={json.dumps(value)}" for what, value in changes.items()]
    run = Run(find(name, profile, data).changed(assignments), profile or settings.profile())
    run.train()
    return run
