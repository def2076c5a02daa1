"""Detects the hands in a photograph: MediaPipe's two networks (Zhang et al., 2020), and the steps between them.

The first detects palms in an image of 192 × 192 pixels. The second predicts the joints of one hand, in a square that is
rotated so that the hand points up. `dvae download detector` downloads their weights, and the extra `detect`
(`pip install "dvae-lib[detect]"`) installs the package that runs them.
"""

import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.ops import nms

from dvae_lib import settings
from dvae_lib.files import UserError

PALM_NETWORK, HAND_NETWORK = "palm_detection_full.tflite", "hand_landmark_full.tflite"
PALM, PRESENCE = 0.5, 0.5  # the thresholds of the score of a palm and of the presence of a hand
_PALM_SIZE, _HAND_SIZE = 192, 224  # input sizes of the two networks in pixels
_GRIDS = ((24, 2), (12, 6))  # of the palm anchors: cells per side, and anchors per cell
_SIDE, _SHIFT = 2.6, 0.5  # of the second network's square: its side, and its shift towards the fingers, in palms
_OVERLAP = 0.3  # intersection over union above which two detections are the same
_BORDERS = (2.0, 1.5, 1.0)  # sides of the squares around a photograph, relative to its longer side
_FINEST = 4  # tiles are not smaller than the photograph's longer side divided by this

Array = NDArray[np.floating]


class Hand(NamedTuple):
    """keypoints: (21, 2) pixels of the photograph, in our order of joints, the wrist first. world: (21, 3) mm from
    about the hand's centre, x right, y down, z away, as predicted by the network. presence: its score for the presence
    of a hand, in [0, 1]. right: whether it is a right hand.
    """

    keypoints: Array
    world: Array
    presence: float
    right: bool


@dataclass(frozen=True)
class _Square:
    """A square of a photograph: its centre and side in pixels, and its clockwise rotation in radians."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def cut(self, photograph: Image.Image, size: int) -> Array:
        """(1, size, size, 3) in [0, 1], black outside the photograph."""
        reach = self.side / 2 * (math.sqrt(2) if self.angle else 1)
        left, top = (math.floor(c - reach) for c in (self.x, self.y))
        right, bottom = (math.ceil(c + reach) for c in (self.x, self.y))
        around = photograph.crop((left, top, right, bottom))
        shrunk = [max(1, round(min(1.0, size / self.side) * n)) for n in around.size]
        across, down = (n / whole for n, whole in zip(shrunk, around.size, strict=True))
        # The source of each pixel of the result, in PIL's format.
        c, s = (f(self.angle) * self.side / size for f in (math.cos, math.sin))
        x, y = self.x - left - size / 2 * (c - s), self.y - top - size / 2 * (s + c)
        source = (c * across, -s * across, x * across, s * down, c * down, y * down)
        small = around.resize(shrunk, Image.Resampling.BOX)
        cut = small.transform((size, size), Image.Transform.AFFINE, source, Image.Resampling.BILINEAR)
        return np.asarray(cut, dtype=np.float32)[None] / 255

    def to_photograph(self, points: Array) -> Array:
        """Points (..., 2) of the square, which spans [−½, ½], in pixels of the photograph."""
        return self.side * points @ self.turn + np.array([self.x, self.y])

    @property
    def turn(self) -> Array:
        """The rotation (2, 2), for row vectors."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        return np.array([[c, s], [-s, c]])


