"""An anatomical hand: named joint angles and bone lengths → 21 joints and the frames of their bones (chapter 2).

The hand's own frame has its origin at the wrist: x points to the thumb's side (radial), y along the middle
metacarpal (distal), z out of the back of the hand (dorsal). For a left hand this frame is right-handed; a right
hand is its mirror image. Lengths are in millimetres, angles in radians; all arrays are batched over the first axis.
"""

from collections.abc import Mapping

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

FloatArray = NDArray[np.floating]

# The degrees of freedom. Flexion bends towards the palm, abduction moves towards the thumb's side; the last joint of
# each finger follows the middle one. The thumb's opposition moves it on a cone from the plane of the palm to in front
# of the palm, and its abduction is the opening angle of that cone.
ANGLES = (
    ("thumb opposition", "thumb abduction", "thumb MCP flexion", "thumb IP flexion")
    + tuple(
        f"{finger} {angle}"
        for finger in ("index", "middle", "ring", "little")
        for angle in ("MCP flexion", "MCP abduction", "PIP flexion")
    )
    + ("wrist flexion", "wrist deviation")
)
# Lowest and highest angle of each, in degrees.
_FINGER_LIMITS = [(-15, 90), (-18, 18), (-5, 110)]
LIMITS = np.radians([(-10, 85), (5, 60), (-5, 60), (-15, 80), *_FINGER_LIMITS * 4, (-50, 60), (-20, 30)])
DIP_OF_PIP = 2 / 3  # the tendons couple the last two joints of a finger

# Proportions of a person, as factors of the average hand's.
PROPORTIONS = ("size", "finger length", "palm width", "thumb length", "thickness", "knuckles")

# The average adult hand (mm): positions of the knuckles and the thumb's base, and lengths of the bones from there on.
_KNUCKLES = np.array([[23.0, 84.0, -2.0], [0.0, 87.0, 0.0], [-20.0, 80.0, -1.5], [-37.5, 70.0, -6.0]])
_THUMB_BASE = np.array([20.0, 20.0, -10.0])
_THUMB_BONES = np.array([43.0, 33.0, 27.0])
_PHALANGES = np.array([[38.5, 24.0, 22.0], [41.0, 27.0, 23.0], [38.5, 25.5, 23.0], [31.0, 19.0, 20.5]])
# Each finger's plane of flexion is rotated slightly about its metacarpal, so that bent fingers converge.
_ROLL = np.radians([6.0, 0.0, -5.0, -11.0])
_THUMB_ROLL = np.radians(48.0)  # the thumb's nail faces half sideways when the hand is flat


def turn(axis: int, angle: FloatArray) -> FloatArray:
    """Rotations (..., 3, 3) by an angle (...) about x (0), y (1) or z (2), acting on columns."""
    angle = np.asarray(angle, dtype=np.float64)
    c, s = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    R = np.zeros((*angle.shape, 3, 3))
    R[..., axis, axis] = 1
    R[..., i, i] = R[..., j, j] = c
    R[..., i, j], R[..., j, i] = -s, s
    return R


