r"""583 photographs of real hands with 3D poses: the real-world test set of Ge et al. (CVPR 2019) (chapter 12).

On disk, in `DVAE_DATA_ROOT`/realhand: images/00000.jpg … 00582.jpg, 256 × 256 pixels, each the square `bbox` of a
1280 × 720 video frame; pose_gt.mat with `pose_gt` (583, 21, 3) in cm; params.mat with `bbox` (x, y, width, height)
and `cam_param` (fx, fy, u0, v0) of the whole frame. The joints are in the book's order, with the wrist first.
The licence allows non-commercial research and education; `dvae download realhand` fetches the files.
"""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from dvae_lib import settings
from dvae_lib.datasets.crop import crop_photographs
from dvae_lib.datasets.dataset import Fields, schema
from dvae_lib.datasets.formats.matlab import read_mat
from dvae_lib.datasets.splits import hold_out_blocks
from dvae_lib.files import UserError, absent, explain_os_errors, read_image

RECIPE = 1  # of this module; increased when the same files give other samples
COUNT, PHOTO = 583, 256  # photographs, and the side of each in pixels
# The median distance of two poses relative to the wrist is 12 mm at 1 frame apart, 44 at 5, 58 at 10, and 64 over all
# pairs. So poses 5 frames apart are nearly independent, and poses 10 frames apart are independent. Gaps of 5 frames on
# either side of blocks of 30 leave 283 photographs for training, 120 for validation, 120 for the test, and 423 for the
# final training.
PERIOD, GAP = 150, 5
VALIDATION, TEST = (60, 90), (95, 125)
_ADVICE = (
    f"Run `{settings.DOWNLOAD['realhand']}` to fetch what is missing or damaged, or delete the folder: the book works "
    "without it."
)


class RealHandSource:
    """The photographs as a `Source` (see `dvae_lib.datasets.dataset`), cropped by the evaluation protocol.

    folder: the one that contains images/, pose_gt.mat and params.mat; by default DVAE_DATA_ROOT/realhand.
    Raises UserError, naming the file and what to do, if the folder is not the data set, if a photograph or a label
    is missing or damaged, or if a label is not a number.
    """

    name = "realhand"
    sequences = ["real-world test set"]

    def __init__(self, folder: Path | None = None):
        self.folder = Path(folder or settings.data_root() / "realhand")
        if not (self.folder / "images").is_dir():
            raise UserError(f"{self.folder} is not the realhand data set: it has no folder “images”. {_ADVICE}")
        self.pose = 10 * read_mat(self.folder / "pose_gt.mat", "pose_gt", (COUNT, 21, 3), _ADVICE)  # cm → mm
        bbox = read_mat(self.folder / "params.mat", "bbox", (COUNT, 4), _ADVICE)
        fx, fy, u0, v0 = read_mat(self.folder / "params.mat", "cam_param", (COUNT, 4), _ADVICE).T
        self.K = _photograph_camera(bbox, fx, fy, u0, v0)
        missing = absent([self.photograph(frame) for frame in range(COUNT)])
        if missing:
            raise UserError(f"{missing[0]} is missing, one of {len(missing)} photographs. {_ADVICE}")

    def __len__(self) -> int:
        return COUNT

    def photograph(self, frame: int) -> Path:
        return self.folder / "images" / f"{frame:05d}.jpg"

    @cached_property
    def fingerprint(self) -> dict:
        files = [self.folder / "pose_gt.mat", self.folder / "params.mat", *map(self.photograph, range(COUNT))]
        digest = hashlib.sha256()
        for path in files:
            with explain_os_errors(path, _ADVICE):
                digest.update(path.read_bytes())
        return {"recipe": RECIPE, "files": digest.hexdigest()}

    def fields(self, size: int) -> Fields:
        return schema(size, "image", "pose", "K", "visible", "right", "sequence", "frame")

    def read(self, indices: np.ndarray, size: int) -> dict[str, np.ndarray]:
        pose, K = torch.from_numpy(self.pose[indices]), torch.from_numpy(self.K[indices])
        photographs = [read_image(self.photograph(frame), (PHOTO, PHOTO), _ADVICE) for frame in indices.tolist()]
        return crop_photographs(photographs, pose, K, size) | {
            "right": is_right(self.pose[indices]),
            "sequence": np.zeros(len(indices), np.int32),
            "frame": indices.astype(np.int32),
        }


def _photograph_camera(bbox: np.ndarray, fx: np.ndarray, fy: np.ndarray, u0: np.ndarray, v0: np.ndarray) -> np.ndarray:
    """K (N, 3, 3) of the photographs: the video's camera after cropping to `bbox` and scaling."""
    x, y, width, height = bbox.T
    K = np.zeros((len(bbox), 3, 3))
    K[:, 0, 0], K[:, 0, 2] = fx * PHOTO / width, (u0 - x) * PHOTO / width
    K[:, 1, 1], K[:, 1, 2] = fy * PHOTO / height, (v0 - y) * PHOTO / height
    K[:, 2, 2] = 1
    return K


def is_right(pose: np.ndarray) -> np.ndarray:
    """Which poses (N, 21, 3) are right hands: (N,) bool, determined by the side to which the fingers bend.

    With the camera's axes (x right, y down, z forward) the cross product of the index and the little MCP, both relative
    to the wrist, points out of the back of a left hand and out of the palm of a right one. Fingers and thumb bend
    towards the palm. Extended fingers bend little, so the five fingertips are summed. All photographs show left hands,
    with a margin of at least 38 mm.
    """
    wrist, index, little = pose[:, 0], pose[:, 5], pose[:, 17]
    normal = np.cross(index - wrist, little - wrist)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    bend = (pose[:, [8, 12, 16, 20]] - pose[:, [5, 9, 13, 17]]).sum(axis=1) + pose[:, 4] - wrist
    return (bend * normal).sum(axis=1) > 0


def split(photographs) -> dict[str, np.ndarray]:
    """The indices of the photographs of each part, of the source or of the data set prepared from it.

    The photographs are frames of one video, so blocks are held out: see `splits.hold_out_blocks`.
    """
    return hold_out_blocks(np.arange(len(photographs)), PERIOD, GAP, validation=VALIDATION, test=TEST)
