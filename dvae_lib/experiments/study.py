"""The study: the runs that the ten claims rest on, several seeds of each, and the one look at the test (chapter 10).

What is chosen is chosen on validation samples with seed 0 (`search`). Then settings, limits and numbers of seeds are
written into `registered.json` and committed. After that seeds 1 … n are trained, each run's record (`records`) is made
from the test samples as it ends, and nothing of what was registered may change any more.
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
    """Where the study of today's data is kept."""
    return settings.study_root() / settings.data()


def seeds(experiment: Experiment) -> int:
    """How many trainings the study reports: five of what the first claims compare and of small runs, else three; one of
    what no claim asks for. On the digits three of all, and one of what judges.
    """
    if "digits" in experiment.data:
        return 1 if experiment.name == "estimator" else 3
    name = experiment.name.removesuffix("-rhd")
    if name in _SHOWN_ONLY:
        return 1
    return 5 if name in _FIVE_SEEDS or experiment.size == 32 else 3


def planned() -> dict[str, int]:
    """Every experiment of the study on today's data, with its number of seeds."""
    return {name: seeds(e) for name, e in experiments(_PROFILE).items()}


def runs(most: int | None = None) -> list[Run]:
    """All that are to be trained, the first seed of every experiment before the second, at most so many seeds.

    The estimator, by which drawn images are judged, comes first.
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
    """Of a run's record, without the ends of its two files."""
    return folder() / "runs" / f"{run.experiment.name}-seed-{run.experiment.seed}"


def recorded(run: Run) -> bool:
    """Whether there is a record of this run, with its present configuration."""
    file = path(run).with_suffix(".json")
    return file.exists() and read_json(file).get("run") == run.folder.name


def load(name: str) -> list[Record]:
    """The records that there are of an experiment, by rising seed; none of one that the data do not have."""
    if name not in planned():
        return []
    e = find(name, _PROFILE)
    every = (Run(replace(e, seed=seed), _PROFILE) for seed in range(1, seeds(e) + 1))
    return [Record.load(path(run)) for run in every if recorded(run)]


def progress() -> str:
    """What is done and what is left, and how long that takes at the speed of what is done, in sentences."""
    every = runs()
    left = [run for run in every if not recorded(run)]
    done, todo = len(every) - len(left), sum(map(pixels, left))
    tried = sum(len(trials) for trials in search.found().values())
    texts = [f"{tried} trials of the search; {done} of {len(every)} runs are done, {todo / 1e6:.0f} Mpx are left."]
    if left:
        hours = [todo / 3600 / speed for speed in (1e6, 0.5e6)]
        texts.append("Two cores make 0.5 to 1 Mpx/s: {:.1f} to {:.1f} hours.".format(*hours))
    return " ".join(texts)


def settings_digest(experiment: Experiment) -> str:
    """Of all that says what is trained, but for the seed."""
    config = Run(replace(experiment, seed=0), _PROFILE).config
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def to_register() -> dict[str, Any]:
    """Settings, as their digests, numbers of seeds, and limits, as they are now."""
    known = experiments(_PROFILE)
    return {
        "settings": {name: settings_digest(e) for name, e in known.items()},
        "seeds": planned(),
        "limits": json.loads(json.dumps(limits_on(settings.data()))),
    }


def first_losses(experiment: Experiment) -> list[float]:
    """What the stages of a training begin with, on few and small images, so that it can be computed again anywhere."""
    few = {name: options for name, options in find(experiment.name, "smoke").options.items() if name in experiment.data}
    small: dict[str, Any] = {"size": 32} if experiment.size else {}
    e = replace(experiment, batch=8, precision="32-true", seed=0, options=few, **small)
    run, model, losses = Run(e, _PROFILE), e.build(), []
    for stage in (stage for stage in e.stages if stage.steps):
        torch.manual_seed(0)
        losses.append(model(run.training_batches(stage.name).batch(0), stage.forward_arg(0))[0].item())
    return losses


def register() -> None:
    """Writes what is to be committed before the test is opened. Once it is open, other experiments can join, but
    nothing can change: raises UserError then.
    """
    file, now = folder() / "registered.json", to_register()
    there = read_json(file) if file.exists() else {}
    changed = [what for what in _changed(there, now) if not what.endswith(" (new)")]
    if changed and any((folder() / "runs").glob("*.json")):
        raise UserError(
            f"The test is open: {folder() / 'runs'} has records. {', '.join(changed)} cannot change any more."
        )
    write_json(file, now | {"losses": {e.name: first_losses(e) for e in experiments(_PROFILE).values()}})


def registered_in() -> str:
    """The commit in which settings, limits and numbers of seeds were written down.

    Raises UserError if they are not committed, or differ now.
    """
    file = folder() / "registered.json"
    if not file.exists():
        raise UserError(f"{file} is missing: run `dvae study --register`, and commit it, before the test is opened.")
    there, now = read_json(file), to_register()
    if changed := sorted(_changed(there, now)):
        raise UserError(
            f"{', '.join(changed)} differ from what {file} holds: the test is opened with the settings, seeds and "
            "limits that were written down before. Restore them."
        )
    if _git("status", "--porcelain", "--", str(file)):
        raise UserError(f"{file} is not committed: commit it before the test is opened.")
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
            f"{folder()} lies in no git repository, where what was registered could be looked up."
        ) from error


def estimator(device: str = "auto") -> Regressor | None:
    """What judges drawn images: its first seed, trained now if it is not here. None where the data have none."""
    known = experiments(_PROFILE)
    if "estimator" not in known:
        return None
    run = Run(replace(known["estimator"], seed=1), _PROFILE)
    run.train(device)
    return cast(Regressor, run.load())


def open_test(most: int | None = None, device: str = "auto", jobs: int | None = None) -> Iterator[Run]:
    """Trains what has no record yet, keeps each one's record as it ends, and gives the run. Weights are not kept, but
    for the estimator's.

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
