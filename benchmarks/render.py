"""Rendered hands a second, with everything a sample has, at three sizes: python -m benchmarks.render"""

import json
import time

import numpy as np

from dvae_lib.datasets.synthetic import SyntheticSource

SIZES = (64, 128, 256)
PIXELS = 2_000_000  # drawn in each measurement


def run() -> dict[str, float]:
    """Images a second by preset and size; compiling, and painting the rooms, is done before the clock starts."""
    speeds = {}
    for name in ("synth-stb", "synth-rhd"):
        source = SyntheticSource(name)
        for size in SIZES:
            indices = np.random.default_rng(0).permutation(len(source))[: PIXELS // size**2]
            source.read(indices, size)
            start = time.perf_counter()
            source.read(indices, size)
            speeds[f"{name} {size} px, images/s"] = round(len(indices) / (time.perf_counter() - start), 1)
    return speeds


if __name__ == "__main__":
    speeds = run()
    for quantity, speed in speeds.items():
        print(f"{quantity:32}{speed:8.1f}")
    print(json.dumps(speeds))
