"""How speed and memory depend on the number of prepared images: random batches from 1 000, 10 000 and 100 000."""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.subjects import measure, ratio
from dvae_lib.datasets.batches import Batches
from dvae_lib.datasets.dataset import prepare, schema

COUNTS, SIZE, BATCH, STEPS = (1_000, 10_000, 100_000), 64, 64, 200
FIELDS = ("image", "depth", "pose", "K", "visible", "right")


class Grey:
    """Samples of one grey level each: quick to write, and as large on disk as photographs."""

    name, fingerprint, sequences = "grey", {}, ["only"]

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def fields(self, size: int) -> dict:
        return schema(size, *FIELDS)

    def read(self, indices: np.ndarray, size: int) -> dict[str, np.ndarray]:
        n = len(indices)
        pose = np.random.default_rng(0).normal(0, 50, (n, 21, 3)) + [0, 0, 600]
        return {
            "image": np.broadcast_to((indices % 256).astype(np.uint8)[:, None, None, None], (n, 3, size, size)),
            "depth": np.full((n, size, size), 600, np.uint16),
            "pose": pose.astype(np.float32),
            "K": np.tile(np.float32([[300, 0, size / 2], [0, 300, size / 2], [0, 0, 1]]), (n, 1, 1)),
            "visible": np.ones((n, 21), bool),
            "right": np.zeros(n, bool),
        }


def _peak() -> float:
    """Peak resident memory of this process in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _batches(count: str, folder: str) -> Batches:
    return Batches([(prepare(Grey(int(count)), SIZE, Path(folder)), np.arange(int(count)))], BATCH, ("image", "depth"))


def speed(count: str, folder: str) -> Iterator[float]:
    """Images per second."""
    batches, step = _batches(count, folder), 0
    while True:
        start = time.perf_counter()
        for step in range(step, step + STEPS):  # noqa: B020
            batches.batch(step)
        yield BATCH * STEPS / (time.perf_counter() - start)


def memory(count: str, folder: str) -> Iterator[float]:
    """Peak resident memory in MB, of a process that did not write the cache."""
    batches, step = _batches(count, folder), 0
    while True:
        for step in range(step, step + STEPS):  # noqa: B020
            batches.batch(step)
        yield _peak()


def run() -> dict[str, float]:
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        speeds = measure("growth", [f"speed {count} {folder}" for count in COUNTS])
        peaks = measure("growth", [f"memory {count} {folder}" for count in COUNTS])
    first = f"{COUNTS[0]} {folder}"
    for count in COUNTS[1:]:
        results[f"{count} images ÷ {COUNTS[0]}, batches a second"] = ratio(
            speeds[f"speed {count} {folder}"], speeds[f"speed {first}"]
        )
        results[f"{count} images ÷ {COUNTS[0]}, peak memory"] = ratio(
            peaks[f"memory {count} {folder}"], peaks[f"memory {first}"]
        )
    return results | {f"{COUNTS[-1]} images: peak memory, MB": round(max(peaks[f"memory {COUNTS[-1]} {folder}"]))}
