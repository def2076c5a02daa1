"""All runs of the book and of the study as data, in four profiles; chapters call `load_or_train(name)`."""

from importlib import import_module
from typing import Any

from dvae_lib import settings
from dvae_lib.experiments.catalogue import BETAS, DIMENSIONS, LABELLED, experiments_on
from dvae_lib.experiments.experiment import Experiment
from dvae_lib.experiments.kinds import CrossModalExperiment, DisentangledExperiment, RegressionExperiment
from dvae_lib.experiments.profiles import for_profile
from dvae_lib.files import UserError
from dvae_lib.hand import Root

# These modules import this one, so they are imported on first use.
_LATER = {"Run": "run", "every_run": "run", "load_or_train": "run", "train_all": "launch"}
__all__ = [
    "BETAS",
    "DIMENSIONS",
    "LABELLED",
    "CrossModalExperiment",
    "DisentangledExperiment",
    "Experiment",
    "RegressionExperiment",
    "Run",
    "every_run",
    "experiments",
    "find",
    "load_or_train",
    "train_all",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


def experiments(
    profile: str | None = None, data: str | None = None, root_joint: Root | None = None
) -> dict[str, Experiment]:
    """All experiments of a profile on some data, by name; missing arguments are taken from `settings`."""
    profile, data = profile or settings.profile(), data or settings.data()
    root_joint = root_joint or settings.root_joint()
    return {e.name: for_profile(e, profile, root_joint) for e in experiments_on(data)}


def find(name: str, profile: str | None = None, data: str | None = None, root_joint: Root | None = None) -> Experiment:
    """The experiment of this name. Raises UserError, listing all names, if there is none."""
    known = experiments(profile, data, root_joint)
    if name not in known:
        raise UserError(
            f"There is no experiment “{name}” on {data or settings.data()} data: choose one of {', '.join(known)}."
        )
    return known[name]
