"""The digits in miniature: photographs of dots where the joints are, on a wall whose colour identifies the student."""

from pathlib import Path

import numpy as np
from PIL import Image

from dvae_lib.datasets import digits


def hand(gesture=5):
    """A hand (21, 2) in pixels, fingers up; the last of them are shorter, depending on the gesture."""
    fingers = [
        [25 + 12 * finger, 60 - (12 if finger <= gesture // 2 else 5) * joint - gesture % 2]
        for finger in range(5)
        for joint in range(4)
    ]
    return np.array([[50, 85], *fingers], dtype=float)


def wall(student):
    """The colour (3,) behind a student's hand."""
    return np.array([student * 37 % 100, student * 61 % 100, student * 83 % 100])


def photograph(student, joints):
    """(100, 100, 3) uint8."""
    v, u = np.mgrid[:100, :100] + 0.5
    dots = sum(255 * np.exp(-((u - x) ** 2 + (v - y) ** 2) / 4) for x, y in joints)
    return np.maximum(dots.clip(0, 255)[..., None], wall(student)).astype(np.uint8)


def make(folder: Path, students: int, large: int | None = None, unseen: int | None = None) -> None:
    """Writes Dataset/ and labels.npz with their pseudo-labels, which tests use in place of the real ones.

    Each student has made ten digits; the last student made the last one late. The photograph `large` has the camera's
    full size; in `unseen` no hand was detected.
    """
    numbers = np.arange(10 * students) + 100
    numbers[-1] += 5
    gestures = np.tile(np.arange(10), students)
    shift = np.random.default_rng(0).uniform(-5, 5, (len(numbers), 1, 2))
    keypoints = np.stack([hand(gesture) for gesture in gestures]) + shift
    for i, (number, gesture) in enumerate(zip(numbers.tolist(), gestures.tolist(), strict=True)):
        image = Image.fromarray(photograph(i // 10, keypoints[i]))
        path = digits.Photograph(number, gesture, gesture, 0).path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        (image.resize((300, 300)) if number == large else image).save(path, quality=95)
    np.savez(
        folder / "labels.npz",
        number=numbers,
        folder=gestures,
        seen=numbers != unseen,
        keypoints=np.round(100 * keypoints).astype(np.int16),
        depth=np.tile(100 * np.arange(21), (len(numbers), 1)).astype(np.int16),
        scale=np.full(len(numbers), 0.5, np.float32),
    )
