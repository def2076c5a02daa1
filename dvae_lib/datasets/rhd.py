r"""RHD: 43 986 rendered images of people with 3D hand poses (Zimmermann & Brox, ICCV 2017) (chapter 2).

On disk, in `DVAE_DATA_ROOT`/rhd: RHD_published_v2/<part>/{color,mask,depth}/00000.png …, 320 × 320 pixels, where the
parts are training and evaluation, and <part>/anno_<part>.pickle (see `rhd_labels`). Both hands are labelled. The
protocol of Zimmermann & Brox uses the dominant one: the left hand if it has more pixels in the mask than the right
hand, otherwise the right hand.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from dvae_lib import settings
from dvae_lib.datasets.crop import crop, crop_matrix, crop_nearest, crop_window
from dvae_lib.datasets.dataset import Fields, schema
from dvae_lib.datasets.rhd_labels import ADVICE, PIXELS, Labels, read_labels
from dvae_lib.datasets.splits import evenly
from dvae_lib.files import UserError, absent, read_image
from dvae_lib.hand import MIDDLE_MCP, Root, with_root

RECIPE = 1  # of this module; increased when the same files give other samples
COUNTS = {"training": 41258, "evaluation": 2728}
KINDS = ("color", "mask", "depth")
LEFT_PALM, LAST_PART = 17, 33  # of the mask's ids: 2–17 are the left hand, 18–33 the right, 1 the rest of the person
_AT_ONCE = 64  # images decoded before they are cropped, which bounds the memory
_THREADS = min(8, os.cpu_count() or 1)  # PNGs are decoded without holding Python's GIL


class RHDSource:
    """The images of RHD as a `Source` (see `dvae_lib.datasets.dataset`), cropped by the evaluation protocol.

    folder: RHD_published_v2, or the folder that contains it; by default DVAE_DATA_ROOT/rhd.
    split: “training”, “evaluation”, or “both”, training first.
    root_joint: the joint 0 that the crop's window is computed from; in the protocol of the literature, the palm's
        centre. In the samples, joint 0 is always the wrist.
    count: the number of images, spread evenly over each part in proportion to its size; all by default. The other
        images may be missing.

    Samples have the schema's fields for the dominant hand. The mask keeps RHD's ids, including those of the other hand
    where it is visible; `right` states which hand is the sample's. `visible` is as labelled: RHD's own estimate from
    the mask.

    Raises UserError, naming the file and what to do, if the folder is not the data set, if a label or an image is
    missing or damaged, or if a label is implausible.
    """

    name = "rhd"
    sequences = list(COUNTS)

    def __init__(
        self,
        folder: Path | None = None,
        split: str = "both",
        root_joint: Root = "palm",
        count: int | None = None,
    ):
        if split not in ("both", *COUNTS):
            raise UserError(f"split of RHD is “{split}”: choose both, training or evaluation.")
        self.folder, self.root_joint = locate(Path(folder or settings.data_root() / "rhd")), root_joint
        parts = self.sequences if split == "both" else [split]
        self._annotations = [annotation(self.folder, part) for part in parts]
        labels = [read_labels(path) for path in self._annotations]
        shares = _shares([len(part) for part in labels], count)
        chosen = [part[evenly(len(part), n, "count")] for part, n in zip(labels, shares, strict=True)]
        self.labels = Labels.join(chosen)
        self._sequence = np.repeat([self.sequences.index(part) for part in parts], shares).astype(np.int32)
        self._check_images()

    def __len__(self) -> int:
        return len(self.labels)

    def file(self, index: int, kind: str) -> Path:
        """The path of a sample's “color”, “mask” or “depth” image."""
        return self.folder / self.sequences[self._sequence[index]] / kind / f"{self.labels.frame[index]:05d}.png"

    def _check_images(self) -> None:
        missing = absent([self.file(i, kind) for i in range(len(self)) for kind in KINDS])
        if missing:
            raise UserError(f"{missing[0]} is missing, one of {len(missing)} images. {ADVICE}")

    @cached_property
    def fingerprint(self) -> dict:
        """Labels are hashed by content, images by name and size only: 132 000 images need not be read twice."""
        labels, images = hashlib.sha256(), hashlib.sha256()
        for path in self._annotations:
            labels.update(path.read_bytes())
        for path in (self.file(i, kind) for i in range(len(self)) for kind in KINDS):
            images.update(f"{path.relative_to(self.folder).as_posix()} {path.stat().st_size}\n".encode())
        return {
            "recipe": RECIPE,
            "root joint": self.root_joint,
            "labels": labels.hexdigest(),
            "images": images.hexdigest(),
        }

    def fields(self, size: int) -> Fields:
        names = ("image", "depth", "mask", "pose", "K", "visible", "right", "sequence", "frame")
        return schema(size, *names)

    def read(self, indices: np.ndarray, size: int) -> dict[str, np.ndarray]:
        with ThreadPoolExecutor(_THREADS) as pool:
            blocks = [
                self._read(indices[start : start + _AT_ONCE], size, pool) for start in range(0, len(indices), _AT_ONCE)
            ]
        return {field: np.concatenate([block[field] for block in blocks]) for field in blocks[0]}

    def _read(self, indices: np.ndarray, size: int, pool: ThreadPoolExecutor) -> dict[str, np.ndarray]:
        pictures = zip(*pool.map(self._read_images, indices.tolist()), strict=True)
        image, mask, depth = (torch.from_numpy(np.stack(kind)) for kind in pictures)
        labels, right = self.labels[indices], is_right(mask.numpy())
        pose, uv, visible = labels.one_hand(right)
        centre, side = window(uv, visible, self.root_joint)
        return {
            "image": crop(image.permute(0, 3, 1, 2), centre, side, size).numpy(),
            "depth": crop_nearest(depth.int(), centre, side, size).numpy().astype(np.uint16),
            "mask": crop_nearest(mask, centre, side, size).numpy(),
            "pose": pose.numpy(),
            "K": (crop_matrix(centre, side, size) @ torch.from_numpy(labels.K)).numpy(),
            "visible": visible.numpy(),
            "right": right,
            "sequence": self._sequence[indices],
            "frame": labels.frame.astype(np.int32),
        }

    def _read_images(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image (320, 320, 3), mask (320, 320) and depth (320, 320) mm of a sample."""
        image, mask, depth = (read_image(self.file(index, kind), (PIXELS, PIXELS), ADVICE) for kind in KINDS)
        mask = mask[..., 0]
        path = self.file(index, "mask")
        if mask.max() > LAST_PART:
            raise UserError(f"{path} is not a mask of RHD: its part ids go up to {mask.max()}, beyond 33. {ADVICE}")
        if mask.max() <= 1 and self.labels.visible[index].any():
            raise UserError(f"{path} shows neither hand, but the label states that joints are visible. {ADVICE}")
        return image, mask, decode_depth(depth)


def locate(folder: Path) -> Path:
    """The folder in or below `folder` that contains RHD's parts. Raises UserError if there is none."""
    published = "RHD_published_v2"
    for candidate in (folder, folder / published, folder / published / published, folder / "RHD_v1-1" / published):
        if any((candidate / part).is_dir() for part in COUNTS):
            return candidate
    raise UserError(f"{folder} is not RHD: it has no folder “{published}” with “training” and “evaluation”. {ADVICE}")


def annotation(folder: Path, part: str) -> Path:
    return folder / part / f"anno_{part}.pickle"


def expected(folder: Path) -> list[Path]:
    """The paths of all files of the complete data set, whether they exist or not: labels, then images, by part."""
    try:
        folder = locate(Path(folder))
    except UserError:
        folder = Path(folder) / "RHD_published_v2"
    labels = [annotation(folder, part) for part in COUNTS]
    images = [(folder / part / kind, count) for part, count in COUNTS.items() for kind in KINDS]
    return labels + [images_of / f"{frame:05d}.png" for images_of, count in images for frame in range(count)]


def is_right(mask: np.ndarray) -> np.ndarray:
    """Whether the right hand is dominant (N,) in masks (N, H, W) with RHD's ids; a tie counts as right."""
    left = ((mask > 1) & (mask <= LEFT_PALM)).sum(axis=(1, 2))
    return left <= (mask > LEFT_PALM).sum(axis=(1, 2))


def window(uv: torch.Tensor, visible: torch.Tensor, root_joint: Root = "palm") -> tuple[torch.Tensor, torch.Tensor]:
    """The protocol's window around a hand: centre (N, 2) and side (N,) in pixels of the image.

    uv: (N, 21, 2) as labelled, in the book's order with the wrist as joint 0; the protocol truncates them to whole
        pixels. Untruncated, they agree with the projection by K within 0.08 pixels in the two samples whose labels we
        have inspected.
    visible: (N, 21). The palm counts as visible if the wrist or the middle MCP is: it is their midpoint.
    """
    if root_joint == "palm":
        palm = visible[:, :1] | visible[:, MIDDLE_MCP : MIDDLE_MCP + 1]
        visible = torch.cat([palm, visible[:, 1:]], dim=1)
    return crop_window(with_root(uv.trunc(), root_joint), visible, (PIXELS, PIXELS))


def decode_depth(image: np.ndarray) -> np.ndarray:
    """Depth in whole mm (H, W) from a depth image (H, W, 3): red and green encode a fraction of 5 m; 0 is unknown."""
    fraction = 256 * image[..., 0].astype(np.uint32) + image[..., 1]  # of 65535
    return ((5000 * fraction + 32767) // 65535).astype(np.uint16)


def _shares(available: list[int], wanted: int | None) -> list[int]:
    """The number of samples of each part: in proportion to its size, and at least one."""
    total, least = sum(available), len(available)
    if wanted is None:
        return available
    if not least <= wanted <= total:
        raise UserError(f"count is {wanted}: it must be between {least} and {total}.")
    last = min(max(round(wanted * available[-1] / total), 1), wanted - least + 1)
    return [last] if least == 1 else [wanted - last, last]
