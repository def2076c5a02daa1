"""The skin: two texture maps, of the palmar and the dorsal side, generated once for a flat hand (chapter 2).

Creases, knuckle wrinkles, nails, veins and blotches are drawn in the plane of the flat hand of `solid.laid_flat`;
a point of a bent finger is mapped to this plane through the bone to which it belongs. Five channels: the skin's
brightness (a factor of about 1), its redness (added), the proportion of nail, and the relief's slope along x and y.
"""

import functools

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dvae_lib.synthetic.distance import HALF, JIT, ONE, ZERO, f4
from dvae_lib.synthetic.solid import laid_flat

X0, Y0, X1, Y1 = -70.0, -80.0, 114.0, 208.0  # the extent of the map (mm in the flat hand's plane)
TEXEL = 0.5  # mm
LEVELS = 4  # each with half the resolution of the one before

Map = NDArray[np.float32]
Grid = NDArray[np.floating]


def _noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Grid:
    """Smooth noise of unit variance with features of `scale` mm."""
    image = gaussian_filter(rng.normal(size=shape), scale / TEXEL / 2, mode="reflect")
    return image / image.std()


def _line(x: Grid, y: Grid, points: list[tuple[float, float]], width: float) -> Grid:
    """A soft stroke through the points: 1 on it, and 0 at a distance of some `width` mm."""
    t = np.linspace(0, 1, 40)
    knots = np.linspace(0, 1, len(points))
    curve = np.stack([np.interp(t, knots, c) for c in np.array(points).T], -1)
    curve = gaussian_filter(curve, (2.5, 0), mode="nearest")
    nearest = np.full(x.shape, np.inf)
    for (ax, ay), (bx, by) in zip(curve[:-1], curve[1:], strict=True):
        dx, dy = bx - ax, by - ay
        s = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
        nearest = np.minimum(nearest, (x - ax - s * dx) ** 2 + (y - ay - s * dy) ** 2)
    return np.exp(-nearest / (2 * width**2))


def _finger_frames(joints: Grid, x: Grid, y: Grid) -> list[tuple[list[tuple[Grid, Grid]], list[float]]]:
    """For each finger: (across, along) mm from each of its joints except the tip, and the lengths of its bones."""
    fingers = []
    for first in (2, 5, 9, 13, 17):
        count = 2 if first == 2 else 3
        frames, lengths = [], []
        for j in range(first, first + count):
            axis = joints[j + 1, :2] - joints[j, :2]
            lengths.append(float(np.linalg.norm(joints[j + 1] - joints[j])))
            axis /= np.linalg.norm(axis)
            dx, dy = x - joints[j, 0], y - joints[j, 1]
            frames.append((dx * axis[1] - dy * axis[0], dx * axis[0] + dy * axis[1]))
        fingers.append((frames, lengths))
    return fingers


def _bump(value: Grid, centre: float, width: float) -> Grid:
    return np.exp(-(((value - centre) / width) ** 2))


@functools.lru_cache(maxsize=1)
def paint() -> tuple[Map, ...]:
    """The skin at LEVELS resolutions, finest first: each (2, H, W, 5), palmar side 0 and dorsal side 1."""
    rng = np.random.default_rng(7)
    x, y = np.meshgrid(np.arange(X0, X1, TEXEL) + TEXEL / 2, np.arange(Y0, Y1, TEXEL) + TEXEL / 2)
    joints, _ = laid_flat()
    fingers = _finger_frames(joints, x, y)
    sides = [_palmar(rng, x, y, joints, fingers), _dorsal(rng, x, y, joints, fingers)]
    skin = np.stack(sides).astype(np.float32)
    levels = [skin]
    for _ in range(LEVELS - 1):
        skin = (skin[:, ::2, ::2] + skin[:, 1::2, ::2] + skin[:, ::2, 1::2] + skin[:, 1::2, 1::2]) / 4
        levels.append(np.ascontiguousarray(skin))
    return tuple(levels)


def _channels(tone: Grid, red: Grid, nail: Grid, relief: Grid) -> Grid:
    slope_y, slope_x = np.gradient(relief, TEXEL)
    return np.stack([tone, red, nail, slope_x, slope_y], axis=-1)


