"""Every run of the book as data, in three profiles; `load_or_train(name)` is what chapters call.

A run lives in runs/<profile>/<name>-<hash of its configuration>/. The same configuration is the same folder:
trained once, loaded ever after.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import filelock
import numpy as np
import torch
from lightning_fabric import Fabric

from dvae_lib import settings
from dvae_lib.datasets import open_dataset, split
from dvae_lib.datasets.batches import Augmentation, Batches
from dvae_lib.datasets.cache import Dataset
from dvae_lib.evaluation import evaluate, mean_pose
from dvae_lib.files import UserError, read_json, write_json
from dvae_lib.models import CrossModalVAE, modality
from dvae_lib.training import WEIGHTS, load_weights, read_metrics, train

CONFIG, EVALUATION = "config.json", "evaluation.json"


@dataclass(frozen=True)
class Experiment:
    """One run: what is learnt, from what, and for how long. The defaults are the papers' where they say."""

    name: str
    about: str  # one line for `dvae list`
    weights: dict[str, float]  # the modalities, each with its λ in Eq. 1
    encoded: tuple[str, ...]  # those that have an encoder
    schedule: str = "joint"  # or "alternating"
    data: tuple[str, ...] = ("synth-stb",)  # a batch takes equal shares; the run is tested on the first
    options: dict[str, dict] = field(default_factory=dict)  # of each data set
    size: int = 256  # pixels of the crop (supplement, Sec. B)
    d: int = 64  # dimensions of z (Sec. 4.1)
    beta: float = 0.01  # Sec. 4.1, for pose; given for 256 pixels and rescaled to `size`
    width: int = 1  # kernels of the image decoder, times the supplement's
    resnet: str = "random"  # start of ResNet-18, or "imagenet"
    steps: int = 150_000  # not given in the paper
    batch: int = 32  # Sec. 4.1
    lr: float = 1e-4  # Sec. 4.1
    decay: bool = False  # of the learning rate, to zero
    precision: str = "bf16-mixed"
    augmentation: Augmentation = Augmentation(rotation=180.0, flip=True)  # Sec. 4.4
    seed: int = 0

    @property
    def images(self) -> list[str]:
        return [name for name in self.weights if name in ("image", "depth")]


_ALL = {"image": 0.01, "keypoints": 1.0, "pose": 1.0}
_EXPERIMENTS = [
    Experiment("vae-pose", "a plain VAE of hand poses", {"pose": 1.0}, ("pose",)),
    Experiment("cross-modal", "image, keypoints and pose in one latent, jointly", _ALL, tuple(_ALL)),
    Experiment(
        "cross-modal-alternating",
        "the same, one input a step (Spurr et al.)",
        _ALL,
        tuple(_ALL),
        "alternating",
    ),
    Experiment("cross-modal-depth", "depth in place of the image", {"depth": 0.01, "pose": 1.0}, ("depth", "pose")),
    Experiment("cross-modal-mixed", "photographs and as many rendered hands", _ALL, tuple(_ALL)),
]

# What a profile changes in every experiment, and how many steps each takes in it.
_PROFILES = {
    "smoke": {"size": 32, "lr": 1e-3, "batch": 8},
    "laptop": {"size": 64, "lr": 1e-3, "decay": True, "width": 2},
    "full": {},
}
_STEPS = {
    "vae-pose": {"smoke": 20, "laptop": 3000, "full": 50_000},
    "cross-modal": {"smoke": 4, "laptop": 2000},
    "cross-modal-alternating": {"smoke": 4, "laptop": 2000},
    "cross-modal-depth": {"smoke": 4, "laptop": 1000},
    "cross-modal-mixed": {"smoke": 4, "laptop": 1500},
}
_DATA_OPTIONS = {
    "smoke": {"synth-stb": {"frames_per_sequence": 16}, "synth-rhd": {"count": 128}},
    "laptop": {"synth-rhd": {"count": 6000}},
    "full": {},
}


def experiments(profile: str | None = None, data: str | None = None) -> dict[str, Experiment]:
    """All experiments of a profile on some data, by name."""
    profile, data = profile or settings.profile(), data or settings.data()
    return {e.name: _specialise(e, profile, data) for e in _EXPERIMENTS if _makes_sense(e, data)}


