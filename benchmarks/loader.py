"""Training from the cache against training on tensors in memory, step by step in turn: python -m benchmarks.loader

The batches and what is made of them are the same; only where the stored samples come from differs.
"""

import json
import statistics
import time

import torch

from dvae_lib.datasets.batches import Batches
from dvae_lib.experiments import find
from dvae_lib.runs import Run

STEPS = 60  # of each, after as many tenths to warm up


class InMemory(Batches):
    """All samples copied into memory first; a batch is then an index of tensors."""

    def __init__(self, batches: Batches):
        self.__dict__ |= batches.__dict__
        self.samples = {id(data): {field: torch.tensor(data[field]) for field in data.arrays} for data, _ in self.parts}

    def _load(self, dataset, indices):
        samples, chosen = self.samples[id(dataset)], torch.from_numpy(indices)
        raw = {field: samples[field][chosen] for field in self.fields}
        return {field: value.int() if value.dtype == torch.uint16 else value for field, value in raw.items()}


def run() -> dict[str, float]:
    """Median milliseconds of a step, and of making its batch, from either place, and the ratio of speeds."""
    experiment = find("cross-modal", "laptop", "synthetic")
    model = Run(experiment, "laptop").build().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    e = experiment
    cached = Batches(Run(e, "laptop").parts("train"), e.batch, e.images(), e.augmentation)
    times = {"cache": [], "memory": []}
    loading = {"cache": [], "memory": []}
    memory = InMemory(cached)
    assert all(torch.equal(value, memory.at(0)[name]) for name, value in cached.at(0).items())
    subjects = {"cache": cached, "memory": memory}
    for step in range(STEPS + STEPS // 10):
        for name, batches in subjects.items():
            start = time.perf_counter()
            batch = batches.at(step)
            made = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16):
                loss, _ = model(batch, list(model.encoders))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if step >= STEPS // 10:
                times[name].append(time.perf_counter() - start)
                loading[name].append(made - start)
    speeds = [memory / cache for cache, memory in zip(times["cache"], times["memory"], strict=True)]
    return {
        **{f"step from {name}, ms": round(1e3 * statistics.median(t), 1) for name, t in times.items()},
        **{f"batch from {name}, ms": round(1e3 * statistics.median(t), 1) for name, t in loading.items()},
        "speed of the cache, of memory's": round(statistics.median(speeds), 3),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
