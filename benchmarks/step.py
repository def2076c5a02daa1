"""What a training step takes, and what in it takes longest: python -m benchmarks.step [EXPERIMENT] [PROFILE]

On the accelerator if there is one; of rendered hands, few of them, so that `full` needs no long preparation.
"""

import json
import resource
import statistics
import sys
import time
from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch.profiler import ProfilerActivity, profile

from dvae_lib.experiments import find
from dvae_lib.runs import Run
from dvae_lib.training import update

STEPS, WARM_UP = 20, 3


def run(name: str = "dvae-image", size: str = "laptop") -> dict[str, float | str]:
    """Median milliseconds of making a batch and of a step of each stage, the operators with the largest shares of its
    time, and the peak of memory in GB: the accelerator's, or the process's."""
    e = replace(find(name, size, "synthetic"), options={"synth-stb": {"frames_per_sequence": 16}})
    fabric = Fabric(accelerator="auto", devices=1, precision=e.precision)
    on_gpu = fabric.device.type == "cuda"
    trained = Run(e, size)
    model = trained.build()
    engine, optimizer = fabric.setup(model, torch.optim.Adam(model.parameters(), lr=e.lr, fused=True))

    def clock() -> float:
        if on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    result: dict[str, float | str] = {"device": str(fabric.device), "images": f"{e.batch} of {e.size} px"}
    making = []
    for stage in e.stages:
        batches, times = trained.training_batches(stage.name, fabric.device), []
        for step in range(WARM_UP + STEPS):
            start = clock()
            batch = batches.at(step)
            made = clock()
            update(engine, optimizer, fabric, stage, batch, step)
            times.append(clock() - made)
            making.append(made - start)
        result[f"{stage.name}, ms"] = round(1e3 * statistics.median(times[WARM_UP:]), 1)
        with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiled:
            update(engine, optimizer, fabric, stage, batch, 0)
        own = {a.key: a.self_device_time_total if on_gpu else a.self_cpu_time_total for a in profiled.key_averages()}
        heaviest = sorted(own, key=own.get, reverse=True)[:4]
        result[f"{stage.name}, most in"] = ", ".join(f"{k} {own[k] / sum(own.values()):.0%}" for k in heaviest)
    result["batch, ms"] = round(1e3 * statistics.median(making), 1)
    peak = torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return result | {"peak, GB": round(peak / 1e9, 2)}


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:]), indent=1))
