"""Draws hands: a ray for every pixel walks through the solid of `solid` until it meets the skin (chapter 2).

The function d(p) of `distance` bounds how far it is from p to the surface. A ray that stands at p may walk d(p)
without missing anything ("sphere tracing", Hart 1996), so it needs few steps. Three things make them cheap:

- The image is cut into tiles. Each cone's axis is projected into the image once, and a tile farther from that line
  than the cone's radius there has nothing to do with the cone.
- The rays of a tile first walk together, as a cone of light as wide as the tile; a tile that meets nothing is done.
- Only a pixel on an edge, where depth jumps, is drawn again from four rays.

The camera is `hand.project`'s: the ray of pixel (i, j) goes through (j + ½, i + ½). Depth is z in whole millimetres.
"""

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from dvae_lib.synthetic import skin
from dvae_lib.synthetic.distance import (
    HALF,
    JIT,
    ONE,
    TINY,
    ZERO,
    Array,
    Indices,
    distance,
    f4,
    gather,
    lit,
    normal,
    openness,
    project_for_shadow,
)
from dvae_lib.synthetic.shading import Colour, room_colour, shade
from dvae_lib.synthetic.solid import (
    COLUMNS,
    GROUP,
    LABEL,
    MELT,
    PALM,
    PERSON_ID,
    RADIUS,
    RIGHT_OFFSET,
    TAPER,
    laid_flat,
)

_TILES = 16  # along each side of the image
_NEAR = f4(60)  # mm; nothing nearer to the camera is drawn
_AROUND = f4(7)  # mm around a point in which ambient occlusion finds its neighbours
_STEPS = 40
_HIT = f4(0.1)  # mm from the surface at which a ray has arrived
_CAUTION = f4(0.93)  # tapering and flattening can make d a little too long
_EDGE = f4(3)  # mm of depth between neighbouring pixels that make an edge (and the slope of a pixel or two)
_GREY = 128  # outside the camera's frame
# Where the four rays of an edge pixel go: a turned square, so that no two share a row or a column.
_RAYS = ((f4(-0.125), f4(-0.375)), (f4(0.375), f4(-0.125)), (f4(-0.375), f4(0.125)), (f4(0.125), f4(0.375)))


@njit(**JIT)
def _project_axes(cones: Array, fx: float, fy: float, cx: float, cy: float) -> Array:
    """The cones' axes in the image: (P, 9) u, v, du, dv, 1/length², radius, pixels per mm, nearest, farthest depth."""
    out = np.empty((len(cones), 9), dtype=np.float32)
    for i in range(len(cones)):
        c = cones[i]
        swell = max(c[RADIUS], c[RADIUS] + c[TAPER]) + f4(2)
        reach = swell + (c[MELT] if GROUP[i] == PALM else f4(2))
        za, zb = max(c[2], _NEAR), max(c[2] + c[5], _NEAR)
        near = max(min(za, zb) - reach, _NEAR)
        out[i, 0], out[i, 1] = fx * c[0] / za + cx, fy * c[1] / za + cy
        out[i, 2] = fx * (c[0] + c[3]) / zb + cx - out[i, 0]
        out[i, 3] = fy * (c[1] + c[4]) / zb + cy - out[i, 1]
        out[i, 4] = ONE / (out[i, 2] ** 2 + out[i, 3] ** 2 + TINY)
        out[i, 5] = f4(1.05) * reach * max(fx, fy) / near if swell > f4(2) else f4(-1e9)
        out[i, 6] = max(fx, fy) / near
        out[i, 7], out[i, 8] = near, max(za, zb) + reach
    return out


@njit(**JIT)
def _select(axes: Array, u: float, v: float, radius: float, around: float, into: Indices) -> int:
    """Writes the cones seen within `radius` pixels, and `around` mm, of (u, v); returns how many."""
    n = 0
    for i in range(len(axes)):
        a = axes[i]
        x, y = u - a[0], v - a[1]
        s = min(max((x * a[2] + y * a[3]) * a[4], ZERO), ONE)
        x, y = x - s * a[2], y - s * a[3]
        reach = a[5] + radius + around * a[6]
        if reach > ZERO and x * x + y * y < reach * reach:
            into[n] = i
            n += 1
    return n


@njit(**JIT)
def _depth_range(axes: Array, which: Indices, n: int) -> tuple[float, float]:
    near, far = f4(1e9), ZERO
    for j in range(n):
        near, far = min(near, axes[which[j], 7]), max(far, axes[which[j], 8])
    return near, far


