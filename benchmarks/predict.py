"""How long `dvae predict` takes for a photograph, beside what its networks take: alone, and sixteen together."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from benchmarks.common import experiment, make_run
from benchmarks.subjects import measure, ratio
from dvae_lib.datasets.rendered import SyntheticSource
from dvae_lib.predict import look, predict

MANY = 16
SCENE = 480


def _photographs(folder: Path) -> list[Path]:
    images = SyntheticSource("synth-stb").read(torch.arange(MANY).numpy(), SCENE)["image"]
    paths = [folder / f"{number}.png" for number in range(MANY)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    return paths


def photographs(count: str) -> Iterator[float]:
    """Seconds a photograph, so many in a call, from the file to the 3D pose, its spread and its place in the image."""
    run = make_run(experiment("dvae-pose"))
    model = run.build().eval()
    with tempfile.TemporaryDirectory() as folder:
        paths = _photographs(Path(folder))[: int(count)]
        while True:
            start = time.perf_counter()
            predict(model, [sight for path in paths for sight in look(path, run.experiment.size)])
            yield (time.perf_counter() - start) / len(paths)


def networks(count: str) -> Iterator[float]:
    """Seconds an image of encoder and decoders alone."""
    run = make_run(experiment("dvae-pose"))
    model, size = run.build().eval(), run.experiment.size
    images = torch.rand(int(count), 3, size, size)
    while True:
        start = time.perf_counter()
        with torch.inference_mode():
            model.decode(model.encode("image", images).mean)
        yield (time.perf_counter() - start) / len(images)


def run() -> dict[str, float]:
    results = {}
    for count in (1, MANY):
        seconds = measure("predict", [f"photographs {count}", f"networks {count}"])
        ours, bare = seconds.values()
        results[f"{count} at a time: ms a photograph"] = round(1e3 * sorted(ours)[len(ours) // 2], 1)
        results[f"{count} at a time ÷ the networks alone, time"] = ratio(ours, bare)
    return results