def _makes_sense(experiment: Experiment, data: str) -> bool:
    if experiment.name == "cross-modal-mixed":
        return data == "realhand"
    return data == "synthetic" or experiment.name == "cross-modal"


def _specialise(experiment: Experiment, profile: str, data: str) -> Experiment:
    sets = {"synthetic": ("synth-stb",), "realhand": ("realhand",)}[data]
    if experiment.name == "cross-modal-mixed":
        sets += ("synth-rhd",)
    options = {name: _DATA_OPTIONS[profile].get(name, {}) for name in sets}
    steps = _STEPS[experiment.name].get(profile, experiment.steps)
    return replace(experiment, data=sets, options=options, steps=steps, **_PROFILES[profile])


def find(name: str, profile: str | None = None, data: str | None = None) -> Experiment:
    """Raises UserError, naming what there is, if there is no such experiment."""
    known = experiments(profile, data)
    if name not in known:
        raise UserError(f"There is no experiment “{name}” on {data or settings.data()} data: {', '.join(known)}.")
    return known[name]


@dataclass
class Run:
    """An experiment and the folder where it was, or will be, trained."""

    experiment: Experiment
    profile: str

    @property
    def folder(self) -> Path:
        content = json.dumps(dataclasses.asdict(self.experiment), sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        return settings.runs_root() / self.profile / f"{self.experiment.name}-{digest}"

    @property
    def trained(self) -> bool:
        return (self.folder / EVALUATION).exists()

    @property
    def evaluation(self) -> dict:
        return read_json(self.folder / EVALUATION)

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """The training curves: step, loss and the terms of Eq. 1, each an array (NaN where not logged)."""
        lines = read_metrics(self.folder)
        names = dict.fromkeys(name for line in lines for name in line)
        return {name: np.array([line.get(name, np.nan) for line in lines]) for name in names}

    def build(self) -> CrossModalVAE:
        e = self.experiment
        torch.manual_seed(e.seed)
        modalities = [modality(name, e.size, weight) for name, weight in e.weights.items()]
        return CrossModalVAE(modalities, e.d, e.beta, e.encoded, e.resnet, e.width)

    def load(self) -> CrossModalVAE:
        """The trained model, on the CPU, ready to be asked."""
        model = self.build()
        load_weights(model, self.folder / WEIGHTS)
        return model.eval()

    def parts(self, which: str) -> list[tuple[Dataset, np.ndarray]]:
        """The data sets with the indices of their "train" or "test" samples; only the first is tested on."""
        e = self.experiment
        names = e.data if which == "train" else e.data[:1]
        sets = [open_dataset(name, e.size, **e.options[name]) for name in names]
        return [(dataset, split(dataset)[which == "test"]) for dataset in sets]

    def batches(self, which: str, batch_size: int = 256) -> Batches:
        """Batches of the "train" or "test" samples as they are, without augmentation."""
        return Batches(self.parts(which), batch_size, self.experiment.images)

    def train(self, device: str = "auto") -> None:
        """Trains to the end, or from where it was left, and evaluates; does nothing if that is done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder / ".lock")
        with lock:
            if not self.trained:
                self._train(device)

    def _train(self, device: str) -> None:
        e = self.experiment
        write_json(self.folder / CONFIG, dataclasses.asdict(e))
        fabric = Fabric(accelerator=device, devices=1, precision=e.precision)
        fabric.launch()
        model = self.build()
        if not (self.folder / WEIGHTS).exists():
            batches = Batches(self.parts("train"), e.batch, e.images, e.augmentation, seed=e.seed, device=fabric.device)
            train(
                model, batches, self.folder, fabric, steps=e.steps, lr=e.lr, decay=e.decay,
                schedule=e.schedule, seed=e.seed, description=e.name,
            )  # fmt: skip
        model = self.load()
        average = mean_pose(Batches(self.parts("train")[:1], 256, []).in_order())
        write_json(self.folder / EVALUATION, evaluate(model, self.batches("test").in_order(), average))


def load_or_train(name: str, profile: str | None = None, data: str | None = None) -> Run:
    """The run of this name, trained now if it is not yet."""
    run = Run(find(name, profile, data), profile or settings.profile())
    run.train()
    return run