@njit(**JIT)
def _trace(
    table: Array, which: Indices, n: int, out: Array, dx: float, dy: float, z: float, far: float, spread: float
) -> tuple[float, int]:
    """Walks the ray (dx, dy, 1) from depth z, and the rays around it with it, up to `spread` mm aside per mm of depth.

    Returns the depth where one of them may meet the hand, and the place in the table of the cone that is nearest
    there; −1 if they meet none before `far`.
    """
    slant = ONE / math.sqrt(dx * dx + dy * dy + ONE)
    d, place = ZERO, -1
    for _ in range(_STEPS):
        d, place = distance(table, which, n, z * dx, z * dy, z, out)
        d = _CAUTION * d - spread * z
        if d < _HIT:
            return z, place
        z += d * slant
        if z > far:
            return z, -1
    # A ray that still grazes the surface has met it if it is close; a wide one may have.
    return z, place if d < ONE or spread > ZERO else -1


@njit(parallel=True, **JIT)
def _draw(
    cones: Array,
    flat: Array,
    right: NDArray[np.bool_],
    pinhole: Array,
    looks: Array,
    lights: Array,
    rooms: NDArray[np.uint8],
    room: Indices,
    windows: Array,
    levels: tuple,
    image: NDArray[np.uint8],
    depth: NDArray[np.uint16],
    mask: NDArray[np.uint8],
) -> None:
    size = depth.shape[-1]
    tile = max(size // _TILES, 4)
    P = cones.shape[1]
    for m in prange(len(cones)):
        hand, look, light, walls = cones[m], looks[m], lights[m], rooms[room[m]]
        fx, fy, cx, cy = pinhole[m, 0], pinhole[m, 1], pinhole[m, 2], pinhole[m, 3]
        left, top, pixel = windows[m, 0], windows[m, 1], windows[m, 2] / f4(size)
        axes = _project_axes(hand, fx, fy, cx, cy)
        shadows, lamp_frame = project_for_shadow(hand, light)
        which, around = np.empty(P, dtype=np.int64), np.empty(P, dtype=np.int64)
        table, wide = np.empty((COLUMNS, P), dtype=np.float32), np.empty((COLUMNS, P), dtype=np.float32)
        out, aside = np.empty((5, P), dtype=np.float32), np.empty((5, P), dtype=np.float32)
        surface = np.zeros((size, size), dtype=np.float32)
        colour = np.empty((size, size, 3), dtype=np.float32)

        # Twice over the image: every pixel, tile by tile; then the edges, each a tile of its own with four rays.
        for i0 in range(0, size, tile):
            for j0 in range(0, size, tile):
                middle_u, middle_v = f4(j0) + HALF * f4(tile), f4(i0) + HALF * f4(tile)
                radius = f4(0.71) * f4(tile)
                n = _select(axes, middle_u, middle_v, radius, ZERO, which)
                start, far, place, n_around = ZERO, ZERO, -1, 0
                if n:
                    gather(hand, which, n, table)
                    start, far = _depth_range(axes, which, n)
                    dx, dy = (middle_u - cx) / fx, (middle_v - cy) / fy
                    start, place = _trace(table, which, n, out, dx, dy, start, far, radius / min(fx, fy))
                    if place >= 0:
                        n_around = _select(axes, middle_u, middle_v, radius, _AROUND, around)
                        gather(hand, around, n_around, wide)
                for i in range(i0, min(i0 + tile, size)):
                    for j in range(j0, min(j0 + tile, size)):
                        u, v = f4(j) + HALF, f4(i) + HALF
                        frame_u, frame_v = left + u * pixel, top + v * pixel
                        if not (ZERO <= frame_u < walls.shape[1] and ZERO <= frame_v < walls.shape[0]):
                            colour[i, j] = _GREY
                            continue
                        z, hit = ZERO, -1
                        dx, dy = (u - cx) / fx, (v - cy) / fy
                        if place >= 0:
                            z, hit = _trace(table, which, n, out, dx, dy, start, far, ZERO)
                        if hit < 0:
                            r, g, b = room_colour(walls, frame_u, frame_v, pixel)
                        else:
                            label = LABEL[which[hit]]
                            mask[m, i, j] = label + (RIGHT_OFFSET if right[m] and label != PERSON_ID else 0)
                            surface[i, j] = z
                            depth[m, i, j] = np.uint16(z + HALF)
                            r, g, b = _look_at(
                                table, which, n, out, wide, around, n_around, aside, shadows, lamp_frame, flat,
                                right[m], hit, dx, dy, z, z / fx, look, light, levels,
                            )  # fmt: skip
                        colour[i, j, 0], colour[i, j, 1], colour[i, j, 2] = r, g, b

        for i in range(size):
            for j in range(size):
                frame_u, frame_v = left + (f4(j) + HALF) * pixel, top + (f4(i) + HALF) * pixel
                if not (ZERO <= frame_u < walls.shape[1] and ZERO <= frame_v < walls.shape[0]):
                    continue
                if not _is_edge(surface, i, j, fx):
                    continue
                u, v = f4(j) + HALF, f4(i) + HALF
                n = _select(axes, u, v, f4(0.6), ZERO, which)
                gather(hand, which, n, table)
                n_around = _select(axes, u, v, f4(0.6), _AROUND, around)
                gather(hand, around, n_around, wide)
                near, far = _depth_range(axes, which, n)
                near, _ = _trace(table, which, n, out, (u - cx) / fx, (v - cy) / fy, near, far, f4(0.5) / min(fx, fy))
                r, g, b = ZERO, ZERO, ZERO
                for ray in _RAYS:
                    dx, dy = (u + ray[0] - cx) / fx, (v + ray[1] - cy) / fy
                    z, hit = _trace(table, which, n, out, dx, dy, near, far, ZERO)
                    if hit < 0:
                        seen = room_colour(walls, left + (u + ray[0]) * pixel, top + (v + ray[1]) * pixel, pixel)
                    else:
                        seen = _look_at(
                            table, which, n, out, wide, around, n_around, aside, shadows, lamp_frame, flat,
                            right[m], hit, dx, dy, z, z / fx, look, light, levels,
                        )  # fmt: skip
                    r, g, b = r + seen[0] / f4(4), g + seen[1] / f4(4), b + seen[2] / f4(4)
                colour[i, j, 0], colour[i, j, 1], colour[i, j, 2] = r, g, b

        for c in range(3):
            for i in range(size):
                for j in range(size):
                    image[m, c, i, j] = np.uint8(min(max(colour[i, j, c] + HALF, ZERO), f4(255)))


@njit(**JIT)
def _is_edge(surface: Array, i: int, j: int, f: float) -> bool:
    """Whether depth jumps, or the hand ends, between pixel (i, j) and one of its four neighbours."""
    size, z = len(surface), surface[i, j]
    nearest, farthest = z, z
    for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        if 0 <= i + di < size and 0 <= j + dj < size:
            other = surface[i + di, j + dj]
            if (other > ZERO) != (z > ZERO):
                return True
            nearest, farthest = min(nearest, other), max(farthest, other)
    return farthest - nearest > _EDGE + f4(2) * z / f


@njit(**JIT)
def _look_at(
    table: Array, which: Indices, n: int, out: Array, wide: Array, around: Indices, n_around: int, aside: Array,
    shadows: Array, lamp_frame: Array, flat: Array, right: bool, hit: int, dx: float, dy: float, z: float,
    footprint: float, look: Array, light: Array, levels: tuple,
) -> Colour:  # fmt: skip
    """The colour that the ray (dx, dy, 1) brings from depth z, where `_trace` has just met the cone `hit`."""
    x, y = z * dx, z * dy
    nx, ny, nz = normal(table, which, n, x, y, z, out)
    sky = openness(wide, around, n_around, x, y, z, nx, ny, nz, aside)
    lamp = lit(shadows, lamp_frame, x, y, z)
    return shade(table, which, n, out, flat, right, hit, x, y, z, nx, ny, nz, sky, lamp, footprint, look, light, levels)


def render(
    cones: NDArray,
    right: NDArray[np.bool_],
    K: NDArray,
    looks: NDArray,
    lights: NDArray,
    rooms: NDArray[np.uint8],
    room: NDArray[np.integer],
    windows: NDArray,
    size: int,
) -> dict[str, NDArray]:
    """Draws N hands, each before its room.

    cones: (N, P, 16) mm, the hands in the camera's frame (`solid.build`, `solid.place`).
    right: (N,) whether it is a right hand.
    K: (N, 3, 3) camera of the crop of size × size pixels.
    looks: (N, 12), lights: (N, 12); see `shading`.
    rooms: (B, H, W, 3) RGB as the camera's whole frame sees them, and room: (N,) which.
    windows: (N, 3) what the crop shows of that frame: left, top, side in the frame's pixels. Mid-grey outside.

    Returns image uint8 (N, 3, S, S), depth uint16 (N, S, S) mm, 0 where no hand is, and mask uint8 (N, S, S).
    """
    image = np.empty((len(cones), 3, size, size), dtype=np.uint8)
    depth = np.zeros((len(cones), size, size), dtype=np.uint16)
    mask = np.zeros((len(cones), size, size), dtype=np.uint8)
    pinhole = np.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], axis=-1)
    _draw(
        np.ascontiguousarray(cones, dtype=np.float32),
        laid_flat()[1].astype(np.float32),
        np.asarray(right, dtype=np.bool_),
        pinhole.astype(np.float32),
        np.ascontiguousarray(looks, dtype=np.float32),
        np.ascontiguousarray(lights, dtype=np.float32),
        np.ascontiguousarray(rooms),
        np.asarray(room, dtype=np.int64),
        np.asarray(windows, dtype=np.float32),
        skin.paint(),
        image,
        depth,
        mask,
    )
    return {"image": image, "depth": depth, "mask": mask}
