"""A scene: all factors of an image of a hand, each of which can be replaced separately (chapter 2).

Real photographs do not show what the same hand would look like in another room. A scene can be rendered again with one
factor replaced and everything else identical to the last bit: a true counterfactual.

    other_room = replace(scene, other, "background")
    draw(other_room, 64)["image"]
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dvae_lib.synthetic import solid
from dvae_lib.synthetic.kinematics import FloatArray, forward
from dvae_lib.synthetic.renderer import render
from dvae_lib.synthetic.rooms import paint_room

# The factors, and the arrays of a scene that belong to each.
FACTORS = {
    "pose": ("angles",),
    "viewpoint": ("viewpoint",),
    "position": ("position",),
    "handedness": ("right",),
    "person": ("person", "proportions", "look", "sleeve"),
    "background": ("content",),
    "light": ("light",),
    "camera": ("K", "window"),
}


@dataclass(frozen=True)
class Scene:
    """The factors of N images; every array's first axis is N.

    angles: (N, 18) rad, see `kinematics.ANGLES`.
    viewpoint: (N, 3, 3), rotates the hand's frame to the camera's (columns: the directions of its x, y and z).
    position: (N, 3) mm of the palm's centre, the midpoint of wrist and middle MCP, in the camera's frame.
    right: (N,) bool; a right hand is the left one with x → −x in the hand's frame.
    person: (N,) their numbers; proportions (N, 6), look (N, 12) and sleeve (N,): see `appearance.People`.
    content: (N,) the background's number, see `rooms`.
    light: (N, 12), see `shading`.
    K: (N, 3, 3) the camera, whose frame is `frame` = (width, height) pixels.
    window: (N, 3) the square of that frame that is rendered: left, top, side, in its pixels.
    """

    angles: FloatArray
    viewpoint: FloatArray
    position: FloatArray
    right: NDArray[np.bool_]
    person: NDArray[np.integer]
    proportions: FloatArray
    look: FloatArray
    sleeve: FloatArray
    content: NDArray[np.integer]
    light: FloatArray
    K: FloatArray
    window: FloatArray
    frame: tuple[int, int]

    def __len__(self) -> int:
        return len(self.angles)

    def __getitem__(self, indices: NDArray | slice | list[int]) -> "Scene":
        """Some of the images, in any order."""
        return dataclasses.replace(self, **{name: getattr(self, name)[indices] for name in _arrays()})


def _arrays() -> list[str]:
    return [name for names in FACTORS.values() for name in names]


def concatenate(scenes: Sequence[Scene]) -> Scene:
    """The images of several scenes with the same frame size, one after another."""
    arrays = {name: np.concatenate([getattr(scene, name) for scene in scenes]) for name in _arrays()}
    return dataclasses.replace(scenes[0], **arrays)


def replace(scene: Scene, other: Scene, *factors: str) -> Scene:
    """The scene with some of its factors (names in FACTORS) taken from another: N images and N others, or one."""
    unknown = set(factors) - set(FACTORS)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))} is not a factor of a scene: choose from {', '.join(FACTORS)}.")
    changes = {}
    for name in (name for factor in factors for name in FACTORS[factor]):
        old, new = getattr(scene, name), getattr(other, name)
        changes[name] = np.broadcast_to(new, old.shape).copy()
    return dataclasses.replace(scene, **changes)


def _place(scene: Scene) -> tuple[FloatArray, FloatArray]:
    """Joints (N, 21, 3) mm in the camera's frame, and cones (N, P, 16) there."""
    joints, frames = forward(scene.angles, scene.proportions)
    cones = solid.build(joints, frames, scene.proportions, scene.sleeve)
    turn = scene.viewpoint * np.where(scene.right[:, None], [-1.0, 1.0, 1.0], 1.0)[:, None, :]
    palm = (joints[:, 0] + joints[:, 9]) / 2
    origin = scene.position - (turn @ palm[..., None])[..., 0]
    pose = joints @ turn.transpose(0, 2, 1) + origin[:, None]
    return pose, solid.place(cones, scene.viewpoint, origin, scene.right)


def pose(scene: Scene) -> FloatArray:
    """The 21 joints (N, 21, 3) mm in the camera's frame, the wrist first."""
    return _place(scene)[0]


def crop_camera(scene: Scene, size: int) -> FloatArray:
    """The camera (N, 3, 3) of the window rendered at size × size pixels: K' = A K."""
    A = np.zeros((len(scene), 3, 3))
    A[:, 0, 0] = A[:, 1, 1] = size / scene.window[:, 2]
    A[:, :2, 2] = -scene.window[:, :2] * A[:, :1, 0]
    A[:, 2, 2] = 1
    return A @ scene.K


def draw(scene: Scene, size: int) -> dict[str, NDArray]:
    """Renders the windows: image uint8 (N, 3, S, S), depth uint16 (N, S, S) mm, mask uint8 (N, S, S), ids as in RHD."""
    _, cones = _place(scene)
    contents, room = np.unique(scene.content, return_inverse=True)
    rooms = np.stack([paint_room(int(content), *scene.frame) for content in contents])
    K = crop_camera(scene, size)
    return render(cones, scene.right, K, scene.look, scene.light, rooms, room, scene.window, size)
