"""The study: the runs behind the ten claims, several seeds of each, and their single test-set evaluation (chapter 10).

All choices are made on validation samples with seed 0 (`search`). Then settings, thresholds and numbers of seeds are
written to `registered.json` and committed. After that, seeds 1 … n are trained, the record of each run (`records`) is
computed from the test samples when it ends, and nothing that was registered may change.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any, cast

import torch

from dvae_lib import settings
from dvae_lib.experiments import Experiment, experiments, find, search
from dvae_lib.experiments.launch import pixels, train_all
from dvae_lib.experiments.limits import limits_on
from dvae_lib.experiments.records import Record, measure
from dvae_lib.experiments.run import Run
from dvae_lib.files import UserError, read_json, write_json
from dvae_lib.models import Regressor

_PROFILE = "study"
_FIVE_SEEDS = ("dvae-pose", "cross-modal")
_SHOWN_ONLY = ("vae-pose", "cross-modal-depth", "dvae-image-joint", "dvae-pose-depth")


def folder() -> Path:
    """The folder of the study on the selected data."""
    return settings.study_root() / settings.data()


def seeds(experiment: Experiment) -> int:
    """The number of training runs that the study reports: five for the models of the first claims and for small runs,
    else three; one for some that are only shown. On the digits three, and one of the estimator.
    """
    if "digits" in experiment.data:
        return 1 if experiment.name == "estimator" else 3
    name = experiment.name.removesuffix("-rhd")
    if name in _SHOWN_ONLY:
        return 1
    return 5 if name in _FIVE_SEEDS or experiment.size == 32 else 3


def planned() -> dict[str, int]:
    """Every experiment of the study on the selected data, with its number of seeds."""
    return {name: seeds(e) for name, e in experiments(_PROFILE).items()}


def runs(most: int | None = None) -> list[Run]:
    """All runs of the study, the first seed of every experiment before the second. most: the maximum number of seeds.

    The estimator, which evaluates generated images, comes first.
    """
    known = list(experiments(_PROFILE).values())
    known.sort(key=lambda e: e.name != "estimator")
    count = max(map(seeds, known))
    return [
        Run(replace(e, seed=seed), _PROFILE)
        for seed in range(1, min(count, most or count) + 1)
        for e in known
        if seed <= seeds(e)
    ]


def path(run: Run) -> Path:
    """The path of a run's record, without the suffixes of its two files."""
    return folder() / "runs" / f"{run.experiment.name}-seed-{run.experiment.seed}"


def recorded(run: Run) -> bool:
    """Whether there is a record of this run, with its current configuration."""
    file = path(run).with_suffix(".json")
    return file.exists() and read_json(file).get("run") == run.folder.name


def load(name: str) -> list[Record]:
    """The existing records of an experiment, by increasing seed; none if the data do not have the experiment."""
    if name not in planned():
        return []
    e = find(name, _PROFILE)
    every = (Run(replace(e, seed=seed), _PROFILE) for seed in range(1, seeds(e) + 1))
    return [Record.load(path(run)) for run in every if recorded(run)]


def progress() -> str:
    """What is done and what remains, with an estimate of the remaining time, in sentences."""
    every = runs()
    left = [run for run in every if not recorded(run)]
    done, todo = len(every) - len(left), sum(map(pixels, left))
    tried = sum(len(trials) for trials in search.found().values())
    texts = [f"{tried} trials of the search; {done} of {len(every)} runs are done, {todo / 1e6:.0f} Mpx remain."]
    if left:
        hours = [todo / 3600 / speed for speed in (1e6, 0.5e6)]
        texts.append("Two cores process 0.5 to 1 Mpx/s: {:.1f} to {:.1f} hours.".format(*hours))
    return " ".join(texts)


