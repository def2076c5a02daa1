"""Writes results/realhand.json from this machine's runs on the photographs: the reference values of chapter 12.

dvae train --all --data realhand
python results/collect.py "two CPU cores"

It needs the photographs, the digits and the detector; samples of RHD and STB are included if they are available.
"""

import dataclasses
import io
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from dvae_lib import settings
from dvae_lib.datasets import open_source
from dvae_lib.datasets.digits import listed
from dvae_lib.datasets.realhand import COUNT, RealHandSource, split
from dvae_lib.detect import Detector
from dvae_lib.experiments import experiments
from dvae_lib.experiments.run import Run
from dvae_lib.files import read_image, write_json
from dvae_lib.report.photographs import count_hands, doubts, readings
from dvae_lib.synthetic import scenes
from dvae_lib.synthetic.rooms import paint_room

KEPT = ("epe", "relative", "cpose", "viewpoint", "composed")
FOUND_BY_THEMSELVES = {
    "cross-modal": "image",
    "dvae-pose": "image",
    "dvae-keypoints-drawn": "keypoints",
    "dvae-keypoints-unlabelled": "keypoints",
    "dvae-keypoints-weak": "keypoints",
    "dvae-keypoints": "keypoints",
}
TEXT = "A page of text, in which there is no hand.\n" * 24
Pictures = Iterator[tuple[np.ndarray, int]]


def _photographs() -> Pictures:
    source = RealHandSource()
    return ((read_image(source.photograph(frame)), 1) for frame in range(COUNT))


def _digits(count: int = 50) -> Pictures:
    known = listed()
    chosen = (known[i] for i in np.linspace(0, len(known) - 1, count).astype(int))
    return ((photograph.read(settings.downloaded("digits")), 1) for photograph in chosen)


def _rendered(count: int = 10) -> Pictures:
    source = open_source("synth-rhd")
    scene = source.scene(np.linspace(0, len(source) - 1, count).astype(int))
    side = scene.frame[0]
    whole = dataclasses.replace(scene, window=np.tile([0.0, 0.0, side], (count, 1)))
    return ((np.ascontiguousarray(image.transpose(1, 2, 0)), 1) for image in scenes.draw(whole, side)["image"])


def _files(folder: str, hands: int) -> Pictures:
    return ((read_image(path), hands) for path in sorted((settings.data_root() / folder).glob("*.png"))[:20])


def _nothing() -> Pictures:
    yield np.ascontiguousarray(paint_room(3, 640, 480)), 0


def _text() -> Pictures:
    figure, ax = plt.subplots(figsize=(6, 8))
    ax.text(0, 0, TEXT)
    ax.axis("off")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    file.seek(0)
    yield (255 * plt.imread(file)[..., :3]).astype(np.uint8), 0


def main(hardware: str) -> None:
    profile = settings.profile()
    known = {name: Run(e, profile) for name, e in experiments(profile, "realhand").items()}
    runs = {name: run.evaluation for name, run in known.items()}
    scores = {name: next(iter(run["from"].values())) for name, run in runs.items()}
    detector = Detector()
    source = RealHandSource()
    ours_to_see = np.concatenate([split(source)[part] for part in ("train", "validation")])
    read = readings({name: (known[name], via) for name, via in FOUND_BY_THEMSELVES.items()}, detector)
    pictures = {
        "photographs with 3D poses": _photographs(),
        "digits": _digits(),
        "RHD, samples": _files("rhd-samples", 1),
        "STB, samples": _files("stb/images/B1Counting", 1),
        "rendered hands": _rendered(),
        "an empty room": _nothing(),
        "a page of text": _text(),
    }
    reference = {
        "provenance": f"{profile} profile, {hardware}, {date.today():%B %Y}",
        "samples": runs["cross-modal"]["samples"],
        "mean pose": runs["cross-modal"]["mean pose"]["epe"],
        "runs": {name: {key: score[key] for key in KEPT if key in score} for name, score in scores.items()},
        "detected": {
            name: {"found": reading.found, "seconds": reading.seconds}
            | {kind: list(reading.interval(kind)) for kind in reading.errors}
            for name, reading in read.items()
        },
        "doubts": vars(doubts(detector, source, ours_to_see)),
        "hands": {name: vars(count_hands(list(some), detector)) for name, some in pictures.items()},
    }
    write_json(Path(__file__).with_name("realhand.json"), reference)


if __name__ == "__main__":
    main(sys.argv[1])
