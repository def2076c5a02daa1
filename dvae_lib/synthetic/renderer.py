"""Renders hands: the ray of every pixel is traced until it meets the surface of `solid` (chapter 2).

The function d(p) of `distance` bounds the distance from p to the surface. A ray at p can advance by d(p) without
missing anything ("sphere tracing", Hart 1996), so it takes few steps. Three things reduce their cost:

- The image is divided into tiles. Each cone's axis is projected into the image once, and a tile that is farther from
  that line than the cone's radius there is not affected by the cone.
- The rays of a tile are first traced together, as a cone as wide as the tile; a tile that meets nothing is finished.
- Only a pixel on an edge, where depth is discontinuous, is rendered again with four rays.

The camera is `hand.project`'s: the ray of pixel (i, j) goes through (j + ½, i + ½). Depth is z in whole millimetres.
"""

import math

import numba
import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray

from dvae_lib.synthetic import skin
from dvae_lib.synthetic.culling import depth_range, project_axes, select
from dvae_lib.synthetic.distance import (
    HALF,
    JIT,
    ONE,
    QUARTER,
    ZERO,
    Array,
    Indices,
    distance,
    f4,
    gather,
    lanes,
    lit,
    normal,
    openness,
    project_for_shadow,
)
from dvae_lib.synthetic.shading import Colour, material, room_colour, shade
from dvae_lib.synthetic.solid import (
    COLUMNS,
    LABEL,
    PERSON_ID,
    RIGHT_OFFSET,
    laid_flat,
)

_TILES = 16  # along each side of the image
_AROUND = f4(7)  # mm around a point that are included in its ambient occlusion
_STEPS = 40
_HIT = f4(0.1)  # mm from the surface at which a ray has hit it
_CAUTION = f4(0.9)  # of d that a wide ray advances, since tapering and flattening can make d slightly too large …
_HASTE = f4(1.4)  # … and that a thin ray advances: if it enters the hand, d is negative and it steps back
_EDGE = f4(3)  # mm of depth between neighbouring pixels that are an edge (plus the slope of a pixel or two)
_GREY = 128  # outside the camera's frame
_BESIDE = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))  # a pixel and the four next to it
# The four rays of an edge pixel: a rotated square, so that no two of them share a row or a column.
_RAYS = ((f4(-0.125), f4(-0.375)), (f4(0.375), f4(-0.125)), (f4(-0.375), f4(0.125)), (f4(0.125), f4(0.375)))


# fx, fy, cx, cy of the crop's camera; the crop's left and top in pixels of the camera's frame; the width of a pixel of
# the crop in these pixels.
Eye = tuple[float, float, float, float, float, float, float]


@njit(**JIT)
def _trace(
    table: Array, which: Indices, n: int, out: Array, dx: float, dy: float, z: float, far: float, spread: float
) -> tuple[float, int]:
    """Traces the ray (dx, dy, 1) from depth z, and with it the rays around it, up to `spread` mm aside per mm of depth.

    Returns the depth where one of them may meet the hand, and the index in the table of the cone that is nearest
    there, or −1 if they meet none before `far`.
    """
    trust = _CAUTION if spread > ZERO else _HASTE
    slant = ONE / math.sqrt(dx * dx + dy * dy + ONE)
    d, place = ZERO, -1
    for _ in range(_STEPS):
        d, place = distance(table, which, n, z * dx, z * dy, z, out)
        d = d * trust - spread * z
        if abs(d) < _HIT or d < ZERO < spread:
            return z, place
        z += d * slant
        if z > far:
            return z, -1
    # A ray that still grazes the surface counts as a hit if it is close, and a wide ray always.
    return z, place if d < ONE or spread > ZERO else -1


@njit(**JIT)
def _look_at(
    table: Array, which: Indices, n: int, out: Array, wide: Array, around: Indices, n_around: int, hit: int,
    x: float, y: float, z: float, hand: tuple, footprint: float,
) -> Colour:  # fmt: skip
    """The colour of the point (x, y, z) mm, where `_trace` has just hit the cone with index `hit`."""
    flat, right, look, light, shadows, lamp, levels = hand
    nx, ny, nz = normal(table, which, n, x, y, z, out)
    lit_by_lamp = lit(shadows, lamp, x, y, z)
    albedo = material(table, which, n, out, flat, right, hit, x, y, z, nx, ny, nz, footprint, look, levels)
    sky = openness(wide, around, n_around, x, y, z, nx, ny, nz, out)
    return shade(albedo, x, y, z, sky, lit_by_lamp, light)


