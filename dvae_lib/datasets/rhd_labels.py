"""The annotations of RHD: the required entries, and the plausible values of hands and cameras (chapter 2).

An annotation is the pickle of a dict from the number of an image to its entry: `xyz` (42, 3), joints in m in the
camera's frame; `uv_vis` (42, 3), their column and row in pixels and 1 if they are visible; and the camera `K` (3, 3).
Rows 0–20 are the left hand, 21–41 the right one, in the order `ORDERS["rhd"]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from dvae_lib import settings
from dvae_lib.datasets.formats.unpickle import load
from dvae_lib.files import UserError
from dvae_lib.hand import ORDERS

PIXELS = 320  # on each side of an image
ADVICE = f"Delete what is damaged, and run `{settings.DOWNLOAD['rhd']}` to fetch what is missing."
_SHAPES = {"xyz": (42, 3), "uv_vis": (42, 3), "K": (3, 3)}  # of an entry


@dataclass(frozen=True)
class Labels:
    """The content of an annotation file of N images; row 21 · right + i of 42 is joint i in RHD's order.

    frame: (N,) number of the image; xyz: (N, 42, 3) mm; uv: (N, 42, 2) pixels; visible: (N, 42) bool.
    K: (N, 3, 3) as published. Whether its origin is the corner of the first pixel, as in this library, or its centre,
        is not documented, and half a pixel is too little to notice.
    """

    frame: np.ndarray
    xyz: np.ndarray
    uv: np.ndarray
    visible: np.ndarray
    K: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, indices: np.ndarray) -> "Labels":
        return Labels(*(getattr(self, name)[indices] for name in _FIELDS))

    @staticmethod
    def join(parts: Sequence["Labels"]) -> "Labels":
        return Labels(*(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS))

    def one_hand(self, right: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The right or the left hand of each image (N,), in the book's order, with the wrist as joint 0.

        Returns pose (N, 21, 3) mm, uv (N, 21, 2) pixels and visible (N, 21).
        """
        image, joint = np.arange(len(self))[:, None], np.array(ORDERS["rhd"]) + 21 * right[:, None]
        pose, uv, visible = (torch.from_numpy(array[image, joint]) for array in (self.xyz, self.uv, self.visible))
        return pose, uv, visible


_FIELDS = [field.name for field in fields(Labels)]


def read_labels(path: Path) -> Labels:
    """The annotation file of a part, in the order of its images.

    Raises UserError, naming the file and the entry, if it is missing, damaged or malicious (see `unpickle`), or if an
    entry lacks a label or has one that is implausible for an image of RHD.
    """
    entries = load(path, ADVICE)
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"{path} is not an annotation of RHD, a dict with the images' numbers as keys. {ADVICE}")
    if not all(type(number) is int for number in entries):
        raise UserError(f"{path} has an entry whose key is not the number of an image. {ADVICE}")
    frame = np.array(sorted(entries))
    xyz, uv_vis, K = (_stack(path, entries, frame, key) for key in _SHAPES)
    labels = Labels(frame, 1000 * xyz, uv_vis[..., :2], uv_vis[..., 2] == 1, K)
    for sound, what in (
        (_is_camera(K), "“K” is not a camera of an image of 320 × 320 pixels"),
        (_are_hands(labels), "“xyz” is not a hand in metres in front of a camera"),
    ):
        if not sound.all():
            raise UserError(f"{path}: entry {frame[sound.argmin()]} is implausible: {what}. {ADVICE}")
    return labels


def _stack(path: Path, entries: dict, frame: np.ndarray, key: str) -> np.ndarray:
    """The label `key` of all entries, float32 (N, …); single precision resolves a tenth of a micrometre."""
    shape, arrays = _SHAPES[key], []
    for number in frame.tolist():
        entry = entries[number]
        array = entry.get(key) if isinstance(entry, dict) else None
        if array is None:
            raise UserError(f"{path}: entry {number} has no “{key}”. {ADVICE}")
        if not isinstance(array, np.ndarray):
            raise UserError(f"{path}: “{key}” of entry {number} is a {type(array).__name__}, not an array. {ADVICE}")
        if array.shape != shape or array.dtype.kind not in "iuf":
            found = f"{array.dtype} {array.shape}"
            raise UserError(f"{path}: “{key}” of entry {number} is {found} instead of numbers {shape}. {ADVICE}")
        arrays.append(array)
    with np.errstate(over="ignore"):  # a damaged byte can make any number
        stacked = np.stack(arrays).astype(np.float32)
    finite = (np.abs(stacked) < 1e30).reshape(len(frame), -1).all(axis=1)  # small enough for finite norms
    if not finite.all():
        number = frame[finite.argmin()]
        raise UserError(f"{path}: “{key}” of entry {number} contains a value that is not a number. {ADVICE}")
    return stacked


def _is_camera(K: np.ndarray) -> np.ndarray:
    """Which of K (N, 3, 3) are pinhole cameras of square images (N,), within limits that allow any camera but not
    damaged data.
    """
    f, c = K[:, [0, 1], [0, 1]] / PIXELS, K[:, :2, 2] / PIXELS
    rest = np.abs(K[:, [0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] - [0, 0, 0, 0, 1])
    return ((f > 0.1) & (f < 100) & (c >= 0) & (c <= 1)).all(axis=1) & (rest < 1e-6).all(axis=1)


def _are_hands(labels: Labels) -> np.ndarray:
    """Which entries have joints of plausible hands (N,). Only visible hands are checked: others may be anywhere."""
    hands, visible = labels.xyz.reshape(-1, 2, 21, 3).astype(np.float64), labels.visible.reshape(-1, 2, 21)
    bone = np.linalg.norm(hands[:, :, 12] - hands[:, :, 11], axis=-1)
    reach = np.linalg.norm(hands - hands[:, :, :1], axis=-1).max(axis=-1)
    before = ((hands[..., 2] > 0) | ~visible).all(axis=-1)
    # Limits that allow any hand, but distinguish metres from millimetres and a hand from damaged data.
    sound = (bone > 5) & (bone < 150) & (reach < 600) & before
    return (sound | ~visible.any(axis=-1)).all(axis=1)
