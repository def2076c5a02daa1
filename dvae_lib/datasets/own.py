"""Your own data sets, which `dvae label` made of a video or of a folder of photographs (chapter 12).

On disk, in `DVAE_DATA_ROOT`/<name>: photographs/000000.jpg, …, each the square around one hand, 256 × 256 pixels, and
hands.npz with *pseudo-labels*, which a landmark network predicted from them. They are not measurements: `doubt` is the
distance between the joints predicted from a photograph and from its mirror image, as a fraction of the hand's size.

| array of hands.npz | shape | |
|---|---|---|
| `keypoints` | (N, 21, 2) | pixels of the square |
| `depth` | (N, 21) | mm, relative depths of the joints |
| `scale` | (N,) | pixels of the square per millimetre of the hand |
| `right`, `doubt` | (N,) | handedness, and fraction of the hand's size |
| `sequence`, `frame` | (N,) | index in `sequences`, a video or a folder; number within it |
| `sequences` | names | |
"""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np

from dvae_lib import settings
from dvae_lib.datasets.crop import crop_photographs
from dvae_lib.datasets.dataset import Fields, schema
from dvae_lib.datasets.pseudo_labels import lift
from dvae_lib.datasets.splits import hold_out_blocks
from dvae_lib.files import UserError, absent, read_image, sha256

RECIPE = 1  # of this module; increased when the same files give other samples
PHOTO = 256  # pixels of a square's side
LEAST = 10  # photographs that a data set requires, so that it can be split
# Blocks of a video are held out, as in realhand: two fifths of each period of about this many frames, and gaps.
_PERIOD, _VALIDATION, _TEST, _GAP = 150, (0.4, 0.6), (0.63, 0.83), 1 / 30
_NUMBERS = ("scale", "right", "doubt", "sequence", "frame")
_ADVICE = "Label your photographs again with `dvae label`."


def photograph(folder: Path, number: int) -> Path:
    return folder / "photographs" / f"{number:06d}.jpg"


class OwnSource:
    """The photographs as a `Source` (see `dvae_lib.datasets.dataset`), cropped by the protocol around the keypoints.

    Raises UserError, naming the file, if one is missing or damaged.
    """

    def __init__(self, name: str, folder: Path | None = None):
        self.name, self.folder = name, Path(folder or settings.data_root() / name)
        path = self.folder / settings.LABELS
        try:
            with np.load(path, allow_pickle=False) as labels:
                self.labels = {key: labels[key] for key in labels.files}
            self.sequences: list[str] = self.labels.pop("sequences").tolist()
            count = len(self.labels["keypoints"])
            shapes: dict[str, tuple[int, ...]] = {"keypoints": (count, 21, 2), "depth": (count, 21)}
            shapes |= dict.fromkeys(_NUMBERS, (count,))
            if wrong := [key for key, shape in shapes.items() if self.labels[key].shape != shape]:
                raise ValueError(f"“{wrong[0]}” has the shape {self.labels[wrong[0]].shape}")
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise UserError(f"{path} is missing or damaged ({error}). {_ADVICE}") from error
        missing = absent([photograph(self.folder, i) for i in range(len(self))])
        if missing:
            raise UserError(f"{missing[0]} is missing, one of {len(missing)} photographs. {_ADVICE}")

    def __len__(self) -> int:
        return len(self.labels["keypoints"])

    @cached_property
    def fingerprint(self) -> dict:
        files = [self.folder / settings.LABELS, *(photograph(self.folder, i) for i in range(len(self)))]
        return {"recipe": RECIPE, "files": hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()}

    def fields(self, size: int) -> Fields:
        return schema(size, "image", "pose", "K", "visible", "right", "sequence", "frame")

    def read(self, indices: np.ndarray, size: int) -> dict[str, np.ndarray]:
        keypoints, depth, scale = (self.labels[name][indices] for name in ("keypoints", "depth", "scale"))
        pose, K = lift(keypoints, depth, scale, PHOTO)
        photographs = [read_image(photograph(self.folder, i), (PHOTO, PHOTO), _ADVICE) for i in indices.tolist()]
        return crop_photographs(photographs, pose, K, size) | {
            "right": self.labels["right"][indices].astype(np.bool_),
            "sequence": self.labels["sequence"][indices].astype(np.int32),
            "frame": self.labels["frame"][indices].astype(np.int32),
        }


def split(photographs) -> dict[str, np.ndarray]:
    """The indices of the photographs of each part, of a source or of the data set prepared from it: blocks of
    consecutive photographs, with gaps between the parts.
    """
    count = len(photographs)
    period = -(-count // max(1, round(count / _PERIOD)))
    blocks = {
        name: (round(first * period), round(end * period))
        for name, (first, end) in {"validation": _VALIDATION, "test": _TEST}.items()
    }
    return hold_out_blocks(np.arange(count), period, round(_GAP * period), **blocks)
