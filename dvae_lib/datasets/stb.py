r"""STB: 18 000 stereo pairs of a left hand with 3D poses and six backgrounds (Zhang et al., ICIP 2017) (chapter 2).

On disk, in `DVAE_DATA_ROOT`/stb: images/<sequence>/<view>_<frame>.png, 640 × 480 pixels, with the sequences
B1Counting, B1Random … B6Random, the frames 0 … 1499 and the views of `VIEWS`; labels/<sequence>_BB.mat for the stereo
camera and labels/<sequence>_SK.mat for the depth camera, each with `handPara` (3, 21, 1500) in mm. The colours of
depth images encode R + 256 G mm. `stb_layout` handles the other folder structures of the archives.

Joint 0 of the labels is the palm's centre. The wrist is not labelled; the protocol of Zimmermann & Brox (ICCV 2017)
defines it as the ring finger's MCP mirrored at the palm's centre.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from dvae_lib import settings
from dvae_lib.datasets.crop import GREY, PROTOCOL_SIZE, crop, crop_matrix, crop_nearest, crop_window
from dvae_lib.datasets.dataset import Fields, schema
from dvae_lib.datasets.formats.matlab import read_mat
from dvae_lib.datasets.splits import evenly
from dvae_lib.datasets.stb_layout import ADVICE, SEQUENCES, Layout
from dvae_lib.files import UserError, read_image
from dvae_lib.hand import MIDDLE_MCP, MIDDLE_PIP, ORDERS, project

RECIPE = 1  # of this module; increased when the same files give other samples
FRAMES = 1500  # of each sequence
WIDTH, HEIGHT = 640, 480
RING_MCP = 13
_PATCH = PROTOCOL_SIZE + 4  # the widest window, and two pixels on either side for interpolation
_THREADS = min(8, os.cpu_count() or 1)  # PNGs are decoded without holding Python's GIL


@dataclass(frozen=True)
class View:
    """A camera of STB. A row X of its labels is at (X − origin) R in the camera's frame, where R = exp([turn]×).

    labels: "BB" or "SK", the label file that contains its joints.
    intrinsics: fx, fy, cx, cy in pixels, as published. Whether their origin is the corner of the first pixel, as in
        this library, or its centre, is not documented, and half a pixel is too little to notice.
    origin: mm; turn: rad.
    """

    labels: str
    intrinsics: tuple[float, float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def K(self) -> np.ndarray:
        fx, fy, cx, cy = self.intrinsics
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])

    def see(self, joints: np.ndarray) -> np.ndarray:
        """Labelled points (…, 3) in this camera's frame; mm."""
        return (joints - np.array(self.origin)) @ Rotation.from_rotvec(self.turn).as_matrix()


_STEREO = (822.79041, 822.79041, 318.47345, 250.31296)
VIEWS = {
    "BB_left": View("BB", _STEREO),
    "BB_right": View("BB", _STEREO, origin=(120.054, 0.0, 0.0)),
    # The data set states the motion from the colour camera's frame to the depth camera's, in which its labels are:
    # as columns x' = R x + t. The rows (x' − t)ᵀ R are the inverse.
    "SK_color": View(
        "SK",
        (607.92271, 607.88192, 314.78337, 236.42484),
        origin=(-24.0381, -0.4563, -1.2326),
        turn=(0.00531, -0.01196, 0.00301),
    ),
    "SK_depth": View("SK", (475.62768, 474.77709, 336.41179, 238.77962)),
}