def _palmar(rng: np.random.Generator, x: Grid, y: Grid, joints: Grid, fingers: list) -> Grid:
    folds = np.zeros(x.shape)
    mcp = joints[[5, 9, 13, 17], :2]
    # The palm's main creases: around the ball of the thumb, two across, one lengthwise, and those of the wrist.
    web = mcp[0] + (9, -14)
    folds += 1.0 * _line(x, y, [tuple(web), (18, 62), (6, 44), (1, 22), (6, 4)], 0.75)
    folds += 0.9 * _line(x, y, [tuple(web), (14, 62), (-8, 54), (-32, 38)], 0.7)
    folds += 0.95 * _line(x, y, [(-48, 54), (-26, 62), (-6, 70), (8, 86)], 0.7)
    folds += 0.35 * _line(x, y, [(-9, 14), (-6, 40), (-3, 74)], 0.6)
    folds += 0.5 * _line(x, y, [(-24, -1), (-4, -3), (20, 1)], 0.7) + 0.4 * _line(
        x, y, [(-24, -6), (0, -8), (20, -4)], 0.7
    )
    for _ in range(26):  # fine creases
        cx, cy, angle, length = (
            rng.uniform(-36, 26),
            rng.uniform(8, 80),
            rng.normal(0.5, 0.8),
            rng.uniform(5, 14),
        )
        dx, dy = length * np.cos(angle), length * np.sin(angle)
        bend = rng.normal(0, 2, 2)
        path = [(cx - dx, cy - dy), (cx + bend[0], cy + bend[1]), (cx + dx, cy + dy)]
        folds += rng.uniform(0.1, 0.28) * _line(x, y, path, 0.5)
    red = 0.25 * _bump(y, 95, 22) + 0.2 * np.exp(-(((x - 28) / 16) ** 2 + ((y - 38) / 24) ** 2))
    red += 0.2 * np.exp(-(((x + 34) / 14) ** 2 + ((y - 34) / 28) ** 2))
    for f, (frames, lengths) in enumerate(fingers):
        for j, (across, along) in enumerate(frames):
            inside = np.exp(-((across / 11) ** 6))
            curve = along - 0.012 * across**2
            if j == 0 and f:
                folds += 0.8 * inside * _bump(curve, 0.52 * lengths[0], 0.8)  # where the finger joins the palm
                folds += 0.35 * inside * _bump(curve, 0.52 * lengths[0] + 2.6, 0.6)
            elif j == 0:
                folds += 0.6 * inside * (_bump(curve, 2, 0.8) + 0.6 * _bump(curve, -2, 0.8))
            else:
                folds += inside * (_bump(curve, -1.2, 0.7) + (0.8 if j == 1 else 0.25) * _bump(curve, 1.6, 0.6))
                red += 0.12 * inside * _bump(along, 0, 5)
        across, along = frames[-1]
        tip = np.exp(-((across / 8) ** 4)) * _bump(along, lengths[-1] - 4, 10)
        red += 0.55 * tip
        # Fingerprints, visible only from close up.
        folds += 0.06 * tip * np.sin(2 * np.pi * np.hypot(across, along - 0.55 * lengths[-1]) / 1.3)
    blotches = _noise(rng, x.shape, 9)
    red += 0.16 * _noise(rng, x.shape, 6) * (y > -10)
    grain = 0.5 * _noise(rng, x.shape, 1.2) + 0.5 * _noise(rng, x.shape, 2.5)
    tone = 1 + 0.035 * blotches + 0.016 * grain - 0.30 * np.clip(folds, 0, 1.2)
    relief = -0.55 * np.clip(gaussian_filter(folds, 1.0), 0, 1.5) + 0.05 * grain + 0.12 * blotches
    return _channels(tone, red, np.zeros(x.shape), relief)


