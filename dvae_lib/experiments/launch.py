"""Trains several runs in parallel, on this machine or on a Ray cluster.

On a CPU, training a small network uses one core well, and several cores poorly.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from multiprocessing.synchronize import Event
from typing import Literal

import torch
from tqdm.auto import tqdm

from dvae_lib import settings
from dvae_lib.experiments.run import Run
from dvae_lib.files import UserError
from dvae_lib.training.checkpoints import read_metrics

Launcher = Literal["local", "ray"]
_MOST = 4  # parallel runs on this machine, to limit memory: each needs more than 1 GiB
_SECONDS = 5.0  # between two updates of the progress, which read a file of each run
_RETRIES = 3  # of a run whose worker or machine has failed; it resumes from its checkpoint


def train_all(
    runs: Sequence[Run], device: str = "auto", jobs: int | None = None, launcher: Launcher = "local"
) -> Iterator[Run]:
    """Trains the runs that are not trained, and yields each run when it is finished, or at once if it already was.

    jobs: the number of parallel runs here; by default one if there is a GPU, else one per core, up to four. The number
    of threads per run may change the last digits of results. launcher: "ray" trains as many runs in parallel as its
    cluster has GPUs, or cores if it has none; all its machines need access to DVAE_RUNS_ROOT and DVAE_CACHE_ROOT. If a
    run fails, or this process is interrupted, the others save their state and stop; all can be resumed.

    Raises UserError if a run fails, a worker is killed or cannot start, or Ray is requested but not installed. A script
    must call this under `if __name__ == "__main__":`, since its workers import the script.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(1)  # in a worker that imports a script without that line; the parent process reports it
    cores = os.cpu_count() or 1
    jobs = jobs or (1 if device != "cpu" and _has_gpu() else min(cores, _MOST))
    todo = [run for run in runs if not run.trained]
    yield from (run for run in runs if run.trained)
    if not todo:
        return
    if launcher == "local" and (jobs == 1 or len(todo) < 2):
        for run in todo:
            run.train(device)
            yield run
        return
    for run in todo:  # prepared here, on all cores; in a worker, numba's threads would change the number of torch's
        run.subsets("train")
    total, before, done = sum(map(pixels, todo)), sum(map(_pixels_so_far, todo)), 0.0
    bar = tqdm(total=round(total), initial=round(before), unit="px", unit_scale=True, desc=f"{len(todo)} runs")
    with _on_ray() if launcher == "ray" else _side_by_side(jobs, cores) as submit, bar as progress:
        running: dict[Future[UserError | None], Run] = {}
        while todo or running:
            # Runs are submitted one by one: after a request to stop, a process pool would start another queued one.
            while todo and (launcher == "ray" or len(running) < jobs):
                run = todo.pop(0)
                running[submit(run, device)] = run
            finished, _ = wait(running, _SECONDS, "FIRST_COMPLETED")
            for future in finished:
                if error := future.result():
                    raise error
                done += pixels(running[future])
                yield running.pop(future)
            # Steps that a killed run logged after its last checkpoint are repeated, but counted once.
            now = done + sum(map(_pixels_so_far, [*todo, *running.values()]))
            progress.n = max(progress.n, round(now))
            progress.refresh()


def _train(run: Run, device: str) -> UserError | None:
    """In a worker: trains a run, without a progress bar, which would overwrite those of others."""
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        run.train(device, quiet=True)
    except UserError as error:
        return error
    return None


