"""STB in miniature: the files of the real data set, rendered by our renderer from scenes with known ground truth.

The cameras and their motions are repeated here, and the order of the joints as a list, so that the output of the loader
is compared with an independent reference.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import scipy.io
import scipy.linalg
from PIL import Image

from dvae_lib.synthetic import presets, scenes
from dvae_lib.synthetic.scenes import Scene

BASELINE = 120.054  # mm
STEREO = np.array([[822.79041, 0, 318.47345], [0, 822.79041, 250.31296], [0, 0, 1]])
CAMERAS = {
    "BB_left": STEREO,
    "BB_right": STEREO,
    "SK_color": np.array([[607.92271, 0, 314.78337], [0, 607.88192, 236.42484], [0, 0, 1]]),
    "SK_depth": np.array([[475.62768, 0, 336.41179], [0, 474.77709, 238.77962], [0, 0, 1]]),
}
# From the colour camera's frame to the depth camera's: x' = R x + t.
COLOUR_TO_DEPTH = (
    scipy.linalg.expm(np.array([[0, -0.00301, -0.01196], [0.00301, 0, -0.00531], [0.01196, 0.00531, 0]])),
    np.array([-24.0381, -0.4563, -1.2326]),
)
WALL = 1200  # mm; a strip at the right, where the sensor measured nothing, is 0
STRIP = 560


@functools.cache
def _everything() -> Scene:
    return presets.stb(0)[0]


def scene_of(sequence: str, camera: str, frames: list[int], length: int = 1500) -> Scene:
    """The scene in a camera's frame, in some frames of a sequence of `length` frames."""
    first = 1500 * (2 * (int(sequence[1]) - 1) + sequence.endswith("Random"))
    scene = _everything()[first + np.array(frames) * 1500 // length]
    turn, shift = np.eye(3), np.zeros(3)
    if camera == "BB_right":
        shift = np.array([-BASELINE, 0, 0])
    elif camera == "SK_color":
        R, t = COLOUR_TO_DEPTH
        turn, shift = np.linalg.inv(R), -np.linalg.inv(R) @ t
    return dataclasses.replace(
        scene,
        viewpoint=turn @ scene.viewpoint,
        position=scene.position @ turn.T + shift,
        K=np.tile(CAMERAS[camera], (len(scene), 1, 1)),
    )


def labels_of(pose: np.ndarray) -> np.ndarray:
    """`handPara` (3, 21, N) of poses (N, 21, 3) in the book's order, the wrist first."""
    palm = (pose[:, 0] + pose[:, 13]) / 2  # so that the ring finger's MCP, mirrored at it, is the wrist
    fingers = [pose[:, 17:21], pose[:, 13:17], pose[:, 9:13], pose[:, 5:9], pose[:, 1:5]]  # from the little one
    return np.concatenate([palm[:, None], *fingers], axis=1).transpose(2, 1, 0)


def evenly(frames: int, length: int) -> list[int]:
    return [i * length // frames for i in range(frames)]


def write_stb(
    root: Path,
    sequences: tuple[str, ...] = ("B1Counting", "B2Random"),
    frames: int = 2,
    length: int = 1500,
    with_images_level: bool = True,
    cameras: tuple[str, ...] = ("BB_left", "BB_right"),
) -> None:
    """Writes `frames` images of each sequence and camera, spread evenly, and the labels of all `length` frames.

    A complete tree has frames = length, all twelve sequences and all four cameras; the loader must then be given the
    length, which is 1500 in the real data set (`stb.FRAMES`).
    """
    (root / "labels").mkdir(parents=True)
    for sequence in sequences:
        hand_para = labels_of(scenes.pose(scene_of(sequence, "BB_left", list(range(length)), length)))
        for kind in ("BB", "SK"):  # the hand is equally far from both cameras
            path = root / "labels" / f"{sequence}_{kind}.mat"
            scipy.io.savemat(path, {"handPara": hand_para}, do_compression=True)
        folder = (root / "images" if with_images_level else root) / sequence
        folder.mkdir(parents=True)
        chosen = evenly(frames, length)
        for camera in cameras:
            drawn = scenes.draw(scene_of(sequence, camera, chosen, length), 640)  # square: the lower 160 rows are grey
            pictures = drawn["image"].transpose(0, 2, 3, 1)
            if camera == "SK_depth":
                depth = drawn["depth"].copy()
                depth[..., :STRIP][depth[..., :STRIP] == 0] = WALL
                pictures = np.stack([depth % 256, depth // 256, 0 * depth], axis=-1).astype(np.uint8)
            for frame, picture in zip(chosen, pictures, strict=True):
                Image.fromarray(picture[:480]).save(folder / f"{camera}_{frame}.png")