def _dorsal(rng: np.random.Generator, x: Grid, y: Grid, joints: Grid, fingers: list) -> Grid:
    folds, red, nails, rim, relief = (np.zeros(x.shape) for _ in range(5))
    tone = np.ones(x.shape)
    for f, (frames, lengths) in enumerate(fingers):
        # Tendons from the wrist to the knuckles, which protrude near the knuckles.
        if f:
            knuckle = joints[1 + 4 * f, :2]
            start = np.array([4.0, 10.0, 2.0, -4.0, -9.0])[f]
            line = _line(x, y, [(start, 8), tuple(0.5 * knuckle + (start / 2, 2)), tuple(knuckle)], 2.0)
            relief += 0.75 * line * np.clip((y - 10) / 45, 0, 1)
            bump = np.exp(-(((x - knuckle[0]) / 7.5) ** 2 + ((y - knuckle[1]) / 8) ** 2))
            relief += 0.9 * bump
            red += 0.45 * bump
            tone -= 0.05 * bump
        for j, (across, along) in enumerate(frames):
            inside = np.exp(-((across / 9) ** 4))
            if j == 0:
                continue
            # Loose skin over the knuckle: an oval of wrinkles whose ends bend away from its centre.
            size = (5.5, 1.0) if j == 1 and f else (3.2, 0.7)
            red += (0.5 if j == 1 else 0.25) * inside * _bump(along, 0, size[0] * 1.3)
            tone -= 0.07 * inside * _bump(along, 0, size[0] * 1.2)
            for k in np.linspace(-size[0], size[0], 7 if j == 1 and f else 4):
                bent = along - k * (1 + 0.022 * across**2) - 0.5 * rng.normal()
                folds += rng.uniform(0.45, 0.95) * size[1] * inside * _bump(bent, 0, 0.45)
        across, along = frames[-1]
        width = [6.6, 5.3, 5.6, 5.2, 4.4][f]
        top = lengths[-1] + (0.6 if f else 1.0)
        half = [7.0, 5.9, 6.2, 5.8, 5.0][f]
        # A nail: a rounded rectangle (a superellipse) with a white edge, a lunula and the fold of skin around it.
        shape = (np.abs(across / width) ** 3.2 + np.abs((along - (top - half)) / half) ** 3.2) ** (1 / 3.2)
        nail = np.clip((1.0 - shape) * width / 0.5 + 0.5, 0, 1)
        nails += nail
        rim += np.exp(-(((shape - 1.06) * width / 0.55) ** 2)) * (along < top)
        relief += 0.5 * gaussian_filter(nail, 1.0) - 0.015 * nail * across**2
        white = nail * np.clip((along - (top - 1.5) + 0.05 * across**2) / 0.8, 0, 1)
        moon = nail * np.clip((2.2 - np.hypot(across * 0.8, along - (top - 2 * half))) / 0.8, 0, 1)
        tone += 0.16 * white + 0.08 * moon
        red += nail * (0.35 - 0.75 * white - 0.3 * moon)
    skin_only = 1 - np.clip(nails, 0, 1)
    blotches, fine = _noise(rng, x.shape, 10), _noise(rng, x.shape, 1.0)
    grain = 0.6 * fine + 0.4 * _noise(rng, x.shape, 2.2)
    veins = np.zeros(x.shape)
    for path in (
        [(-30, 6), (-24, 30), (-30, 52), (-27, 74)],
        [(-2, 4), (-12, 28), (-10, 48), (-10, 76)],
        [(-12, 28), (-24, 40), (-30, 52)],
        [(16, 6), (12, 30), (16, 52), (12, 74)],
        [(12, 30), (0, 44), (-10, 48)],
        [(-6, -78), (-2, -40), (-6, -10), (-2, 4)],
    ):
        veins += _line(x, y, path, 1.5)
    tone += skin_only * (0.03 * blotches + 0.022 * grain - 0.03 * np.clip(veins, 0, 1))
    tone -= 0.24 * np.clip(folds, 0, 1.2) * skin_only + 0.20 * np.clip(rim, 0, 1)
    red += skin_only * (0.10 * _noise(rng, x.shape, 7) - 0.22 * np.clip(veins, 0, 1)) + 0.25 * np.clip(rim, 0, 1)
    relief += skin_only * (0.05 * grain + 0.08 * blotches + 0.4 * np.clip(veins, 0, 1))
    relief -= 0.42 * np.clip(gaussian_filter(folds, 0.8), 0, 1.2) * skin_only + 0.25 * np.clip(rim, 0, 1)
    return _channels(tone, red, np.clip(nails, 0, 1), relief)


@njit(**JIT)
def look_up(level: Map, side: int, x: float, y: float, texel: float) -> tuple[float, float, float, float, float]:
    """The five channels at a position (mm) on one level of the map, with bilinear interpolation."""
    height, width = level.shape[1], level.shape[2]
    u = min(max((x - f4(X0)) / texel - HALF, ZERO), f4(width) - f4(1.001))
    # Beyond its end at the arm, the map is continued by mirroring its last 80 mm repeatedly.
    beyond = max(f4(Y0) - y, ZERO) % f4(160)
    y = f4(Y0) + min(beyond, f4(160) - beyond) if y < f4(Y0) else y
    v = min(max((y - f4(Y0)) / texel - HALF, ZERO), f4(height) - f4(1.001))
    j, i = int(u), int(v)
    fu, fv = u - f4(j), v - f4(i)
    a, b, c, d = (ONE - fu) * (ONE - fv), fu * (ONE - fv), (ONE - fu) * fv, fu * fv
    p, q, r, s = level[side, i, j], level[side, i, j + 1], level[side, i + 1, j], level[side, i + 1, j + 1]
    return (
        a * p[0] + b * q[0] + c * r[0] + d * s[0],
        a * p[1] + b * q[1] + c * r[1] + d * s[1],
        a * p[2] + b * q[2] + c * r[2] + d * s[2],
        a * p[3] + b * q[3] + c * r[3] + d * s[3],
        a * p[4] + b * q[4] + c * r[4] + d * s[4],
    )
