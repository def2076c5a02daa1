"""Chapter 12's figures of the digits: images generated in the study, with the photographs if they are downloaded."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dvae_lib import settings
from dvae_lib.datasets import open_dataset, open_part
from dvae_lib.datasets.digits import GESTURES
from dvae_lib.experiments import study
from dvae_lib.experiments.records import Record
from dvae_lib.plots.hands import INPUT, grid, missing, sentence, show_image

_NAMES = [str(gesture) for gesture in range(GESTURES)]
_TAG = 5  # the gesture of the tag in the study's table
_CELL = 0.72  # inches; twelve columns fit the page


def photographs(students: Sequence[int], size: int = 96) -> Figure:
    """A row for each student in ten gestures; if the photographs are missing, how to get them."""
    if not settings.is_here("digits"):
        return missing("digits")
    dataset = open_dataset("digits", size)
    student, gesture = np.asarray(dataset["content"]), np.asarray(dataset["sequence"])
    figure, axes = grid(len(students), GESTURES, [f"student {k}" for k in students], _NAMES, _CELL)
    for row, k in zip(axes, students, strict=True):
        for g, ax in enumerate(row):
            found = np.flatnonzero((student == k) & (gesture == g))
            if len(found):
                show_image(ax, _pixels(dataset["image"][found[0]]))
    return figure


def _pixels(image: np.ndarray | Tensor) -> Tensor:
    """An image (3, S, S) uint8 in [−1, 1]."""
    pixels = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
    return pixels.float() / 127.5 - 1


def _of_the_study(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Passes the first record of an experiment to a function; without one, the figure shows how to create it."""

    @functools.wraps(draw)
    def wrapper(name: str = "dvae-image-place", **options) -> Figure:
        with settings.chosen("digits"):
            records = study.load(name)
        if not records:
            return sentence(f"The study has no {name} on the digits yet. Run\ndvae study --test --data digits")
        return draw(records[0], **options)

    return wrapper


def _true(indices: np.ndarray, size: int) -> list[Tensor] | None:
    """The photographs of some samples, if they are downloaded."""
    if not settings.is_here("digits"):
        return None
    images = open_dataset("digits", size)["image"]
    return [_pixels(images[i]) for i in indices]


@_of_the_study
def people_and_gestures(record: Record) -> Figure:
    """Students who do not occur in training, in ten gestures: generated images above the true photographs. The framed
    photograph was the model's only input of the student.
    """
    drawn, table = record.arrays["sheet/people and gestures"], record.arrays["table"].numpy()
    size = drawn.shape[-1]
    true = _true(table.ravel(), size)
    names = [name for k in range(len(drawn)) for name in ([f"{k + 1}, generated"] + (["true"] if true else []))]
    figure, axes = grid(len(names), GESTURES, names, _NAMES, _CELL)
    each = len(names) // len(drawn)
    for k, row in enumerate(axes[::each]):
        for ax, image in zip(row, drawn[k], strict=True):
            show_image(ax, _pixels(image))
    if true:
        for k, row in enumerate(axes[1::each]):
            for g, ax in enumerate(row):
                show_image(ax, true[GESTURES * k + g], frame=INPUT if g == _TAG else None)
    return figure


@_of_the_study
def walks(record: Record) -> Figure:
    """From one student to another with the gesture fixed, then from one gesture to another with the student fixed."""
    rows = [(name, way) for name in ("content", "pose") for way in record.arrays[f"sheet/{name} walks"]]
    names = {"content": "student", "pose": "gesture"}
    figure, axes = grid(len(rows), rows[0][1].shape[0], [names[name] for name, _ in rows], cell=1.0)
    for row, (_, way) in zip(axes, rows, strict=True):
        for ax, image in zip(row, way, strict=True):
            show_image(ax, _pixels(image))
    return figure


@_of_the_study
def failures(record: Record) -> Figure:
    """The generated images that are farthest from the true photographs, above these."""
    drawn, worst = record.arrays["sheet/worst"], record.arrays["worst"].numpy()
    true = None
    if settings.is_here("digits"):
        _, held_out = open_part("digits", drawn.shape[-1], "test", "synthesis")
        true = _true(held_out[worst], drawn.shape[-1])
    figure, axes = grid(1 + bool(true), len(drawn), ["generated", "true"], cell=0.95)
    for row, images in zip(axes, [map(_pixels, drawn), true] if true else [map(_pixels, drawn)], strict=True):
        for ax, image in zip(row, images, strict=True):
            show_image(ax, image)
    return figure