@njit(inline="always", **JIT)
def _in_frame(walls: NDArray[np.uint8], eye: Eye, u: float, v: float) -> bool:
    column, row = eye[4] + u * eye[6], eye[5] + v * eye[6]
    return ZERO <= column < walls.shape[1] and ZERO <= row < walls.shape[0]


@njit(**JIT)
def _cover(
    cones: Array, axes: Array, eye: Eye, hand: tuple, walls: NDArray[np.uint8],
    surface: Array, colour: Array, mask: NDArray[np.uint8],
) -> None:  # fmt: skip
    """One ray per pixel, tile by tile, into depth `surface` (S, S), `mask` (S, S) and `colour` (S, S, 3)."""
    fx, fy, cx, cy, left, top, pixel = eye
    size, P = len(surface), lanes(len(cones))
    tile = max(size // _TILES, 4)
    radius = f4(0.71) * f4(tile)
    which, around = np.empty(P, dtype=np.int64), np.empty(P, dtype=np.int64)
    table, wide = np.empty((COLUMNS, P), dtype=np.float32), np.empty((COLUMNS, P), dtype=np.float32)
    out = np.empty((5, P), dtype=np.float32)
    for i0 in range(0, size, tile):
        for j0 in range(0, size, tile):
            u, v = f4(j0) + HALF * f4(tile), f4(i0) + HALF * f4(tile)
            n, n_around = select(axes, u, v, radius, ZERO, which), 0
            start, far, place = ZERO, ZERO, -1
            if n:
                gather(cones, which, n, table)
                start, far = depth_range(axes, which, n)
                wider = radius / min(fx, fy)
                start, place = _trace(table, which, n, out, (u - cx) / fx, (v - cy) / fy, start, far, wider)
                if place >= 0:
                    n_around = select(axes, u, v, radius, _AROUND, around)
                    gather(cones, around, n_around, wide)
            for i in range(i0, min(i0 + tile, size)):
                for j in range(j0, min(j0 + tile, size)):
                    u, v = f4(j) + HALF, f4(i) + HALF
                    if not _in_frame(walls, eye, u, v):
                        colour[i, j] = _GREY
                        continue
                    z, hit = ZERO, -1
                    dx, dy = (u - cx) / fx, (v - cy) / fy
                    if place >= 0:
                        z, hit = _trace(table, which, n, out, dx, dy, start, far, ZERO)
                    if hit < 0:
                        r, g, b = room_colour(walls, left + u * pixel, top + v * pixel, pixel)
                    else:
                        label = LABEL[which[hit]]
                        mask[i, j] = label + (RIGHT_OFFSET if hand[1] and label != PERSON_ID else 0)
                        surface[i, j] = z
                        r, g, b = _look_at(
                            table, which, n, out, wide, around, n_around, hit, z * dx, z * dy, z, hand, z / fx
                        )
                    colour[i, j, 0], colour[i, j, 1], colour[i, j, 2] = r, g, b


@njit(**JIT)
def _neighbours(surface: Array, i: int, j: int) -> tuple[float, float, bool]:
    """Nearest and farthest depth among pixel (i, j) and its four neighbours, and whether the hand ends there."""
    size, nearest, farthest, seen, total = len(surface), f4(1e9), ZERO, 0, 0
    for di, dj in _BESIDE:
        if 0 <= i + di < size and 0 <= j + dj < size:
            total += 1
            z = surface[i + di, j + dj]
            if z > ZERO:
                seen += 1
                nearest, farthest = min(nearest, z), max(farthest, z)
    return nearest, farthest, 0 < seen < total


@njit(**JIT)
def _soften(
    cones: Array, axes: Array, eye: Eye, hand: tuple, walls: NDArray[np.uint8],
    surface: Array, colour: Array, smooth: Array,
) -> None:  # fmt: skip
    """Four rays for each pixel on an edge, into `smooth` (S, S, 3), which starts as a copy of `colour`.

    A ray that meets the hand at the depth of a neighbouring pixel takes that pixel's colour; few require their own.
    """
    fx, fy, cx, cy, left, top, pixel = eye
    size, P = len(surface), lanes(len(cones))
    which, table = np.empty(P, dtype=np.int64), np.empty((COLUMNS, P), dtype=np.float32)
    around, wide = np.empty(P, dtype=np.int64), np.empty((COLUMNS, P), dtype=np.float32)
    out = np.empty((5, P), dtype=np.float32)
    for i in range(size):
        for j in range(size):
            nearest, farthest, ends = _neighbours(surface, i, j)
            u, v = f4(j) + HALF, f4(i) + HALF
            jump = _EDGE + f4(2) * nearest / fx
            if not (ends or farthest - nearest > jump) or not _in_frame(walls, eye, u, v):
                continue
            n, n_around = select(axes, u, v, HALF, ZERO, which), 0
            gather(cones, which, n, table)
            r, g, b = ZERO, ZERO, ZERO
            for ray in _RAYS:
                dx, dy = (u + ray[0] - cx) / fx, (v + ray[1] - cy) / fy
                z, hit = ZERO, -1
                if n:
                    z, hit = _trace(table, which, n, out, dx, dy, nearest - _EDGE, farthest + jump, ZERO)
                if hit < 0:
                    seen = room_colour(walls, left + (u + ray[0]) * pixel, top + (v + ray[1]) * pixel, pixel)
                    r, g, b = r + seen[0], g + seen[1], b + seen[2]
                    continue
                best, bi, bj = jump, -1, -1
                for di, dj in _BESIDE:
                    if 0 <= i + di < size and 0 <= j + dj < size:
                        off = abs(surface[i + di, j + dj] - z)
                        if off < best:
                            best, bi, bj = off, i + di, j + dj
                if bi >= 0:
                    r, g, b = r + colour[bi, bj, 0], g + colour[bi, bj, 1], b + colour[bi, bj, 2]
                    continue
                if not n_around:
                    n_around = select(axes, u, v, HALF, _AROUND, around)
                    gather(cones, around, n_around, wide)
                seen = _look_at(table, which, n, out, wide, around, n_around, hit, z * dx, z * dy, z, hand, z / fx)
                r, g, b = r + seen[0], g + seen[1], b + seen[2]
            smooth[i, j, 0], smooth[i, j, 1], smooth[i, j, 2] = QUARTER * r, QUARTER * g, QUARTER * b


@njit(parallel=True, **JIT)
def _draw(
    cones: Array, flat: Array, right: NDArray[np.bool_], pinhole: Array, looks: Array, lights: Array,
    rooms: NDArray[np.uint8], room: Indices, windows: Array, levels: tuple,
    image: NDArray[np.uint8], depth: NDArray[np.uint16], mask: NDArray[np.uint8],
) -> None:  # fmt: skip
    size = depth.shape[-1]
    for m in prange(len(cones)):
        fx, fy, cx, cy = pinhole[m, 0], pinhole[m, 1], pinhole[m, 2], pinhole[m, 3]
        eye = (fx, fy, cx, cy, windows[m, 0], windows[m, 1], windows[m, 2] / f4(size))
        shadows, lamp = project_for_shadow(cones[m], lights[m])
        hand = (flat, right[m], looks[m], lights[m], shadows, lamp, levels)
        axes = project_axes(cones[m], fx, fy, cx, cy)
        walls = rooms[room[m]]
        surface = np.zeros((size, size), dtype=np.float32)
        colour = np.empty((size, size, 3), dtype=np.float32)
        _cover(cones[m], axes, eye, hand, walls, surface, colour, mask[m])
        smooth = colour.copy()
        _soften(cones[m], axes, eye, hand, walls, surface, colour, smooth)
        for i in range(size):
            for j in range(size):
                depth[m, i, j] = np.uint16(surface[i, j] + HALF)
                for c in range(3):
                    image[m, c, i, j] = np.uint8(min(max(smooth[i, j, c] + HALF, ZERO), f4(255)))


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
    """Renders N hands, each in front of its room, on as many threads as torch uses.

    cones: (N, P, 16) mm, the hands in the camera's frame (`solid.build`, `solid.place`).
    right: (N,) whether it is a right hand.
    K: (N, 3, 3) camera of the crop of size × size pixels.
    looks: (N, 12), lights: (N, 12); see `shading`.
    rooms: (B, H, W, 3) RGB in the camera's whole frame, and room: (N,) the index of each hand's room.
    windows: (N, 3) the part of that frame in the crop: left, top, side in the frame's pixels. Mid-grey outside.

    Returns image uint8 (N, 3, S, S), depth uint16 (N, S, S) mm, 0 where there is no hand, and mask uint8 (N, S, S).
    """
    image = np.empty((len(cones), 3, size, size), dtype=np.uint8)
    depth = np.zeros((len(cones), size, size), dtype=np.uint16)
    mask = np.zeros((len(cones), size, size), dtype=np.uint8)
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
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
    torch.set_num_threads(threads)  # Numba and torch share OpenMP: starting Numba's threads gives torch all of them
    return {"image": image, "depth": depth, "mask": mask}
