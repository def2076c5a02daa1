"""Miniature copies of RHD in its exact format on disk, rendered by our own renderer."""

import dataclasses
import functools
import pickle
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dvae_lib import hand
from dvae_lib.synthetic import presets, scenes
from dvae_lib.synthetic.scenes import Scene

PIXELS = 320
TO_RHD = np.argsort(hand.ORDERS["rhd"])  # pose[TO_RHD] has the data set's order


def write_rhd(root: Path, training: int = 4, evaluation: int = 2, protocol: int = 3) -> Path:
    """Writes RHD_published_v2 with these numbers of images of each part into `root`, and returns its path.

    Each image shows two hands; in every second image, the larger one is a left hand. protocol: that of the pickles.
    """
    folder = Path(root) / "RHD_published_v2"
    for part, count in (("training", training), ("evaluation", evaluation)):
        pictures = draw(part, count)
        write_part(folder, part, pictures["image"], pictures["mask"], encode_depth(pictures["depth"]))
        write_annotation(folder, part, entries(pictures), protocol)
    return folder


def write_part(folder: Path, part: str, image: np.ndarray, mask: np.ndarray, depth: np.ndarray) -> None:
    """The PNGs of a part: image and depth (N, 320, 320, 3), mask (N, 320, 320), all uint8."""
    for kind, pictures in (("color", image), ("mask", mask), ("depth", depth)):
        (folder / part / kind).mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / part / kind / f"{i:05d}.png", compress_level=1)


def write_annotation(folder: Path, part: str, content, protocol: int = 3) -> Path:
    path = folder / part / f"anno_{part}.pickle"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def entries(pictures: dict[str, np.ndarray]) -> dict[int, dict[str, np.ndarray]]:
    """The content of an annotation: joints (N, 42, 3) mm etc. in RHD's units, layout and dtypes."""
    xyz, uv, visible = pictures["xyz"] / 1000, pictures["uv"], pictures["visible"]
    uv_vis = np.concatenate([uv, visible[..., None]], axis=-1)
    return {
        i: {"xyz": xyz[i].astype(np.float32), "uv_vis": uv_vis[i], "K": pictures["K"][i].astype(np.float32)}
        for i in range(len(xyz))
    }


def encode_depth(depth: np.ndarray) -> np.ndarray:
    """Depth (…) mm as red and green of (…, 3): a fraction of 5 m in 65535 steps."""
    steps = np.rint(depth / 5000 * 65535).astype(int)
    return np.stack([steps // 256, steps % 256, 0 * steps], axis=-1).astype(np.uint8)


@functools.cache
def draw(part: str, count: int) -> dict[str, np.ndarray]:
    """Full frames of the preset synth-rhd, with two hands in each.

    Returns image (N, 320, 320, 3), mask and depth (N, 320, 320) as rendered, xyz (N, 42, 3) mm, uv (N, 42, 2),
    visible (N, 42), K (N, 3, 3), and `right` (N,): whether the hand that was rendered as the dominant one is the right.
    """
    scene = _preset(part)
    place = np.arange(count) * (len(scene) - 1) // count
    right = np.arange(count) % 2 == 1
    near, far = _whole_frame(scene[place], right), _beside(_whole_frame(scene[place + 1], ~right), scene[place])
    large, small = scenes.draw(near, PIXELS), scenes.draw(far, PIXELS)

    covered = (small["mask"] > 0) & ((large["mask"] == 0) | (small["depth"] < large["depth"]))
    seen = {name: np.where(covered, small[name], large[name]) for name in ("mask", "depth")}
    seen["image"] = np.where(covered[:, None], small["image"], large["image"]).transpose(0, 2, 3, 1)

    joints = np.stack([scenes.pose(near), scenes.pose(far)], axis=1)[:, :, TO_RHD]
    joints = np.where(right[:, None, None, None], joints[:, ::-1], joints)  # left, then right
    xyz = joints.reshape(count, 42, 3)
    uv = hand.project(torch.from_numpy(xyz), torch.from_numpy(near.K)).numpy()
    return {**seen, "xyz": xyz, "uv": uv, "visible": _visible(uv, seen["mask"]), "K": near.K, "right": right}


@functools.cache
def _preset(part: str) -> Scene:
    return {"training": presets.rhd, "evaluation": presets.rhd_validation}[part](0)[0]


def _whole_frame(scene: Scene, right: np.ndarray) -> Scene:
    window = np.tile([0.0, 0.0, PIXELS], (len(scene), 1))
    return dataclasses.replace(scene, window=window, right=right)


def _beside(scene: Scene, other: Scene) -> Scene:
    """The scene's hands at 0.95 m, to the side of the other's, with the other's background and camera."""
    side = np.where(other.position[:, :1] > 0, -0.35, 0.35)
    position = np.concatenate([950 * side, np.zeros_like(side), np.full_like(side, 950)], axis=1)
    scene = dataclasses.replace(scene, position=position)
    return scenes.replace(scene, _whole_frame(other, scene.right), "background", "camera")


def _visible(uv: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(N, 42): whether the pixel at the joint shows the joint's own hand, an estimate like the data set's."""
    u, v = np.moveaxis(np.floor(uv).astype(int), -1, 0)
    inside = (np.minimum(u, v) >= 0) & (np.maximum(u, v) < PIXELS)
    ids = mask[np.arange(len(mask))[:, None], v.clip(0, PIXELS - 1), u.clip(0, PIXELS - 1)]
    left = np.arange(42) < 21
    return inside & (ids > 1) & ((ids <= 17) == left)
