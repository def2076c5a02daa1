"""Resident memory while random batches are read from a cache as large as RHD: python -m benchmarks.memory

The process, torch and all, is to stay under 2 GB whatever the size of the data on disk.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from dvae_lib.datasets.batches import Batches
from dvae_lib.datasets.cache import prepare

BATCH = 64


class Grey:
    """Samples of one grey level each: quick to write, and as large on disk as photographs."""

    name, fingerprint, sequences = "grey", {}, ["only"]

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def fields(self, size: int) -> dict:
        return {
            "image": ((3, size, size), np.dtype(np.uint8)),
            "depth": ((size, size), np.dtype(np.uint16)),
            "pose": ((21, 3), np.dtype(np.float32)),
            "K": ((3, 3), np.dtype(np.float32)),
            "visible": ((21,), np.dtype(bool)),
            "right": ((), np.dtype(bool)),
        }

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


def run(count: int = 42_000, size: int = 128, steps: int = 1500, root: Path | None = None) -> dict:
    """Peak resident memory in MB before the first batch and after `steps` random batches, and the time they took."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        dataset = prepare(Grey(count), size, Path(folder), progress=True)
        batches = Batches([(dataset, np.arange(count))], BATCH, ("image", "depth"))
        before, start = _peak(), time.perf_counter()
        for step in range(steps):
            batches.at(step)
        seconds = time.perf_counter() - start
        return {
            "samples": count,
            "pixels": size,
            "disk_GB": round(sum(array.nbytes for array in dataset.arrays.values()) / 1e9, 2),
            "peak_before_MB": before,
            "peak_MB": _peak(),
            "batches": steps,
            "images_per_second": round(BATCH * steps / seconds),
        }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # kilobytes on Linux


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where 3.5 GB can lie for a moment; the system's own by default")
    print(json.dumps(run(root=parser.parse_args().folder), indent=1))