class STBSource:
    """The frames of STB as a `Source` (see `dvae_lib.datasets.dataset`), cropped by the evaluation protocol.

    folder: that of the data set; by default DVAE_DATA_ROOT/stb.
    views: names in `VIEWS`. By default both images of a stereo pair, each a separate sample in its own camera's
        frame: the “18k pairs” of the paper are 12 × 1500 such pairs, which are 36 000 samples; in the split of the
        literature, 6000 of them are the test set. Many later works use ("BB_left",) only: 18 000 samples, 3000 for the
        test. ("SK_depth",) has the field `depth` instead of `image`, and cannot be combined with the others.
    sequences: some of `SEQUENCES`; all by default.
    frames_per_sequence: how many of the 1500, spread evenly; all by default. The other images may be missing.

    Samples are ordered by sequence, then by frame, then by view. They have the schema's fields and `view`, the index
    in `VIEWS`; `palm` is the labelled centre of the palm, and `content` the background's number, 0 for B1's. The data
    set does not mark any joint as occluded, so all are visible, and it shows only left hands.

    Raises UserError, naming the file and what to do, if the folder is not the data set, if a sequence, an image or a
    label is missing or damaged, or if a label is implausible.
    """

    name = "stb"

    def __init__(
        self,
        folder: Path | None = None,
        views: Sequence[str] = ("BB_left", "BB_right"),
        sequences: Sequence[str] | None = None,
        frames_per_sequence: int | None = None,
    ):
        self.folder = Path(folder or settings.data_root() / "stb")
        self.views = _chosen(views, list(VIEWS), "views")
        if "SK_depth" in self.views and len(self.views) > 1:
            raise UserError(
                "The view SK_depth has depth instead of colours: use it without other views, or leave it out."
            )
        self.sequences = _chosen(SEQUENCES if sequences is None else sequences, SEQUENCES, "sequences")
        frames = evenly(FRAMES, FRAMES if frames_per_sequence is None else frames_per_sequence, "frames_per_sequence")

        cameras = list(dict.fromkeys(VIEWS[view].labels for view in self.views))
        layout = Layout(self.folder)
        layout.check(self.sequences, self.views, cameras)
        axes = (range(len(self.sequences)), frames, [list(VIEWS).index(view) for view in self.views])
        self._sequence, self._frame, self._view = (a.ravel() for a in np.meshgrid(*axes, indexing="ij"))
        images = [[layout.images(s, view, frames.tolist()) for view in self.views] for s in self.sequences]
        self._images = [path for views in images for pair in zip(*views, strict=True) for path in pair]
        missing = [path for path in self._images if path not in layout]
        if missing:
            raise UserError(f"{missing[0]} is missing, one of {len(missing)} images. {ADVICE}")

        self._labels = {(s, camera): layout.label(s, camera) for s in self.sequences for camera in cameras}
        joints = {key: read_labels(path)[frames] for key, path in self._labels.items()}
        seen = [[VIEWS[v].see(joints[s, VIEWS[v].labels]) for v in self.views] for s in self.sequences]
        self.pose = np.stack([np.stack(views, axis=1) for views in seen]).reshape(-1, 21, 3)
        self.palm = self.pose[:, 0].copy()
        self.K = np.stack([view.K for view in VIEWS.values()])[self._view]
        # The window is computed from the protocol's wrist, which is mirrored in the image. The wrist that is mirrored
        # in 3D projects to 1 px from there (median of B1Counting; at most 2.7).
        self.uv = project(torch.from_numpy(self.pose), torch.from_numpy(self.K))
        self.uv[:, 0] = _mirrored(self.uv)
        self.pose[:, 0] = _mirrored(self.pose)

    def __len__(self) -> int:
        return len(self._images)

    @cached_property
    def fingerprint(self) -> dict:
        """Labels are hashed by content, images by name and size only: tens of thousands need not be read twice."""
        labels, images = hashlib.sha256(), hashlib.sha256()
        for path in self._labels.values():
            labels.update(path.read_bytes())
        for sequence, path in zip(self._sequence.tolist(), self._images, strict=True):
            images.update(f"{self.sequences[sequence]}/{path.name} {path.stat().st_size}\n".encode())
        return {"recipe": RECIPE, "views": self.views, "labels": labels.hexdigest(), "images": images.hexdigest()}

    def fields(self, size: int) -> Fields:
        pixels = "depth" if self.views == ["SK_depth"] else "image"
        names = ("pose", "palm", "K", "visible", "right", "sequence", "frame", "content")
        return schema(size, pixels, *names) | {"view": ((), np.dtype(np.int32))}

    def read(self, indices: np.ndarray, size: int) -> dict[str, np.ndarray]:
        visible = torch.ones(len(indices), 21, dtype=torch.bool)
        centre, side = crop_window(self.uv[indices], visible, (WIDTH, HEIGHT))
        background = [int(self.sequences[s][1]) - 1 for s in self._sequence[indices]]
        return {
            **self._pixels(indices, centre, side, size),
            "pose": self.pose[indices].astype(np.float32),
            "palm": self.palm[indices].astype(np.float32),
            "K": (crop_matrix(centre, side, size) @ torch.from_numpy(self.K[indices])).float().numpy(),
            "visible": visible.numpy(),
            "right": np.zeros(len(indices), bool),
            "sequence": self._sequence[indices].astype(np.int32),
            "frame": self._frame[indices].astype(np.int32),
            "content": np.array(background, np.int32),
            "view": self._view[indices].astype(np.int32),
        }

    def _pixels(
        self, indices: np.ndarray, centre: torch.Tensor, side: torch.Tensor, size: int
    ) -> dict[str, np.ndarray]:
        """The field `image` (N, 3, size, size) or `depth` (N, size, size) of some samples."""
        # Only the part of each image in the window is kept, a fifth of it, since crops are computed in floats.
        corner = (centre - side[:, None] / 2).floor() - 1
        depth = self.views == ["SK_depth"]
        paths, fill = [self._images[i] for i in indices.tolist()], 0 if depth else GREY
        with ThreadPoolExecutor(_THREADS) as pool:
            read = list(pool.map(lambda path, at: _read_patch(path, at, fill), paths, corner.long().tolist()))
        patches = torch.from_numpy(np.stack(read))
        if not depth:
            return {"image": crop(patches.permute(0, 3, 1, 2), centre - corner, side, size).numpy()}
        # The nearest measurement, not a mean: a mean could be between two surfaces, and 0 is not a distance.
        millimetres = patches[..., 0].int() + 256 * patches[..., 1].int()
        return {"depth": crop_nearest(millimetres, centre - corner, side, size).numpy().astype(np.uint16)}


