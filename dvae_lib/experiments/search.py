"""The hyperparameter search of the study: the same for every method, on validation samples, with one seed (chapter 10).

A `Search` is a grid of values of some fields of an experiment. Its trials are smaller than the study's runs: images of
32 pixels, and usually half as many of them. Of all values whose error is at most 3 % above the smallest, the one
nearest to the middle of the initial grid is selected; if it is on an edge, the grid is extended.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import log
from pathlib import Path
from shutil import rmtree
from typing import Any, cast

from dvae_lib import settings
from dvae_lib.experiments import LABELLED, counterfactuals, experiments, find
from dvae_lib.experiments.launch import pixels, train_all
from dvae_lib.experiments.run import Run
from dvae_lib.files import read_json, write_json
from dvae_lib.models import DVAE

TIE = 0.03  # of the smallest error
_PROFILE = "search"

Values = tuple[Any, ...]  # of the fields of a grid, in their order
Errors = Mapping[Values, float]


def pose_error(run: Run) -> float:
    """The EPE in mm of the poses predicted from validation images."""
    return run.evaluation["from"]["image"]["epe"]


def image_error(run: Run) -> float:
    """The RMSE, on [−1, 1], of images with the pose of one validation sample and the content of another."""
    pairs = counterfactuals.draw_pairs(run)
    drawn = counterfactuals.transfer(cast(DVAE, run.load()), pairs.inputs)
    return (drawn - pairs.targets["image"]).square().mean((1, 2, 3)).sqrt().mean().item()


def error_of(name: str) -> Callable[[Run], float]:
    """The mean error of a quantity predicted from validation images: in mm for CPose, in degrees for the viewpoint."""
    return lambda run: run.evaluation["from"]["image"][name]


@dataclass(frozen=True)
class Search:
    """The trials for an experiment of the study.

    grid: by field, the values that are tried, in order. smaller: the settings in which trials differ from the study's
    runs. also: other experiments that use the values selected here.
    """

    name: str
    grid: Mapping[str, Sequence]
    smaller: Mapping[str, Any]
    error: Callable[[Run], float] = pose_error
    also: tuple[str, ...] = ()

    def trial(self, values: Values) -> Run:
        changes = {"size": 32, "seed": 0} | dict(self.smaller) | dict(zip(self.grid, values, strict=True))
        return Run(find(self.name, "study").with_overrides(**changes), _PROFILE)

    def choose(self, errors: Errors) -> Values:
        """The values that the study uses, out of all trials."""
        limit = min(errors.values()) * (1 + TIE)
        close = (values for values, error in errors.items() if error <= limit)
        return min(close, key=lambda values: (self._distance(values), errors[values]))

    def missing(self, errors: Errors) -> list[Values]:
        """The remaining trials: the grid, then another row beyond each edge on which the selected value is."""
        if missing := [values for values in product(*self.grid.values()) if values not in errors]:
            return missing
        chosen, beyond = self.choose(errors), []
        for i, tried in enumerate(self.grid.values()):
            line = {values[i] for values in errors} if isinstance(chosen[i], float) else set()
            for edge, ratio in ((max, tried[1] / tried[0]), (min, tried[0] / tried[1])) if line else ():
                if chosen[i] == edge(line):
                    rows = list(self.grid.values())
                    rows[i] = [float(f"{chosen[i] * ratio:.6g}")]
                    beyond += [values for values in product(*rows) if values not in errors]
        return beyond

    def _distance(self, values: Values) -> float:
        """The distance from the middle of the grid, in grid steps."""
        distance = 0.0
        for value, tried in zip(values, self.grid.values(), strict=True):
            middle = tried[len(tried) // 2]
            if isinstance(value, float):
                distance += abs(log(value / middle) / log(tried[1] / tried[0]))
            else:
                distance += abs(tried.index(value) - tried.index(middle))
        return distance


_RATES = 1e-3 / 2, 1e-3, 2e-3
_TWICE = 1e-3, 2e-3, 4e-3
_ROTATIONS = "matrix", "axis-angle"
_ON_STB, _ON_RHD = 800, 650  # half the images of the study's runs
# The middle values are those of earlier versions of this book.
SEARCHES = (
    Search("dvae-pose", {"lr": _TWICE, "beta": (5e-4, 2e-3, 8e-3)}, {"embedding_steps": _ON_STB}),
    Search("cross-modal", {"lr": _RATES, "beta": (1e-3, 4e-3, 1.6e-2)}, {"steps": _ON_STB}),
    Search("two-stream", {"lr": _RATES, "rotation": _ROTATIONS}, {"steps": _ON_STB}),
    Search("resnet", {"lr": _RATES}, {"steps": _ON_STB}, also=("estimator",)),
    Search("dvae-pose-rhd", {"lr": _TWICE, "beta": (2.5e-3, 1e-2, 4e-2)}, {"embedding_steps": _ON_RHD}),
    Search("cross-modal-rhd", {"lr": _RATES, "beta": (1e-3, 4e-3, 1.6e-2)}, {"steps": _ON_RHD}),
    Search("two-stream-rhd", {"lr": _RATES, "rotation": _ROTATIONS}, {"steps": _ON_RHD}),
    Search("resnet-rhd", {"lr": _RATES}, {"steps": _ON_RHD}),
    Search("only-cpose-rhd", {"lr": _RATES}, {"steps": _ON_RHD}, error_of("cpose")),
    Search("only-viewpoint-rhd", {"lr": _RATES, "rotation": _ROTATIONS}, {"steps": _ON_RHD}, error_of("viewpoint")),
    Search(
        "dvae-image",
        {"lr": _TWICE, "beta": (1.0, 2.0, 4.0)},
        {"steps": 500, "embeddings": (), "embedding_steps": None},
        image_error,
        also=("dvae-image-place", "dvae-image-joint", "dvae-image-8", "dvae-zu", "dvae-zu-without-loop"),
    ),
    Search("steady-joint", {"lr": _RATES}, {"steps": 700}),
    Search("steady-alternating", {"lr": _RATES}, {"steps": 700}, also=("steady-passes",)),
    # With 10 % of the labels, for all shares. For options that are not numbers, the middle is the earlier value.
    Search(
        "weak-10",
        {"mixture": ("natural", "halves"), "embedding_decoders": (("viewpoint",), ())},
        {},
        also=tuple(f"{kind}-{m}" for kind in ("weak", "both") for m in LABELLED if (kind, m) != ("weak", 10)),
    ),
)


def searches(data: str) -> list[Search]:
    """The searches on some data; true images of pose transfer exist for rendered hands only."""
    known = experiments("study", data)
    rendered = data == "synthetic"
    return [search for search in SEARCHES if search.name in known and (rendered or search.error is not image_error)]


def folder() -> Path:
    """The folder of the results."""
    return settings.study_root() / settings.data()


def found() -> dict[str, list[dict[str, Any]]]:
    """The trials by name of the search: values, error, and pixels, date, hardware and version of the training run."""
    path = folder() / "search.json"
    return read_json(path) if path.exists() else {}


def errors(search: Search, tried: Mapping[str, list[dict[str, Any]]]) -> dict[Values, float]:
    """The errors of a search's trials, by their values; trials with another configuration are ignored."""
    result = {}
    for trial in tried.get(search.name, []):
        if set(search.grid) - set(trial["values"]):
            continue
        values = tuple(_hashable(trial["values"][name]) for name in search.grid)
        if trial["run"] == search.trial(values).folder.name:
            result[values] = trial["error"]
    return result


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def run_searches(device: str = "auto", jobs: int | None = None) -> Iterator[dict[str, Any]]:
    """Trains the remaining trials, and yields each one once it is stored in search.json; weights are not kept."""
    while True:
        tried, waiting = found(), {}
        for search in searches(settings.data()):
            for values in search.missing(errors(search, tried)):
                run = search.trial(values)
                waiting[run.folder] = search, values
        if not waiting:
            return
        runs = [search.trial(values) for search, values in waiting.values()]
        for run in train_all(runs, device, jobs):
            search, values = waiting[run.folder]
            trial = {"values": dict(zip(search.grid, values, strict=True)), "error": search.error(run)}
            trial |= {"run": run.folder.name, "pixels": pixels(run), **run.provenance}
            tried.setdefault(search.name, []).append(trial)
            write_json(folder() / "search.json", tried)
            rmtree(run.folder)
            yield {"name": search.name, **trial}
