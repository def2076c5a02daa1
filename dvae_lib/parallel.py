"""Several runs at a time: on a CPU one training of a small network keeps one core busy, and many cores badly."""

import logging
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait

import torch
from tqdm.auto import tqdm

from dvae_lib.runs import Run
from dvae_lib.training import read_metrics

_MOST = 4  # at a time, for the memory's sake: each takes more than a GiB
_SECONDS = 1.0  # between two looks at how far they are


def train_all(runs: Sequence[Run], device: str = "auto", jobs: int | None = None) -> Iterator[Run]:
    """Trains the runs that are not trained, and gives each of them when it is done, or at once if it was.

    jobs: how many at a time; by default one where there is a GPU, else one a core, up to four. How many threads a run
    then has may change its last digits. If one fails, its error is raised; the others can be continued.
    """
    cores = os.cpu_count() or 1
    jobs = jobs or (1 if device != "cpu" and torch.cuda.is_available() else min(cores, _MOST))
    todo = [run for run in runs if not run.trained]
    yield from (run for run in runs if run.trained)
    if jobs == 1 or len(todo) < 2:
        for run in todo:
            run.train(device)
            yield run
        return
    for run in todo:  # here, on all cores; and numba's threads, once started, would give those of torch their number
        run.parts("train")
    total, before = sum(_pixels(run) for run in todo), sum(_pixels(run, _step(run)) for run in todo)
    workers = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _start, (max(1, cores // jobs),))
    bar = tqdm(total=round(total), initial=round(before), unit="px", unit_scale=True, desc=f"{len(todo)} runs")
    with workers, bar as progress:
        # Without bars of their own, which would write over one another.
        running = {workers.submit(run.train, device, quiet=True): run for run in todo}
        try:
            while running:
                finished, _ = wait(running, _SECONDS, "FIRST_COMPLETED")
                progress.n = round(sum(_pixels(run) if run.trained else _pixels(run, _step(run)) for run in todo))
                progress.refresh()
                for future in finished:
                    future.result()
                    yield running.pop(future)
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise


def _start(threads: int) -> None:
    torch.set_num_threads(threads)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


def _step(run: Run) -> int:
    lines = read_metrics(run.folder)
    return int(lines[-1]["step"]) + 1 if lines else 0


def _pixels(run: Run, step: int | None = None) -> float:
    """How many pixels a run sees up to a step, or in all: about what its time is proportional to."""
    e, seen = run.experiment, 0.0
    for stage in e.stages:
        steps = stage.steps if step is None else min(stage.steps, step)
        seen += steps * e.batch * (e.size**2 if e.images(stage.name) else e.size)
        step = None if step is None else step - steps
    return seen
