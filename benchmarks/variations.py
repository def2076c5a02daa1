"""Variations of the training recipe of dvae-pose-rhd, one at a time, on validation samples (chapter 13).

python -m benchmarks.variations results/recipe.json

Each changes one aspect of a stage; the embedding step processes the same number of pixels in all of them. What the
library lacks is implemented here: averaged weights, weight decay, images of half the side in the first steps.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from dvae_lib.experiments import find
from dvae_lib.experiments.evaluation import errors
from dvae_lib.experiments.run import Run
from dvae_lib.files import read_json, write_json
from dvae_lib.models import DVAE
from dvae_lib.models.fast import Adam
from dvae_lib.training import learning_rate, update
from dvae_lib.training.distributed import make_fabric

NAME = "dvae-pose-rhd"
SOURCE = {"disentangling": "factors", "embedding": "image"}


@dataclass(frozen=True)
class Variation:
    """half: the share of the steps in which images have half the side. average: the share of the averaged weights that
    is kept at each step, 0 for no averaging. decay: the weight decay, multiplied by the learning rate.
    """

    stage: str
    batch: int = 32
    steps: int = 650
    lr: float = 2e-3
    half: float = 0.0
    average: float = 0.0
    decay: float = 0.0


VARIATIONS = (
    Variation("disentangling", steps=4000),
    Variation("disentangling", 64, 2000, 3e-3),
    Variation("disentangling", 128, 1000, 4e-3),
    Variation("disentangling", 128, 2000, 4e-3),
    Variation("disentangling", 256, 1000, 4e-3),
    Variation("embedding"),
    Variation("embedding", lr=1e-3),
    Variation("embedding", lr=4e-3),
    Variation("embedding", 64, 325, 2.8e-3),
    Variation("embedding", 16, 1300, 1.4e-3),
    Variation("embedding", decay=0.05),
    Variation("embedding", average=0.99),
    Variation("embedding", steps=1040, half=0.5),
)


def disentangled(weights: dict[str, Tensor] | None) -> DVAE:
    """The model with these weights, or with initial weights."""
    model = Run(find(NAME, "laptop", "synthetic"), "laptop").build()
    assert isinstance(model, DVAE)
    if weights:
        model.load_state_dict(weights)
    return model


def train(v: Variation, model: DVAE) -> float:
    """Trains one stage, and returns the CPU time in seconds."""
    e = replace(find(NAME, "laptop", "synthetic"), batch=v.batch)
    run, fabric = Run(e, "laptop"), make_fabric("cpu", precision=e.precision)
    engine, optimizer = fabric.setup(model, Adam(model.parameters(), lr=v.lr))
    (stage,) = (stage for stage in e.stages if stage.name == v.stage)
    weights = [p for module in stage.trainable(model) for p in module.parameters() if p.ndim > 1]
    batches, averaged, seconds = run.training_batches(v.stage), None, 0.0
    for step in range(v.steps):
        start, rate = time.process_time(), learning_rate(step, v.steps, v.lr, True)
        torch.manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = batches.batch(step)
        if step < v.half * v.steps:
            batch["image"] = avg_pool2d(batch["image"], 2)
        update(engine, optimizer, fabric, stage, batch, step)
        with torch.no_grad():
            for p in weights if v.decay else ():
                p.mul_(1 - v.decay * rate)
            if v.average and step >= v.steps // 5:
                averaged = averaging(averaged, model, v.average)
        seconds += time.process_time() - start
    if averaged:
        model.load_state_dict(averaged)
    return seconds


def averaging(averaged: dict[str, Tensor] | None, model: nn.Module, keep: float) -> dict[str, Tensor]:
    """The running average of all weights and statistics."""
    state = model.state_dict()
    if averaged is None:
        return {name: values.clone() for name, values in state.items()}
    for name, values in state.items():
        averaged[name] = averaged[name].lerp(values, 1 - keep) if values.is_floating_point() else values.clone()
    return averaged


def main(out: Path) -> None:
    torch.set_num_threads(1)
    validation = Run(find(NAME, "laptop", "synthetic"), "laptop").batches("validation", 500)
    found = read_json(out) if out.exists() else {"date": date.today().isoformat(), "experiment": NAME, "results": []}
    weights: dict[str, Tensor] | None = None
    for v in VARIATIONS:
        model = disentangled(weights if v.stage == "embedding" else None)
        seconds = train(v, model)
        weights = weights or {name: values.clone() for name, values in model.state_dict().items()}
        by_name = errors(model, validation.in_order(), SOURCE[v.stage])
        epe = {name: round(by_name[name].mean().item(), 2) for name in ("pose", "cpose", "viewpoint")}
        found["results"].append(asdict(v) | {"cpu_seconds": round(seconds, 1), "errors": epe})
        print(json.dumps(found["results"][-1]), flush=True)
        write_json(out, found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