def _stop_with_parent() -> None:
    """In a worker: when its parent process ends, SIGTERM makes the training run save its state and stop."""
    if parent := multiprocessing.parent_process():
        wait_for([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _begin(threads: int, started: Event, environment: dict[str, str]) -> None:
    """In a worker, before its first run."""
    started.set()
    os.environ.update(environment)
    torch.set_num_threads(threads)
    # tqdm's default lock is shared between processes, and a worker stopped by a signal would not release it.
    tqdm.set_lock(threading.RLock())
    threading.Thread(target=_stop_with_parent, daemon=True).start()


def _has_gpu() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()


_Submit = Callable[[Run, str], "Future[UserError | None]"]


@contextmanager
def _handler_of_sigterm(handler: Callable | None) -> Iterator[None]:
    """Sets the handler of SIGTERM within the context; None leaves it unchanged. Afterwards restores the previous one.

    Python allows only the main thread to set handlers; in another thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    if handler and before == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        if before is not None:  # None: it was not set from Python and cannot be restored
            signal.signal(signal.SIGTERM, before)


def _exit(number: int, _) -> None:
    """Ends this process by SystemExit, so that its workers are stopped and resources are released."""
    raise SystemExit(128 + number)


@contextmanager
def _side_by_side(jobs: int, cores: int) -> Iterator[_Submit]:
    context, threads = multiprocessing.get_context("spawn"), max(1, cores // jobs)
    others, started = multiprocessing.active_children(), context.Event()
    pool = ProcessPoolExecutor(jobs, context, _begin, (threads, started, settings.environment()))
    with _handler_of_sigterm(_exit), pool as workers:
        try:
            yield lambda run, device: workers.submit(_train, run, device)
        except BrokenProcessPool as error:
            if not started.is_set():
                raise UserError(
                    "No training run could start in a separate process. Such a process imports the calling "
                    'script: put what the script does under a line `if __name__ == "__main__":`, or train with jobs=1.'
                ) from error
            raise UserError(
                "A training run was killed, probably because memory ran out. All runs keep their last checkpoint: "
                "start again, with fewer parallel runs (--jobs 1) if memory is short."
            ) from error
        except BaseException:
            for process in set(multiprocessing.active_children()) - set(others):
                process.terminate()  # a training run then saves its state
            raise


@contextmanager
def _on_ray() -> Iterator[_Submit]:
    """The Ray cluster at RAY_ADDRESS or already running on this machine; if there is none, a new one started here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports to Ray's developers
    try:
        import ray
        from ray.exceptions import LocalRayletDiedError, NodeDiedError, OutOfMemoryError, WorkerCrashedError
    except ImportError:
        raise UserError("Ray is not installed: pip install ray.") from None
    mine = not ray.is_initialized()
    with _handler_of_sigterm(None):  # Ray's handler would remain
        if mine:
            try:
                ray.init(include_dashboard=False, log_to_driver=False)
            except ConnectionError as error:
                raise UserError(
                    f"No Ray cluster answers at RAY_ADDRESS ({error}): start one, or unset it to train on this machine."
                ) from error
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        environment, tasks = {"env_vars": settings.environment()}, []
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_RETRIES, runtime_env=environment)(_train)

        def submit(run: Run, device: str) -> "Future[UserError | None]":
            tasks.append(remote.remote(run, device))
            return tasks[-1].future()

        try:
            yield submit
        except (LocalRayletDiedError, NodeDiedError, OutOfMemoryError, WorkerCrashedError) as error:
            raise UserError(
                f"A training run was killed {_RETRIES + 1} times, probably because memory ran out. All runs keep their "
                "last checkpoint: start again."
            ) from error
        finally:
            for task in tasks:
                ray.cancel(task)  # has no effect on finished tasks
            if mine:
                ray.shutdown()


def pixels(run: Run, step: int | None = None) -> float:
    """The number of pixels that a run processes up to a step, or in total: roughly proportional to its duration."""
    e, seen = run.experiment, 0.0
    for stage in e.stages:
        steps = stage.steps if step is None else min(stage.steps, step)
        seen += steps * e.batch * (e.crop**2 if e.images(stage.name) else e.crop)
        step = None if step is None else step - steps
    return seen


def _pixels_so_far(run: Run) -> float:
    lines = read_metrics(run.folder)
    return pixels(run, int(lines[-1]["step"]) + 1 if lines else 0)