class Detector:
    """The two networks, loaded.

    folder: the folder of their weights; by default DVAE_DATA_ROOT/mediapipe.
    Raises UserError, naming the command to run, if the weights or the package that runs them are missing.
    """

    def __init__(self, folder: Path | None = None):
        folder = Path(folder or settings.downloaded("detector"))
        self._palm, self._hand = (_load(folder / name) for name in (PALM_NETWORK, HAND_NETWORK))
        self._anchors = np.concatenate([_cells(cells).repeat(each, 0) for cells, each in _GRIDS])

    def find(self, photograph: NDArray[np.uint8], palm: float = PALM) -> list[Hand]:
        """The hands in a photograph (H, W, 3) uint8, in decreasing order of presence.

        Hands are searched in the whole photograph, then in smaller and smaller tiles until one is found. palm: the
        minimum score of a palm, in [0, 1]; a low one detects more if it is known that there is a hand.
        """
        image = Image.fromarray(photograph)
        for squares in _levels(*image.size):
            palms = _apart([one for square in squares for one in self._palms(image, square, palm)])
            hands = [self._read(image, square) for square in palms]
            boxes = [np.concatenate([hand.keypoints.min(0), hand.keypoints.max(0)]) for hand in hands]
            found = [(h.presence, box, h) for h, box in zip(hands, boxes, strict=True) if h.presence >= PRESENCE]
            if found:
                return _apart(found)
        return []

    def _palms(self, image: Image.Image, square: _Square, least: float) -> Iterator[tuple[float, Array, _Square]]:
        """For each palm in a square with at least the given score: the score, its box (4,), and its hand's square."""
        boxes, logits = self._palm(square.cut(image, _PALM_SIZE))
        scores = 1 / (1 + np.exp(-logits[:, 0].clip(-50, 50)))
        for i in np.flatnonzero(scores >= least):
            offset, size, *points = boxes[i].reshape(-1, 2) / _PALM_SIZE
            points = np.stack([offset, points[0], points[2]]) + self._anchors[i] - 0.5
            centre, wrist, knuckle = square.to_photograph(points)
            half = square.side * size / 2
            palm, (right, down) = 2 * float(half.max()), knuckle - wrist
            up = math.atan2(right, -down)
            x, y = (centre + _SHIFT * palm * np.array([math.sin(up), -math.cos(up)])).tolist()
            yield float(scores[i]), np.concatenate([centre - half, centre + half]), _Square(x, y, _SIDE * palm, up)

    def _read(self, image: Image.Image, square: _Square) -> Hand:
        points, presence, handedness, world = self._hand(square.cut(image, _HAND_SIZE))
        keypoints = square.to_photograph(points.reshape(21, 3)[:, :2] / _HAND_SIZE - 0.5)
        world = 1000 * world.reshape(21, 3).astype(np.float64)
        world[:, :2] = world[:, :2] @ square.turn
        return Hand(keypoints, world, float(presence[0]), bool(handedness[0] > 0.5))


def is_installed() -> bool:
    """Whether the extra `detect` is installed."""
    return importlib.util.find_spec("ai_edge_litert") is not None


def is_ready() -> bool:
    """Whether the extra `detect` is installed and the networks are downloaded."""
    folder = settings.downloaded("detector")
    return is_installed() and all((folder / name).is_file() for name in (PALM_NETWORK, HAND_NETWORK))


def _load(path: Path) -> Callable[[Array], list[Array]]:
    """A network as a function, from its input to its outputs without the batch axis."""
    if not is_installed():
        raise UserError('Detecting hands requires the package ai-edge-litert: run `pip install "dvae-lib[detect]"`.')
    if not path.is_file():
        raise UserError(f"{path} is missing: run `{settings.DOWNLOAD['detector']}` to fetch the networks.")
    from ai_edge_litert.interpreter import Interpreter

    try:
        network = Interpreter(str(path), num_threads=1)
        network.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        advice = f"delete it, and run `{settings.DOWNLOAD['detector']}`"
        raise UserError(f"{path} is not a valid network: {advice}.") from error
    (given,), wanted = network.get_input_details(), network.get_output_details()

    def call(x: Array) -> list[Array]:
        network.set_tensor(given["index"], x)
        network.invoke()
        return [network.get_tensor(output["index"])[0] for output in wanted]

    return call


def _cells(count: int) -> Array:
    """The centres (count², 2) of a grid's cells in [0, 1], row by row."""
    y, x = np.mgrid[:count, :count]
    return (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / count


def _levels(width: int, height: int) -> Iterator[list[_Square]]:
    """The squares in which palms are searched: the photograph, also with borders if a hand fills it; then tiles."""
    side = float(max(width, height))
    yield [_Square(width / 2, height / 2, border * side) for border in _BORDERS]
    while side > _PALM_SIZE and side > max(width, height) / _FINEST:
        side /= 2
        yield [_Square(x, y, side) for y in _spread(height, side) for x in _spread(width, side)]


def _spread(length: int, side: float) -> list[float]:
    """The centres of tiles that cover a length, neighbours overlapping by half."""
    count = math.ceil(2 * length / side) - 1
    return np.linspace(side / 2, length - side / 2, count).tolist() if count > 1 else [length / 2]


def _apart(found: Sequence[tuple[float, Array, Any]]) -> list[Any]:
    """The non-overlapping detections of highest score, given with score and box (4,: left, top, right, bottom)."""
    if not found:
        return []
    scores, boxes, things = zip(*found, strict=True)
    kept = nms(torch.from_numpy(np.stack(boxes)).float(), torch.tensor(scores, dtype=torch.float32), _OVERLAP)
    return [things[i] for i in kept]