def forward(angles: FloatArray, proportions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Forward kinematics of a left hand.

    angles: (N, 18) rad, in the order of ANGLES.
    proportions: (N, 6), in the order of PROPORTIONS; ones give the average hand.

    Returns the joints (N, 21, 3) mm in the hand's frame, the wrist at the origin, and for each joint the frame
    (N, 21, 3, 3) of the bone that ends there, whose columns are the directions radial, along the bone, dorsal.
    Frame 0 is the forearm's, whose second column points to the hand.
    """
    n = len(angles)
    a = {name: angles[:, i] for i, name in enumerate(ANGLES)}
    p = {name: proportions[:, i] for i, name in enumerate(PROPORTIONS)}
    joints, frames = np.zeros((n, 21, 3)), np.zeros((n, 21, 3, 3))

    # The forearm moves relative to the hand, whose frame is fixed.
    frames[:, 0] = turn(2, a["wrist deviation"]) @ turn(0, a["wrist flexion"])

    # The thumb: its metacarpal starts beside the fingers' plane, and opposition rotates its frame about y.
    joints[:, 1] = _THUMB_BASE * p["size"][:, None] * _widened(p["palm width"])
    frames[:, 1] = np.eye(3)
    R = (
        turn(1, a["thumb opposition"])
        @ turn(2, -a["thumb abduction"])
        @ turn(1, _THUMB_ROLL - 0.5 * a["thumb opposition"])
    )
    for j, bend in enumerate((None, "thumb MCP flexion", "thumb IP flexion")):
        if bend:
            R = R @ turn(0, -a[bend])
        length = _THUMB_BONES[j] * p["size"] * p["thumb length"]
        frames[:, 2 + j] = R
        joints[:, 2 + j] = joints[:, 1 + j] + length[:, None] * R[..., 1]

    for f, finger in enumerate(("index", "middle", "ring", "little")):
        first = 5 + 4 * f
        flexion, pip = a[f"{finger} MCP flexion"], a[f"{finger} PIP flexion"]
        # Bending the ring and little finger cups the palm: their metacarpals move as well.
        cup = np.radians([0.0, 0.0, 4.0, 9.0][f]) * np.clip(flexion, 0, None)
        knuckle = _KNUCKLES[f] * p["size"][:, None] * _widened(p["palm width"])
        joints[:, first] = (turn(0, -cup) @ knuckle[..., None])[..., 0]
        R = turn(1, np.full(n, _ROLL[f]))
        frames[:, first] = R @ turn(2, -np.arctan2(knuckle[:, 0], knuckle[:, 1])) @ turn(0, -cup)
        # A bent finger cannot be spread: the ligaments beside the knuckle are then tight.
        R = R @ turn(2, -a[f"{finger} MCP abduction"] * np.cos(np.clip(flexion, 0, np.pi / 2)))
        for j, bend in enumerate((flexion + cup, pip, DIP_OF_PIP * np.clip(pip, 0, None))):
            R = R @ turn(0, -bend)
            length = _PHALANGES[f, j] * p["size"] * p["finger length"]
            frames[:, first + 1 + j] = R
            joints[:, first + 1 + j] = joints[:, first + j] + length[:, None] * R[..., 1]
    return joints, frames


def _widened(width: FloatArray) -> FloatArray:
    return np.stack([width, np.ones_like(width), np.ones_like(width)], axis=-1)


# Gestures. A finger is (MCP flexion, abduction, PIP flexion) and a thumb (opposition, abduction, MCP, IP), in degrees.
_OPEN, _CLOSED, _HALF = (4, 0, 6), (82, 0, 100), (38, 0, 45)
_SPREAD = ((2, 9, 4), (2, 1, 4), (2, -7, 4), (4, -15, 6))
_OUT, _UP = (8, 46, 6, 4), (0, 52, 0, -8)
# The thumb is over bent fingers: all of them, all except the index, all except index and middle.
_OVER, _OVER_MIDDLE, _OVER_RING = (74, 52, 44, 46), (72, 44, 47, 38), (69, 48, 54, 44)
_TO_INDEX = (35, 48, 47, 54)


def _gesture(thumb: tuple, index: tuple, middle: tuple, ring: tuple, little: tuple) -> FloatArray:
    return np.radians([*thumb, *index, *middle, *ring, *little, 0, 0])


GESTURES: Mapping[str, FloatArray] = {
    "one": _gesture(_OVER_MIDDLE, (2, 0, 4), _CLOSED, _CLOSED, _CLOSED),
    "two": _gesture(_OVER_RING, (2, 9, 4), (2, -6, 4), _CLOSED, _CLOSED),
    "three": _gesture((76, 54, 58, 64), (2, 9, 4), (2, 0, 4), (4, -9, 6), (80, 0, 95)),
    "four": _gesture((50, 14, 54, 66), *_SPREAD),
    "five": _gesture(_OUT, *_SPREAD),
    "flat": _gesture((10, 22, 6, 8), _OPEN, _OPEN, _OPEN, _OPEN),
    "fist": _gesture(_OVER, _CLOSED, _CLOSED, _CLOSED, _CLOSED),
    "victory": _gesture(_OVER_RING, (0, 15, 2), (0, -12, 2), _CLOSED, _CLOSED),
    "ok": _gesture(_TO_INDEX, (50, 4, 52), (18, 0, 18), (10, -6, 14), (6, -13, 12)),
    "pinch": _gesture(_TO_INDEX, (50, 4, 52), (60, 0, 80), (66, 0, 90), (70, 0, 90)),
    "point": _gesture((60, 16, 10, 44), (0, 0, 2), (80, 0, 95), (82, 0, 100), (84, 0, 100)),
    "gun": _gesture(_UP, (0, 0, 2), _CLOSED, _CLOSED, _CLOSED),
    "thumbs up": _gesture(_UP, _CLOSED, _CLOSED, _CLOSED, _CLOSED),
    "rock": _gesture(_OVER_MIDDLE, (0, 8, 2), _CLOSED, _CLOSED, (0, -10, 2)),
    "love": _gesture(_OUT, (0, 8, 2), _CLOSED, _CLOSED, (0, -10, 2)),
    "shaka": _gesture(_UP, (78, 0, 95), (80, 0, 98), (78, 0, 95), (2, -14, 4)),
    "relaxed": _gesture((30, 30, 14, 18), (18, 2, 26), (24, 0, 32), (28, -2, 36), (30, -6, 38)),
    "claw": _gesture((34, 44, 24, 34), (20, 8, 58), (20, 1, 60), (20, -6, 60), (20, -13, 58)),
    "grip": _gesture((60, 40, 18, 24), (44, 3, 42), (46, 0, 44), (48, -3, 46), (50, -6, 46)),
    "cup": _gesture((46, 32, 14, 14), (34, 0, 18), (34, 0, 18), (34, 0, 18), (34, 0, 18)),
}
COUNTING = ("one", "two", "three", "four", "five")


# Radii (mm) of the average hand's thumb and fingers at their joints, to detect whether they intersect.
_GIRTH = [(11.0, 9.9, 7.5), *((k * 10, k * 9.2, k * 8.2, k * 6.6) for k in (1.0, 1.02, 0.96, 0.86))]
_QUARTERS = np.array([0.0, 0.25, 0.5, 0.75])


def overlap(joints: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The depth (mm) to which the thumb of N hands (N, 21, 3) intersects a finger, and one finger another; negative if
    they are apart. Computed with balls along the bones.
    """
    balls, radii, owner = [], [], []
    for finger, (first, girth) in enumerate(zip((2, 5, 9, 13, 17), _GIRTH, strict=True)):
        for bone in range(len(girth) - 1):
            t = np.append(_QUARTERS, 1.0) if bone == len(girth) - 2 else _QUARTERS
            start, end = joints[:, first + bone, None], joints[:, first + bone + 1, None]
            balls.append(start + t[:, None] * (end - start))
            radii.append(girth[bone] + t * (girth[bone + 1] - girth[bone]))
            owner.append(np.full(len(t), finger))
    return _deepest(np.concatenate(balls, axis=1), np.concatenate(radii), np.concatenate(owner))


@njit(cache=True)
def _deepest(balls: FloatArray, radii: FloatArray, owner: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    thumb, fingers = np.full(len(balls), -np.inf), np.full(len(balls), -np.inf)
    for n in range(len(balls)):
        for i in range(len(radii)):
            for j in range(i):
                if owner[i] != owner[j]:
                    x, y = balls[n, i, 0] - balls[n, j, 0], balls[n, i, 1] - balls[n, j, 1]
                    z = balls[n, i, 2] - balls[n, j, 2]
                    depth = radii[i] + radii[j] - np.sqrt(x * x + y * y + z * z)
                    if owner[j] == 0:
                        thumb[n] = max(thumb[n], depth)
                    else:
                        fingers[n] = max(fingers[n], depth)
    return thumb, fingers


def make_way(angles: FloatArray, smooth: float = 0.0) -> FloatArray:
    """The angles (N, 18) with the thumb moved out of the fingers' way, and without intersecting fingers.

    smooth: if the N are frames of a motion, the number of frames over which the thumb moves before and after.
    """
    ones = np.ones((len(angles), len(PROPORTIONS)))
    angles = angles.copy()
    spread = [ANGLES.index(f"{finger} MCP abduction") for finger in ("index", "middle", "ring", "little")]
    for _ in range(4):
        thumb, fingers = overlap(forward(angles, ones)[0])
        way = _anticipated(np.clip((thumb - 1) / 12, 0, 1), smooth)[:, None]
        angles[:, :4] += way * (np.radians(_OUT) - angles[:, :4])
        way = _anticipated(np.clip((fingers - 1) / 8, 0, 1), smooth)[:, None]
        angles[:, spread] += way * (np.radians([3, 0, -3, -6]) - angles[:, spread])
    return angles


def _anticipated(amount: FloatArray, smooth: float) -> FloatArray:
    if not smooth:
        return amount
    return gaussian_filter1d(maximum_filter1d(amount, int(2 * smooth) + 1), smooth / 2, mode="nearest")


def random_angles(rng: np.random.Generator, n: int, variety: float = 1.0) -> FloatArray:
    """Plausible angles (n, 18) rad: gestures that are varied, blended finger by finger, or freely curled.

    variety: how far and how often they deviate from the gestures; 0 gives only blends of gestures.
    """
    names = list(GESTURES)
    table = np.stack([GESTURES[name] for name in names])
    finger = np.repeat([0, 1, 2, 3, 4, 5], [4, 3, 3, 3, 3, 2])  # the part of the hand to which an angle belongs
    first, second = rng.integers(len(names), size=(2, n))
    blend = rng.beta(0.4, 0.4, (n, 1)) * (rng.random((n, 6)) < 0.35)[:, finger]
    angles = table[first] * (1 - blend) + table[second] * blend

    curl = np.clip(rng.random((n, 1)) + rng.normal(0, 0.22, (n, 4)), 0, 1)  # neighbours bend together
    free = angles.copy()
    for f in range(4):
        free[:, 4 + 3 * f] = np.radians(80) * curl[:, f] ** 1.3
        free[:, 6 + 3 * f] = np.radians(98) * curl[:, f]
    angles = np.where(rng.random((n, 1)) < 0.3 * variety, free, angles)

    spread = np.radians([6, 5, 6, 8, *[7, 3.5, 9] * 4, 14, 7])
    angles = angles + variety * spread * rng.normal(size=angles.shape)
    return make_way(np.clip(angles, LIMITS[:, 0], LIMITS[:, 1]))
