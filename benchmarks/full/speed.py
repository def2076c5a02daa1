"""Our loop compared with the bare networks at full size, and the speed of several small runs in parallel."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from benchmarks.common import experiment
from benchmarks.full.plan import Clock
from benchmarks.loop import Bare, matrices, prepared, seconds_of, trained, work
from benchmarks.subjects import together
from dvae_lib.experiments import Experiment

BATCHES = (32, 256)
SMALL = (1, 2, 4, 8)  # parallel runs
ROUNDS = 3


def loop_against_networks(e: Experiment, stage: int, device: str, seconds: float) -> dict[str, float]:
    """Ratios for a stage, measured alternately in three rounds that share the given seconds."""
    subject, networks = prepared(e, stage, device), Bare(prepared(e, stage, device))
    networks.step()
    once = seconds_of(networks.step, networks.fabric.device, 1)
    times = min(int(seconds / (3 * ROUNDS * once)), 200)
    if times < 3:
        return {"the bare networks, steps a second": round(1 / once, 2)}  # too slow to be compared in this time
    measured = []
    for _ in range(ROUNDS):
        ours = next(trained(subject, times + 3, 2))
        theirs = seconds_of(networks.step, networks.fabric.device, times)
        batch = seconds_of(lambda: subject.batches.batch(0), networks.fabric.device, times)
        measured.append((ours, theirs, batch))
    ours, theirs, batch = (median(values) for values in zip(*measured, strict=True))
    reached = work(networks) / ours
    return {
        "steps a second": round(1 / ours, 2),
        "our loop ÷ the bare networks, speed": round(theirs / ours, 3),
        "making the batch ÷ a step, time": round(batch / ours, 3),
        "a step ÷ large bf16 matrices, operations a second": round(reached / next(matrices_a_second(device)), 4),
    }


def matrices_a_second(device: str) -> Iterator[float]:
    """Like `loop.matrices`, after a warm-up measurement."""
    measured = matrices(device)
    next(measured)
    return measured


def small(device: str, steps: str, threads: str) -> Iterator[float]:
    """Pixels per second of the images that one small run processes (dvae-image, 64 pixels)."""
    torch.set_num_threads(int(threads))
    e = experiment("dvae-image")
    subject = prepared(e, 0, device)
    while True:
        yield e.batch * e.size**2 / next(trained(subject, int(steps) + 3, 2))


def side_by_side(device: str, clock: Clock, until: float) -> dict[str, float]:
    """Pixels per second of all small runs, by the number of parallel runs, while there is time."""
    results = {}
    for count in SMALL:
        if clock.left > until:
            steps, threads = 20 if device == "cpu" else 200, max(1, (os.cpu_count() or 1) // count)
            rates = together("full.speed", f"small {device} {steps} {threads}", count)
            results[str(count)] = round(sum(rates))
    return results


def compiled(name: str, size: str, device: str) -> None:
    """Prints the speed of an experiment's compiled networks, relative to that of the uncompiled ones."""
    e = replace(experiment(name), size=int(size))
    plain, fast = Bare(prepared(e, 0, device)), Bare(prepared(e, 0, device))
    fast.engine = torch.compile(fast.engine)
    for networks in (plain, fast):
        for _ in range(3):
            networks.step()
    times = [seconds_of(networks.step, plain.fabric.device) for networks in (plain, fast)]
    print(times[0] / times[1])


def compilation(name: str, size: int, device: str, seconds: float) -> float | str:
    """Runs `compiled` in a separate process with a time limit in seconds."""
    command = [
        sys.executable,
        "-c",
        f"from benchmarks.full.speed import compiled as c; c({name!r}, {str(size)!r}, {device!r})",
    ]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=seconds)
        return round(float(done.stdout.split()[-1]), 3) if done.returncode == 0 else done.stderr[-300:]
    except subprocess.TimeoutExpired:
        return f"takes more than {seconds:.0f} s"
