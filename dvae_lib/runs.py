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
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path

import filelock
import numpy as np
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save_file

from dvae_lib import settings
from dvae_lib.datasets import RECIPES, open_dataset, split
from dvae_lib.datasets.batches import Batches, Part
from dvae_lib.datasets.cache import Dataset
from dvae_lib.evaluation import Model, evaluate, mean_labels
from dvae_lib.experiments import Experiment, experiments, find
from dvae_lib.files import atomic_write, read_json, write_json
from dvae_lib.hand import Root
from dvae_lib.modalities import modality
from dvae_lib.models import DVAE, CrossModalVAE
from dvae_lib.regressors import Regressor
from dvae_lib.training import WEIGHTS, load_weights, read_metrics, train

CONFIG, MADE, EVALUATION, ERRORS = "config.json", "made.json", "evaluation.json", "errors.safetensors"


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
        return all((self.folder / name).exists() for name in (EVALUATION, ERRORS))

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

    def training_batches(self, stage: str, device: torch.device | str = "cpu") -> Batches:
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
        return Batches(parts, e.batch, e.images(stage), e.augmentation, e.root, seed=e.seed, device=device)

    def train(self, device: str = "auto", quiet: bool = False) -> None:
        """Trains to the end, or from where it was left, and evaluates; does nothing if that is done.

        quiet: without a progress bar.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder / ".lock")
        with lock:
            if not self.trained:
                self._train(device, quiet)

    def _train(self, device: str, quiet: bool) -> None:
        e = self.experiment
        write_json(self.folder / CONFIG, self.config)
        fabric = Fabric(accelerator=device, devices=1, precision=e.precision)
        fabric.launch()
        model = self.build()
        if not (self.folder / WEIGHTS).exists():
            stages = [(stage, self.training_batches(stage.name, fabric.device)) for stage in e.stages]
            write_json(self.folder / MADE, {"profile": self.profile} | _circumstances(fabric.device))
            how = {"lr": e.lr, "decay": e.decay, "seed": e.seed}
            train(model, stages, self.folder, fabric, **how, description=e.name, quiet=quiet)
        model = self.load()
        average = mean_labels(Batches(self.parts("train")[:1], 256, [], root=e.root).in_order())
        found = evaluate(model, self.batches("test").in_order(), average, e.root)
        for name, score in found.scores.items():
            score.to_csv(self.folder / f"pck-{name.replace(' ', '-')}.csv")
        flat = {f"{source}/{name}": values for source, of in found.errors.items() for name, values in of.items()}
        with atomic_write(self.folder / ERRORS) as temporary:
            save_file(flat, temporary)
        write_json(self.folder / EVALUATION, found.report)


def _circumstances(device: torch.device) -> dict[str, str]:
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()} CPU cores"
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


def load_or_train(name: str, profile: str | None = None, data: str | None = None) -> Run:
    """The run of this name, trained now if it is not yet."""
    run = Run(find(name, profile, data), profile or settings.profile())
    run.train()
    return run
