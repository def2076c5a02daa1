"""The hand as a smooth solid: some forty rounded cones that blend into one another (chapter 2).

A cone extends from a to b (mm) with radius r_a to r_b. At the fraction s of its length, its radius is also increased by
4s(1 − s)(waist + pad · palmarity), which models a finger's fleshy pads between the creases and its knuckles; and it is
flattened along the bone's dorsal direction. Cones of one group blend over a width k (the smooth minimum of
`distance`), fingers blend into the palm only at their base, and elsewhere touch without blending.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dvae_lib.synthetic.kinematics import ANGLES, PROPORTIONS, FloatArray, forward

# Columns of a cone: a, b − a, the dorsal direction, then these.
A, AXIS, DORSAL = slice(0, 3), slice(3, 6), slice(6, 9)
INVERSE_SQUARE, RADIUS, TAPER, WAIST, PAD, FLAT, MELT = range(9, 16)
COLUMNS = 16

PALM, SLEEVE = 0, 6  # groups; 1 … 5 are the fingers, thumb first
PERSON_ID, PALM_ID, RIGHT_OFFSET = 1, 17, 16  # ids of the mask, as in RHD


class _Cone(NamedTuple):
    start: tuple[int, int, tuple[float, float, float]]  # joint, its frame, and the offset there (mm): see `build`
    end: tuple[int, int, tuple[float, float, float]]
    radii: tuple[float, float]
    melt: float
    group: int
    label: int
    waist: float = 0.0
    pad: float = 0.0
    flat: float = 1.0
    frame: int = -1  # the one whose dorsal direction it has; by default its end's


def _anatomy() -> list[_Cone]:
    """The average hand. The order matters: by groups, the palm first, and each finger from its base."""
    o = (0.0, 0.0, 0.0)
    cones = [
        # The forearm: radius and ulna under one skin, wider towards the elbow; then the carpus.
        _Cone((0, 0, (9, -255, -3)), (0, 0, (8, -12, -1)), (32, 17.0), 14, PALM, PERSON_ID, flat=1.1, frame=0),
        _Cone((0, 0, (-11, -255, -3)), (0, 0, (-9, -12, -1)), (32, 16.5), 14, PALM, PERSON_ID, flat=1.1, frame=0),
        _Cone((0, 9, (10, 6, -4)), (0, 9, (-11, 8, -4)), (17.0, 16.0), 16, PALM, PALM_ID, flat=1.15, frame=9),
    ]
    # Metacarpals, from the carpus to the knuckles, with the flesh on their palmar side.
    for f, (x, y, z, r0, r1) in enumerate(
        [(10, 18, -3, 13.5, 11.6), (1, 16, -2, 13.5, 11.8), (-9, 16, -3, 13, 11.2), (-18, 17, -6, 13, 10.6)]
    ):
        mcp = 5 + 4 * f
        cones.append(_Cone((0, 9, (x, y, z)), (mcp, mcp, (0, -3, -3)), (r0, r1), 13, PALM, PALM_ID, frame=mcp))
    cones += [
        # Ball of the thumb, heel on the little finger's side, and the pads under the fingers' bases.
        _Cone((1, 9, (-2, 0, -6)), (2, 2, (-3, -6, -5)), (13.5, 11.0), 12, PALM, 4, frame=2),
        _Cone((0, 9, (14, 16, -9)), (2, 2, (-8, -14, -5)), (13.0, 10.0), 12, PALM, 4, frame=2),
        _Cone((1, 1, o), (2, 2, o), (12.0, 11.2), 10, PALM, 4),
        _Cone((0, 9, (-19, 16, -11)), (17, 17, (-2, -22, -9)), (13.5, 10.5), 12, PALM, PALM_ID, frame=17),
        _Cone((5, 5, (0, 2, -7.5)), (9, 9, (0, 3, -8.5)), (9.0, 9.0), 10, PALM, PALM_ID),
        _Cone((9, 9, (0, 3, -8.5)), (13, 13, (0, 2, -8.5)), (9.0, 9.0), 10, PALM, PALM_ID),
        _Cone((13, 13, (0, 2, -8.5)), (17, 17, (1, 1, -7)), (9.0, 8.0), 10, PALM, PALM_ID),
        # Webs: three between the fingers, and the wide one of the thumb.
        _Cone((6, 6, (-4, -21, -3)), (10, 10, (4, -23, -3)), (7.0, 7.0), 8, PALM, PALM_ID),
        _Cone((10, 10, (-4, -23, -3)), (14, 14, (4, -21, -3)), (7.0, 7.0), 8, PALM, PALM_ID),
        _Cone((14, 14, (-4, -21, -3)), (18, 18, (4, -17, -3)), (6.5, 6.5), 8, PALM, PALM_ID),
        _Cone((2, 2, (-3, -8, 0)), (5, 5, (2, -26, -4)), (7.5, 8.0), 14, PALM, PALM_ID, frame=5),
        _Cone((2, 2, (-3, -22, 0)), (5, 5, (0, -42, -4)), (9.0, 9.5), 14, PALM, PALM_ID, frame=5),
    ]
    # Thumb and fingers.
    cones += [
        _Cone((2, 3, o), (3, 3, o), (11.4, 9.9), 8, 1, 3, waist=-0.6, pad=0.5, flat=1.05),
        _Cone((3, 4, o), (4, 4, (0, -4, -0.5)), (9.9, 8.2), 3, 1, 2, waist=0.9, pad=1.3, flat=1.22),
    ]
    for f, radii in enumerate(
        [(10.6, 9.7, 8.7, 7.0), (10.8, 9.9, 8.9, 7.2), (10.2, 9.3, 8.3, 6.7), (9.1, 8.1, 7.2, 5.9)]
    ):
        j, ids = 5 + 4 * f, 5 + 3 * f
        cones += [
            _Cone((j, j + 1, o), (j + 1, j + 1, o), radii[:2], 9, 2 + f, ids + 2, waist=-0.1, pad=1.3, flat=1.06),
            _Cone(
                (j + 1, j + 2, o),
                (j + 2, j + 2, o),
                radii[1:3],
                2.5,
                2 + f,
                ids + 1,
                waist=-0.4,
                pad=1.0,
                flat=1.06,
            ),
            _Cone(
                (j + 2, j + 3, o),
                (j + 3, j + 3, (0, -2.5, -0.5)),
                radii[2:],
                2.5,
                2 + f,
                ids,
                waist=0.3,
                pad=0.9,
                flat=1.16,
            ),
        ]
    cones.append(
        _Cone((0, 0, (0, -265, -2)), (0, 0, (0, -40, -1)), (48, 29), 0.5, SLEEVE, PERSON_ID, flat=1.15, frame=0)
    )
    return cones


_CONES = _anatomy()
GROUP = np.array([cone.group for cone in _CONES], dtype=np.int64)
LABEL = np.array([cone.label for cone in _CONES], dtype=np.int64)


def build(joints: FloatArray, frames: FloatArray, proportions: FloatArray, sleeve: FloatArray) -> FloatArray:
    """The cones (N, P, 16) of hands in their own frame.

    joints, frames: the output of `kinematics.forward`. proportions: (N, 6), in the order of PROPORTIONS.
    sleeve: (N,) mm from the wrist to the cuff; infinite for a bare arm.

    An end of a cone is (joint, frame, offset): the joint's position plus the offset along that frame's axes.
    Offsets scale with the person's size, radii with size and thickness.
    """
    p = {name: proportions[:, i] for i, name in enumerate(PROPORTIONS)}

    def point(end: tuple[int, int, tuple[float, float, float]]) -> FloatArray:
        joint, frame, offset = end
        return joints[:, joint] + p["size"][:, None] * (frames[:, frame] @ np.array(offset))

    cones = np.zeros((len(joints), len(_CONES), COLUMNS))
    girth = p["size"] * p["thickness"]
    for i, cone in enumerate(_CONES):
        a, b = point(cone.start), point(cone.end)
        radii = np.outer(girth, cone.radii)
        if 1 <= cone.group <= 5:
            joint = cone.start[0]
            if joint not in (2, 5, 9, 13, 17):  # bony or smooth fingers
                radii[:, 0] *= p["knuckles"]
            if joint not in (3, 7, 11, 15, 19):
                radii[:, 1] *= p["knuckles"]
        if cone.group == SLEEVE:
            bare = ~np.isfinite(sleeve)
            cuff = np.where(bare, 0, sleeve)[:, None]
            b = joints[:, 0] - cuff * frames[:, 0, :, 1]
            radii[:, 1] += 0.04 * cuff[:, 0]
            radii[bare], b[bare] = -1e3, a[bare] + frames[bare, 0, :, 1]
        axis = b - a
        dorsal = frames[:, cone.end[1] if cone.frame < 0 else cone.frame, :, 2]
        square = (axis**2).sum(-1, keepdims=True)
        dorsal = dorsal - (dorsal * axis).sum(-1, keepdims=True) / square * axis
        cones[:, i, A], cones[:, i, AXIS] = a, axis
        cones[:, i, DORSAL] = dorsal / np.linalg.norm(dorsal, axis=-1, keepdims=True)
        cones[:, i, INVERSE_SQUARE] = 1 / square[:, 0]
        cones[:, i, RADIUS], cones[:, i, TAPER] = radii[:, 0], radii[:, 1] - radii[:, 0]
        cones[:, i, WAIST], cones[:, i, PAD] = cone.waist * girth, cone.pad * girth
        cones[:, i, FLAT], cones[:, i, MELT] = cone.flat - 1, cone.melt * p["size"]
    return cones


def laid_flat() -> tuple[FloatArray, FloatArray]:
    """Joints (21, 3) and cones (P, 16) of the average hand spread on a table, for which the skin is generated."""
    angles = np.zeros((1, len(ANGLES)))
    angles[0, ANGLES.index("thumb abduction")] = np.radians(48)
    for finger, spread in {"index": 7, "middle": 0, "ring": -6, "little": -14}.items():
        angles[0, ANGLES.index(f"{finger} MCP abduction")] = np.radians(spread)
    ones = np.ones((1, len(PROPORTIONS)))
    joints, frames = forward(angles, ones)
    # The thumb's nail also points up.
    frames[:, 2:5, :, 2] = (0, 0, 1)
    frames[:, 2:5, :, 0] = np.cross(frames[:, 2:5, :, 1], frames[:, 2:5, :, 2])
    return joints[0], build(joints, frames, ones, np.array([np.inf]))[0]


def place(cones: FloatArray, rotation: FloatArray, position: FloatArray, right: NDArray[np.bool_]) -> FloatArray:
    """The cones (N, P, 16) in the camera's frame: mirrored if `right` (N,), rotated (N, 3, 3) and moved (N, 3) mm."""
    mirror = np.where(right[:, None], [-1.0, 1.0, 1.0], 1.0)
    turn = rotation * mirror[:, None, :]
    placed = cones.copy()
    for columns in (A, AXIS, DORSAL):
        placed[..., columns] = cones[..., columns] @ turn.transpose(0, 2, 1)
    placed[..., A] += position[:, None]
    return placed