def expected(folder: Path, views: Sequence[str] = tuple(VIEWS)) -> list[Path]:
    """The paths of all files of the complete data set, or of some of its views, whether they exist or not.

    Labels first, then images, by sequence. A missing file is expected beside files of its kind.
    """
    layout = Layout(Path(folder))
    cameras = dict.fromkeys(VIEWS[view].labels for view in views)
    labels = [layout.label(sequence, camera) for sequence in SEQUENCES for camera in cameras]
    images = [layout.images(sequence, view, range(FRAMES)) for sequence in SEQUENCES for view in views]
    return labels + [path for folder in images for path in folder]


def read_labels(path: Path) -> np.ndarray:
    """Joints (1500, 21, 3) of a label file in the book's order, mm; joint 0 is the palm's centre.

    Raises UserError if the file is missing or damaged, or if a frame is not a plausible hand in mm.
    """
    joints = read_mat(path, "handPara", (3, 21, FRAMES), ADVICE, frame_axis=2)
    joints = joints.transpose(2, 1, 0)[:, ORDERS["stb"]]
    with np.errstate(over="ignore"):  # a damaged byte can make any number
        palm, wrist = joints[:, 0], _mirrored(joints)
        reach = np.linalg.norm(joints - palm[:, None], axis=-1).max(axis=1)
        bone = np.linalg.norm(joints[:, MIDDLE_MCP] - joints[:, MIDDLE_PIP], axis=-1)
        nearest = np.minimum(joints[..., 2].min(axis=1), wrist[:, 2])
        # Limits that allow any hand, but distinguish mm from cm and metres, and a hand from damaged data.
        sound = (reach < 300) & (bone > 15) & (nearest > 50) & (np.linalg.norm(palm, axis=1) < 3000)
    if not sound.all():
        i = sound.argmin()
        raise UserError(
            f"{path}: frame {i} is not a hand in mm in front of a camera: its nearest joint is {nearest[i]:.4g} from "
            f"the camera, its farthest {reach[i]:.4g} from the palm, its middle phalanx {bone[i]:.4g} long. {ADVICE}"
        )
    return joints


def _chosen(names: Sequence[str], known: list[str], option: str) -> list[str]:
    if not names or not set(names) <= set(known) or len(set(names)) < len(names):
        raise UserError(
            f"{option} of STB are {', '.join(names) or 'none'}: choose one or more of {', '.join(known)}, each once."
        )
    return list(names)


def _mirrored(joints):
    """The ring finger's MCP mirrored at joint 0, the palm's centre, of (N, 21, D): the wrist of the protocol."""
    return 2 * joints[:, 0] - joints[:, RING_MCP]


def _read_patch(path: Path, corner: list[int], fill: float) -> np.ndarray:
    """The square (_PATCH, _PATCH, 3) of an image, right of and below `corner` (column, row), padded with `fill`."""
    image = read_image(path, (WIDTH, HEIGHT), ADVICE)
    left, top = corner
    patch = np.full((_PATCH, _PATCH, 3), fill, dtype=np.uint8)
    u0, u1 = np.clip([left, left + _PATCH], 0, WIDTH)
    v0, v1 = np.clip([top, top + _PATCH], 0, HEIGHT)
    if u0 < u1 and v0 < v1:
        patch[v0 - top : v1 - top, u0 - left : u1 - left] = image[v0:v1, u0:u1]
    return patch
