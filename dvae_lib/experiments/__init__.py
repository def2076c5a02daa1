"""Every run of the book as data, in three profiles; `run.load_or_train(name)` is what chapters call."""

from collections.abc import Iterable

from dvae_lib import settings
from dvae_lib.experiments.catalogue import BETAS, DIMENSIONS, EXPERIMENTS, LABELLED
from dvae_lib.experiments.experiment import Experiment
from dvae_lib.experiments.profiles import sized
from dvae_lib.files import UserError
from dvae_lib.hand import Root

__all__ = ["BETAS", "DIMENSIONS", "LABELLED", "Experiment", "experiments", "find", "with_seeds"]


def experiments(profile: str | None = None, data: str | None = None, root: Root | None = None) -> dict[str, Experiment]:
    """All experiments of a profile on some data, by name; what is not given is as `settings` says.

    Only `full` has what is repeated with other seeds.
    """
    profile, data, root = profile or settings.profile(), data or settings.data(), root or settings.root_joint()
    return {e.name: sized(e, profile, root) for e in EXPERIMENTS[data] if e.seed == 0 or profile == "full"}


def with_seeds(name: str, known: Iterable[str]) -> list[str]:
    """Of the known experiments the one of this name, and those that differ from it by their seed only."""
    return [other for other in known if other.partition("-seed-")[0] == name]


def find(name: str, profile: str | None = None, data: str | None = None, root: Root | None = None) -> Experiment:
    """Raises UserError, naming what there is, if there is no such experiment."""
    known = experiments(profile, data, root)
    if name not in known:
        raise UserError(f"There is no experiment “{name}” on {data or settings.data()} data: {', '.join(known)}.")
    return known[name]
