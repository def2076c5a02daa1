"""Several runs at a time: side by side on this machine, or over a cluster by Ray.

On a CPU one training of a small network keeps one core busy, and many cores badly.
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
_MOST = 4  # at a time on this machine, for the memory's sake: each takes more than a GiB
_SECONDS = 5.0  # between two looks at how far they are, which read a file of each
_RETRIES = 3  # of a run whose worker, or its machine, has died; it goes on from its checkpoint


def train_all(
    runs: Sequence[Run], device: str = "auto", jobs: int | None = None, launcher: Launcher = "local"
) -> Iterator[Run]:
    """Trains the runs that are not trained, and gives each of them when it is done, or at once if it was.

    jobs: how many at a time here; by default one where there is a GPU, else one a core, up to four. How many threads a
    run then has may change its last digits. launcher: "ray" has as many at a time as its cluster has GPUs, or cores if
    it has none; all its machines must see DVAE_RUNS_ROOT and DVAE_CACHE_ROOT. If a run fails, or this process is
    interrupted, the others save where they are and stop; all can be continued.

    Raises UserError if a run fails, a worker is killed or cannot start, or Ray is asked for and not installed. A script
    calls this under `if __name__ == "__main__":`, since its workers import it.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(1)  # in a worker that imports a script without that line: who started it says what to do
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
    for run in todo:  # here, on all cores; and numba's threads, once started, would give those of torch their number
        run.subsets("train")
    total, before, done = sum(map(pixels, todo)), sum(map(_pixels_so_far, todo)), 0.0
    bar = tqdm(total=round(total), initial=round(before), unit="px", unit_scale=True, desc=f"{len(todo)} runs")
    with _on_ray() if launcher == "ray" else _side_by_side(jobs, cores) as submit, bar as progress:
        running: dict[Future[UserError | None], Run] = {}
        while todo or running:
            # A pool of processes would have one more begin what it was given, after it was told to stop.
            while todo and (launcher == "ray" or len(running) < jobs):
                run = todo.pop(0)
                running[submit(run, device)] = run
            finished, _ = wait(running, _SECONDS, "FIRST_COMPLETED")
            for future in finished:
                if error := future.result():
                    raise error
                done += pixels(running[future])
                yield running.pop(future)
            # What a killed run had logged after its last checkpoint is computed again, and counted once.
            now = done + sum(map(_pixels_so_far, [*todo, *running.values()]))
            progress.n = max(progress.n, round(now))
            progress.refresh()


def _train(run: Run, device: str) -> UserError | None:
    """In a worker: trains a run, without a bar of its own, which would write over the others'."""
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        run.train(device, quiet=True)
    except UserError as error:
        return error
    return None


def _stop_with_parent() -> None:
    """In a worker: when its parent process ends, SIGTERM makes the training save and stop."""
    if parent := multiprocessing.parent_process():
        wait_for([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _begin(threads: int, started: Event, environment: dict[str, str]) -> None:
    """In a worker, before its first run."""
    started.set()
    os.environ.update(environment)
    torch.set_num_threads(threads)
    # tqdm's own lock is one between processes, and a worker that is stopped by a signal would leave it behind.
    tqdm.set_lock(threading.RLock())
    threading.Thread(target=_stop_with_parent, daemon=True).start()


def _has_gpu() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()


_Submit = Callable[[Run, str], "Future[UserError | None]"]


@contextmanager
def _handler_of_sigterm(handler: Callable | None) -> Iterator[None]:
    """What SIGTERM does within; None leaves it as it is. Afterwards it does what it did before.

    Python lets only the main thread set handlers; in another thread this does nothing.
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
        if before is not None:  # None: not set from Python, and not to be set again
            signal.signal(signal.SIGTERM, before)


def _exit(number: int, _) -> None:
    """Ends this process by SystemExit, so that its workers are stopped and nothing is left behind."""
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
                    "No training could start in a process of its own. Such a process imports the script that asks for "
                    'it: put what the script does under a line `if __name__ == "__main__":`, or train with jobs=1.'
                ) from error
            raise UserError(
                "A training was killed, as the system does when memory runs out. All are kept as they were last saved: "
                "start again, with fewer at a time (--jobs 1) if memory is short."
            ) from error
        except BaseException:
            for process in set(multiprocessing.active_children()) - set(others):
                process.terminate()  # a training then saves where it is
            raise


@contextmanager
def _on_ray() -> Iterator[_Submit]:
    """Ray's cluster at RAY_ADDRESS or already running on this machine; if there is none, one of this machine alone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    try:
        import ray
        from ray.exceptions import LocalRayletDiedError, NodeDiedError, OutOfMemoryError, WorkerCrashedError
    except ImportError:
        raise UserError("Ray is not installed: pip install ray.") from None
    mine = not ray.is_initialized()
    with _handler_of_sigterm(None):  # Ray's handler would stay
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
                f"A training was killed {_RETRIES + 1} times, as a system does when memory runs out. All are kept as "
                "they were last saved: start again."
            ) from error
        finally:
            for task in tasks:
                ray.cancel(task)  # those that are done are left as they are
            if mine:
                ray.shutdown()


def pixels(run: Run, step: int | None = None) -> float:
    """How many pixels a run sees up to a step, or in all: about what its time is proportional to."""
    e, seen = run.experiment, 0.0
    for stage in e.stages:
        steps = stage.steps if step is None else min(stage.steps, step)
        seen += steps * e.batch * (e.crop**2 if e.images(stage.name) else e.crop)
        step = None if step is None else step - steps
    return seen


def _pixels_so_far(run: Run) -> float:
    lines = read_metrics(run.folder)
    return pixels(run, int(lines[-1]["step"]) + 1 if lines else 0)
