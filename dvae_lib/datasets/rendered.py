"""Rendered hands as a data set: the presets of `dvae_lib.synthetic`, cropped by the evaluation protocol (chapter 2).

Images are not rendered and then cropped: the crop's camera K' = A K renders the window directly at the required size.
In addition to the schema of `dataset`, samples have labels of the factors that they were rendered from (`LABELS`).
"""

import dataclasses

import numpy as np
import torch

from dvae_lib.datasets.crop import crop_window
from dvae_lib.datasets.dataset import Fields, schema
from dvae_lib.datasets.splits import evenly
from dvae_lib.files import UserError
from dvae_lib.hand import project
from dvae_lib.synthetic import RECIPES, presets, scenes
from dvae_lib.synthetic.presets import PRESETS
from dvae_lib.synthetic.scenes import Scene

UNDRAWN = ("synth-poses",)  # presets that contain only poses
LABELS = {"angles": (18,), "viewpoint": (3, 3), "position": (3,), "proportions": (6,), "light": (12,)}


class SyntheticSource:
    """A preset of `synthetic.presets`, such as "synth-stb", as a `Source` (see `dvae_lib.datasets.dataset`).

    seed: determines people, motion and lights. motion: for synth-stb and synth-stb-rooms, another seed for the motion
    only.
    frames_per_sequence: for these, how many of the 1500 frames, spread evenly; count: for the other presets, how many
    samples, spread evenly. All by default.
    """

    def __init__(
        self,
        name: str,
        seed: int = 0,
        motion: int | None = None,
        frames_per_sequence: int | None = None,
        count: int | None = None,
    ):
        if name not in PRESETS:
            raise UserError(f"There is no preset “{name}”: choose one of {', '.join(PRESETS)}.")
        recorded = name.startswith("synth-stb")
        options = {"motion": motion, "frames_per_sequence": frames_per_sequence, "count": count}
        unfit = ("count",) if recorded else ("motion", "frames_per_sequence")
        if given := [option for option in unfit if options[option] is not None]:
            raise UserError(f"{given[0]} is not an option of {name}: leave it out.")
        self.name = name
        moved = {} if motion is None else {"motion": motion}
        whole, sequence, frame, names = PRESETS[name](seed, **moved)
        self.sequences = list(names)
        chosen = np.arange(len(whole))
        if frames_per_sequence is not None:
            kept = evenly(presets.STB_FRAMES, frames_per_sequence, "frames_per_sequence")
            chosen = (np.arange(0, len(whole), presets.STB_FRAMES)[:, None] + kept).ravel()
        elif count is not None:
            chosen = evenly(len(whole), count, "count")
        self._scene, self._sequence, self._frame = whole[chosen], sequence[chosen], frame[chosen]
        self._scene = protocol_window(self._scene)
        self.fingerprint = {"recipe": RECIPES[name], "seed": seed, "count": len(chosen), "of": len(whole)} | moved

    def __len__(self) -> int:
        return len(self._scene)

    def scene(self, indices: np.ndarray | list[int]) -> Scene:
        """The factors of some samples, which can be changed (`scenes.replace`) and rendered again."""
        return self._scene[np.asarray(indices)]

    def render(self, scene: Scene, size: int) -> dict[str, np.ndarray]:
        """Renders scenes: image, depth, mask and the fields of `locate`, as in the schema, and the factors' labels."""
        return {
            **scenes.draw(scene, size),
            **self.locate(scene, size),
            "content": scene.content.astype(np.int32),
            "person": scene.person.astype(np.int32),
            **{name: getattr(scene, name).astype(np.float32) for name in LABELS},
        }

    def locate(self, scene: Scene, size: int) -> dict[str, np.ndarray]:
        """The joints of scenes: pose, K, visible and right, as in the schema."""
        joints = scenes.pose(scene)
        return {
            "pose": joints.astype(np.float32),
            "K": scenes.crop_camera(scene, size).astype(np.float32),
            "visible": _visible(scene, joints),
            "right": scene.right.copy(),
        }

    def fields(self, size: int) -> Fields:
        if self.name in UNDRAWN:
            return schema(size, "pose", "K", "visible", "right", "sequence", "frame")
        names = ("image", "depth", "mask", "pose", "K", "visible", "right", "sequence", "frame", "content")
        labels = {name: (shape, np.dtype(np.float32)) for name, shape in LABELS.items()}
        return schema(size, *names) | {"person": ((), np.dtype(np.int32))} | labels

    def read(self, indices: np.ndarray, size: int) -> dict[str, np.ndarray]:
        scene = self.scene(indices)
        return {
            **(self.locate(scene, size) if self.name in UNDRAWN else self.render(scene, size)),
            "sequence": self._sequence[indices].astype(np.int32),
            "frame": self._frame[indices].astype(np.int32),
        }


def _uv(scene: Scene, joints: np.ndarray) -> torch.Tensor:
    return project(torch.from_numpy(joints), torch.from_numpy(scene.K))


def _visible(scene: Scene, joints: np.ndarray) -> np.ndarray:
    """(N, 21): whether a joint is within the camera's frame. A joint behind a finger counts as visible, as in RHD."""
    uv = _uv(scene, joints).numpy()
    return np.all((uv >= 0) & (uv < scene.frame), axis=-1)


def protocol_window(scene: Scene) -> Scene:
    """The scene with the window that the evaluation protocol crops around the hand."""
    joints = scenes.pose(scene)
    centre, side = crop_window(_uv(scene, joints), torch.from_numpy(_visible(scene, joints)), scene.frame)
    corner = centre - side[:, None] / 2
    return dataclasses.replace(scene, window=torch.cat([corner, side[:, None]], dim=1).numpy())
