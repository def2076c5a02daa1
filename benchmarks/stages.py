"""Each stage from a hand to a batch, in images per second, and as a share of a training step.

Rendering, decoding a PNG and cropping are done once, when a data set is prepared; reading the cache and augmentation
are done at every step.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from benchmarks.common import experiment, make_run
from benchmarks.loop import bare
from benchmarks.subjects import measure, ratio
from dvae_lib.datasets.batches import make_batch
from dvae_lib.datasets.crop import crop
from dvae_lib.datasets.rendered import SyntheticSource
from dvae_lib.files import read_image

COUNT = 256  # images that are rendered or decoded at a time
MEASURED = 1600  # minimum number of images in a measurement
SCENE = 320  # pixels of the photographs that are decoded and cropped, as in RHD
FIELDS = ("image", "mask", "pose", "K", "visible", "right")
step = bare


def _seconds_an_image(work: Callable[[], object], images: int) -> Iterator[float]:
    times = math.ceil(MEASURED / images)
    while True:
        start = time.perf_counter()
        for _ in range(times):
            work()
        yield (time.perf_counter() - start) / (times * images)


def render() -> Iterator[float]:
    source, size = SyntheticSource("synth-stb"), experiment("cross-modal").size
    indices = np.random.default_rng(0).permutation(len(source))[:COUNT]
    return _seconds_an_image(lambda: source.read(indices, size), COUNT)


def decode() -> Iterator[float]:
    photograph = SyntheticSource("synth-stb").read(np.arange(1), SCENE)["image"][0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hand.png"
        Image.fromarray(photograph.transpose(1, 2, 0)).save(path)
        yield from _seconds_an_image(lambda: [read_image(path) for _ in range(COUNT)], COUNT)


def crops() -> Iterator[float]:
    size, batch = experiment("cross-modal").size, experiment("cross-modal").batch
    photographs = torch.randint(0, 256, (batch, 3, SCENE, SCENE)).float()
    centre, side = torch.full((batch, 2), SCENE / 2), torch.full((batch,), SCENE / 2)
    return _seconds_an_image(lambda: crop(photographs, centre, side, size), batch)


def cache() -> Iterator[float]:
    e, chance = experiment("cross-modal"), np.random.default_rng(0)
    (dataset, indices), *_ = make_run(e).subsets("train")

    def read() -> None:
        chosen = chance.choice(indices, e.batch)
        for name in FIELDS:
            dataset.gather(name, chosen)

    return _seconds_an_image(read, e.batch)


def augment() -> Iterator[float]:
    e = experiment("cross-modal")
    (dataset, indices), *_ = make_run(e).subsets("train")
    raw = {name: torch.from_numpy(dataset.gather(name, indices[: e.batch])) for name in FIELDS}
    return _seconds_an_image(lambda: make_batch(raw, e.size, e.augmentation, hand=False), e.batch)


def run() -> dict[str, float]:
    once, always = ("render", "decode", "crops"), ("cache", "augment")
    seconds = measure("stages", [*once, *always, "step cross-modal"])
    image = [s / experiment("cross-modal").batch for s in seconds["step cross-modal"]]
    results = {f"{name}: images a second": round(1 / median(seconds[name])) for name in (*once, *always)}
    return results | {
        f"{name} ÷ a training step, time of an image": ratio(seconds[name], image) for name in (*once, *always)
    }