def settings_digest(experiment: Experiment) -> str:
    """A hash of all settings that determine what is trained, except the seed."""
    config = Run(replace(experiment, seed=0), _PROFILE).config
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def to_register() -> dict[str, Any]:
    """The current settings (as digests), numbers of seeds, and thresholds."""
    known = experiments(_PROFILE)
    return {
        "settings": {name: settings_digest(e) for name, e in known.items()},
        "seeds": planned(),
        "limits": json.loads(json.dumps(limits_on(settings.data()))),
    }


def first_losses(experiment: Experiment) -> list[float]:
    """The first loss of each stage of a training run, on few and small images, so that any machine can recompute it."""
    few = {name: options for name, options in find(experiment.name, "smoke").options.items() if name in experiment.data}
    small: dict[str, Any] = {"size": 32} if experiment.size else {}
    e = replace(experiment, batch=8, precision="32-true", seed=0, options=few, **small)
    run, model, losses = Run(e, _PROFILE), e.build(), []
    for stage in (stage for stage in e.stages if stage.steps):
        torch.manual_seed(0)
        losses.append(model(run.training_batches(stage.name).batch(0), stage.forward_arg(0))[0].item())
    return losses


def register() -> None:
    """Writes what must be committed before the test set is evaluated. After that, experiments can be added, but not
    changed: this raises UserError.
    """
    file, now = folder() / "registered.json", to_register()
    there = read_json(file) if file.exists() else {}
    changed = [what for what in _changed(there, now) if not what.endswith(" (new)")]
    if changed and any((folder() / "runs").glob("*.json")):
        raise UserError(
            f"The test set has been evaluated: {folder() / 'runs'} has records. {', '.join(changed)} cannot change now."
        )
    write_json(file, now | {"losses": {e.name: first_losses(e) for e in experiments(_PROFILE).values()}})


def registered_in() -> str:
    """The commit in which settings, thresholds and numbers of seeds were registered.

    Raises UserError if they are not committed, or have changed.
    """
    file = folder() / "registered.json"
    if not file.exists():
        raise UserError(
            f"{file} is missing: run `dvae study --register`, and commit it, before the test set is evaluated."
        )
    there, now = read_json(file), to_register()
    if changed := sorted(_changed(there, now)):
        raise UserError(
            f"{', '.join(changed)} differ from {file}: the test set is evaluated only with the settings, seeds and "
            "thresholds that were registered before. Restore them."
        )
    if _git("status", "--porcelain", "--", str(file)):
        raise UserError(f"{file} is not committed: commit it before the test set is evaluated.")
    return _git("log", "-1", "--format=%h", "--", str(file))


def _changed(there: Mapping, now: Mapping) -> Iterator[str]:
    for part in now:
        for name in {*there.get(part, {}), *now[part]}:
            if there.get(part, {}).get(name) != now[part].get(name):
                yield f"the {part} of {name}" + ("" if name in there.get(part, {}) else " (new)")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(folder()), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"{folder()} is not in a git repository, which must contain the registered settings."
        ) from error


def estimator(device: str = "auto") -> Regressor | None:
    """The model that evaluates generated images: its first seed, trained now if missing. None if the data have none."""
    known = experiments(_PROFILE)
    if "estimator" not in known:
        return None
    run = Run(replace(known["estimator"], seed=1), _PROFILE)
    run.train(device)
    return cast(Regressor, run.load())


def open_test(most: int | None = None, device: str = "auto", jobs: int | None = None) -> Iterator[Run]:
    """Trains the runs without a record, stores the record of each one when it ends, and yields the run. Only the
    estimator's weights are kept.

    Raises UserError if what was registered is not committed, or has changed.
    """
    commit = registered_in()
    todo = [run for run in runs(most) if not recorded(run)]
    judge = estimator(device) if todo else None
    for run in train_all(todo, device, jobs):
        record = measure(run, judge)
        about = {"run": run.folder.name, "registered": commit, "pixels": pixels(run), **run.provenance}
        Record(about | record.numbers, record.arrays).save(path(run))
        yield run
        if run.experiment.name != "estimator":
            rmtree(run.folder)
