"""The time of `dvae predict` per photograph compared with that of its networks, for one photograph and for sixteen.

If the hand detector is installed, both with the whole photograph as the model's input and with the detected hand.
"""

import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image

from benchmarks.common import experiment, make_run
from benchmarks.subjects import measure, ratio
from dvae_lib import detect
from dvae_lib.datasets.rendered import SyntheticSource
from dvae_lib.predict import look, predict

MANY = 16
SCENE = 480


def _photographs(folder: Path) -> list[Path]:
    images = SyntheticSource("synth-stb").read(torch.arange(MANY).numpy(), SCENE)["image"]
    paths = [folder / f"{number}.jpg" for number in range(MANY)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(path, quality=90)
    return paths


def _detector(wanted: str) -> detect.Detector | None:
    return detect.Detector() if wanted == "found" else None


def photographs(asked: str) -> Iterator[float]:
    """Seconds per photograph, for a number of them per call, from the file to the 3D pose, its spread and keypoints."""
    count, how = asked.split("-")
    run, detector = make_run(experiment("dvae-pose")), _detector(how)
    model = run.build().eval()
    with tempfile.TemporaryDirectory() as folder:
        paths = _photographs(Path(folder))[: int(count)]
        while True:
            start = time.perf_counter()
            predict(model, [sight for path in paths for sight in look(path, run.experiment.size, detector)])
            yield (time.perf_counter() - start) / len(paths)


def networks(asked: str) -> Iterator[float]:
    """Seconds per photograph of the same calls of encoder, decoders and the detector's networks only."""
    count, how = asked.split("-")
    run, detector = make_run(experiment("dvae-pose")), _detector(how)
    model, size = run.build().eval(), run.experiment.size
    calls = []

    def noted(network: Callable, x):
        calls.append(functools.partial(network, x))
        return network(x)

    if detector:
        detector._palm, detector._hand = (functools.partial(noted, n) for n in (detector._palm, detector._hand))
    with tempfile.TemporaryDirectory() as folder:
        paths = _photographs(Path(folder))[: int(count)]
        images = torch.stack([sight.image for path in paths for sight in look(path, size, detector)])
    while True:
        start = time.perf_counter()
        for call in calls:
            call()
        with torch.inference_mode():
            model.decode(model.encode("image", images).mean)
        yield (time.perf_counter() - start) / len(paths)


def run() -> dict[str, float]:
    results = {}
    for how in ("whole", "found") if detect.is_ready() else ("whole",):
        for count in (1, MANY):
            asked = f"{count}-{how}"
            ours, bare = measure("predict", [f"photographs {asked}", f"networks {asked}"]).values()
            words = f"{count} at a time" + (", hands found" if how == "found" else "")
            results[f"{words}: ms a photograph"] = round(1e3 * sorted(ours)[len(ours) // 2], 1)
            results[f"{words} ÷ the networks alone, time"] = ratio(ours, bare)
    return results
