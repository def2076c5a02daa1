"""d(p): the distance of a point from the skin, its gradient, and the occlusion of the sky and of the lamp (chapter 2).

Compiled by Numba. The cones that are relevant in a part of the image are gathered into a table (COLUMNS, n), with a row
for each column of `solid`, so that the processor handles several cones at once; therefore all numbers have single
precision. The values of the cones at the last point are kept in a scratch table, whose rows are named below.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dvae_lib.synthetic.solid import (
    COLUMNS,
    FLAT,
    GROUP,
    INVERSE_SQUARE,
    MELT,
    PAD,
    PALM,
    RADIUS,
    SLEEVE,
    TAPER,
    WAIST,
)

JIT = {"fastmath": True, "cache": True, "nogil": True, "error_model": "numpy"}
DISTANCE, ALONG, NX, NY, NZ = range(5)  # rows of the scratch table (5, n)

f4 = np.float32
FAR, ZERO, ONE, QUARTER, HALF, TINY = f4(1e6), f4(0), f4(1), f4(0.25), f4(0.5), f4(1e-9)
_TWO, _FOUR = f4(2), f4(4)
_LANE = 16
_MELTING = f4(16)  # mm beyond which no cone blends into another …
_SUNK = f4(8)  # … and the maximum by which blending can bring the surface nearer
_FROM_AFAR = f4(24)  # mm, beyond which a bound is sufficient
_TOUCH = f4(0.8)  # mm over which parts that touch without blending are rounded off
_MELT_UNTIL = f4(0.55)  # the fraction of a finger's first bone along which it blends into the palm

Array = NDArray[np.float32]
Indices = NDArray[np.int64]


@njit(**JIT)
def gather(cones: Array, which: Indices, n: int, table: Array) -> None:
    """Copies n of the cones (P, 16) into columns of the table (16, ≥ n), and repeats the last one to fill a lane."""
    for j in range(lanes(n)):
        for c in range(COLUMNS):
            table[c, j] = cones[which[min(j, n - 1)], c]


@njit(inline="always", **JIT)
def lanes(n: int) -> int:
    """n rounded up to the width of SIMD instructions: the remainder of a short loop would cost more than the loop."""
    return (n + _LANE - 1) // _LANE * _LANE


@njit(**JIT)
def _each(table: Array, n: int, x: float, y: float, z: float, out: Array) -> None:
    """For each cone its distance (mm) from a point, and how far along its axis the nearest point is, in [0, 1]."""
    for j in range(lanes(n)):
        px, py, pz = x - table[0, j], y - table[1, j], z - table[2, j]
        nx, ny, nz = table[6, j], table[7, j], table[8, j]
        flat = table[FLAT, j] * (px * nx + py * ny + pz * nz)  # stretching space flattens its content
        px, py, pz = px + flat * nx, py + flat * ny, pz + flat * nz
        ax, ay, az = table[3, j], table[4, j], table[5, j]
        s = min(max((px * ax + py * ay + pz * az) * table[INVERSE_SQUARE, j], ZERO), ONE)
        px, py, pz = px - s * ax, py - s * ay, pz - s * az
        length = math.sqrt(px * px + py * py + pz * pz + TINY)
        palmar = -(px * nx + py * ny + pz * nz) / length
        swell = _FOUR * s * (ONE - s) * (table[WAIST, j] + palmar * table[PAD, j])
        # Divided by the stretch along the gradient, this is the distance in unstretched space, to first order.
        stretch = ONE + table[FLAT, j] * (_TWO + table[FLAT, j]) * palmar * palmar
        out[DISTANCE, j] = (length - table[RADIUS, j] - s * table[TAPER, j] - swell) / math.sqrt(stretch)
        out[ALONG, j] = s


@njit(**JIT)
def _each_normal(table: Array, n: int, x: float, y: float, z: float, out: Array) -> None:
    """For each cone the gradient of its distance, which `_each` has just computed at the same point."""
    for j in range(lanes(n)):
        px, py, pz = x - table[0, j], y - table[1, j], z - table[2, j]
        nx, ny, nz = table[6, j], table[7, j], table[8, j]
        ax, ay, az = table[3, j], table[4, j], table[5, j]
        flat = table[FLAT, j] * (px * nx + py * ny + pz * nz)
        s = out[ALONG, j]
        px, py, pz = px + flat * nx - s * ax, py + flat * ny - s * ay, pz + flat * nz - s * az
        scale = ONE / math.sqrt(px * px + py * py + pz * pz + TINY)
        px, py, pz = px * scale, py * scale, pz * scale
        out_of_plane = px * nx + py * ny + pz * nz
        flat = table[FLAT, j] * out_of_plane
        # The radius changes along the axis: by its taper and by the pads.
        growth = table[TAPER, j] + _FOUR * (ONE - s - s) * (table[WAIST, j] - out_of_plane * table[PAD, j])
        inside = ONE if ZERO < s < ONE else ZERO
        growth = growth * table[INVERSE_SQUARE, j] * inside
        # … and around it, by the pad.
        pad = _FOUR * s * (ONE - s) * table[PAD, j] * scale
        out[NX, j] = px + flat * nx - growth * ax + pad * (nx - out_of_plane * px)
        out[NY, j] = py + flat * ny - growth * ay + pad * (ny - out_of_plane * py)
        out[NZ, j] = pz + flat * nz - growth * az + pad * (nz - out_of_plane * pz)


@njit(inline="always", **JIT)
def _share(a: float, b: float, k: float) -> tuple[float, float]:
    """The smooth minimum of a and b, and b's share in its gradient.

    The smaller of the two, lowered where they differ by less than k: by up to k/4, where they are equal.
    """
    if a + k <= b:
        return a, ZERO
    if b + k <= a:
        return b, ONE
    h = ONE - abs(a - b) / k
    share = HALF * h
    return min(a, b) - QUARTER * k * h * h, share if a < b else ONE - share


@njit(inline="always", **JIT)
def _melt_at_root(i: int, s: float, melt: float) -> float:
    """The width in mm over which a finger blends into the palm near the position s of its cone i: only at its root."""
    if GROUP[i - 1] == GROUP[i]:
        return _TOUCH
    root = max(ONE - s / _MELT_UNTIL, ZERO)
    return _TOUCH + (melt - _TOUCH) * root * root * (f4(3) - root - root)


@njit(**JIT)
def distance(table: Array, which: Indices, n: int, x: float, y: float, z: float, out: Array) -> tuple[float, int]:
    """Distance (mm) from a point to the hand, and the index in the table of the nearest cone.

    Far away, only a lower bound, with index 0.
    """
    _each(table, n, x, y, z, out)
    least = FAR
    for j in range(lanes(n)):
        d = out[DISTANCE, j]
        least = d if d < least else least
    if least > _FROM_AFAR:
        return least - _SUNK, 0
    total, chain, best_in_chain, best = FAR, FAR, FAR, FAR
    melt, group, place = ONE, PALM, -1
    for j in range(n):
        i, d = which[j], out[DISTANCE, j]
        if d > least + _MELTING:
            continue
        if GROUP[i] != group:
            total = _share(total, chain, melt)[0]
            chain, best_in_chain, group = FAR, FAR, GROUP[i]
        if group == SLEEVE:
            d = max(d, _past_the_cuff(table, j, x, y, z))
            out[DISTANCE, j] = d
        if d < best:
            best, place = d, j
        if group == PALM:
            total = _share(total, d, table[MELT, j])[0]
        else:
            if d < best_in_chain:
                best_in_chain, melt = d, _melt_at_root(i, out[ALONG, j], table[MELT, j])
            chain = _share(chain, d, table[MELT, j])[0]
    return _share(total, chain, melt)[0], place


@njit(inline="always", **JIT)
def _past_the_cuff(table: Array, j: int, x: float, y: float, z: float) -> float:
    """Distance (mm) beyond the plane at which cone j ends: a cuff has a straight edge."""
    ax, ay, az = table[3, j], table[4, j], table[5, j]
    past = (x - table[0, j] - ax) * ax + (y - table[1, j] - ay) * ay + (z - table[2, j] - az) * az
    return past * math.sqrt(table[INVERSE_SQUARE, j])


@njit(**JIT)
def normal(
    table: Array, which: Indices, n: int, x: float, y: float, z: float, out: Array
) -> tuple[float, float, float]:
    """The unit gradient of d at the last point of `distance`: those of the cones, blended like the cones."""
    _each_normal(table, n, x, y, z, out)
    total, chain, best_in_chain = FAR, FAR, FAR
    melt, group = ONE, PALM
    tx, ty, tz, cx, cy, cz = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for j in range(n + 1):
        if j == n or GROUP[which[j]] != group:
            total, t = _share(total, chain, melt)
            tx, ty, tz = tx + t * (cx - tx), ty + t * (cy - ty), tz + t * (cz - tz)
            if j == n:
                break
            chain, best_in_chain, group = FAR, FAR, GROUP[which[j]]
        d = out[DISTANCE, j]
        if d > f4(40):
            continue
        nx, ny, nz = out[NX, j], out[NY, j], out[NZ, j]
        if group == PALM:
            total, t = _share(total, d, table[MELT, j])
            tx, ty, tz = tx + t * (nx - tx), ty + t * (ny - ty), tz + t * (nz - tz)
        else:
            if d < best_in_chain:
                best_in_chain, melt = d, _melt_at_root(which[j], out[ALONG, j], table[MELT, j])
            chain, t = _share(chain, d, table[MELT, j])
            cx, cy, cz = cx + t * (nx - cx), cy + t * (ny - cy), cz + t * (nz - cz)
    scale = ONE / math.sqrt(tx * tx + ty * ty + tz * tz + TINY)
    return tx * scale, ty * scale, tz * scale


@njit(**JIT)
def openness(table: Array, which: Indices, n: int, x: float, y: float, z: float, nx: float, ny: float, nz: float,
             out: Array) -> float:  # fmt: skip
    """Ambient occlusion: 1 under the open sky, 0 in a hole. Measures the free space along the normal."""
    hidden = ZERO
    for height, weight in ((f4(2), f4(0.20)), (f4(7), f4(0.085))):
        d = distance(table, which, n, x + height * nx, y + height * ny, z + height * nz, out)[0]
        hidden += weight * max(height - d, ZERO)
    return max(ONE - hidden, ZERO)


@njit(**JIT)
def project_for_shadow(cones: Array, light: Array) -> tuple[Array, Array]:
    """The cones' axes in the frame of a distant lamp in the direction `light`, and this frame (3, 3).

    Rows of the first (9, P): the start across, across, towards the lamp; the same for the axis; 1/length²; radius;
    and one that `lit` writes to.
    """
    frame = np.zeros((3, 3), dtype=np.float32)
    if abs(light[1]) < f4(0.9):
        frame[0, 0], frame[0, 2] = light[2], -light[0]
    else:
        frame[0, 1], frame[0, 2] = -light[2], light[1]
    scale = ONE / math.sqrt(frame[0, 0] ** 2 + frame[0, 1] ** 2 + frame[0, 2] ** 2)
    for k in range(3):
        frame[0, k] *= scale
        frame[2, k] = light[k]
    for k in range(3):
        frame[1, k] = light[(k + 1) % 3] * frame[0, (k + 2) % 3] - light[(k + 2) % 3] * frame[0, (k + 1) % 3]
    out = np.empty((9, len(cones)), dtype=np.float32)
    for i in range(len(cones)):
        c = cones[i]
        for k in range(3):
            out[k, i] = frame[k, 0] * c[0] + frame[k, 1] * c[1] + frame[k, 2] * c[2]
            out[3 + k, i] = frame[k, 0] * c[3] + frame[k, 1] * c[4] + frame[k, 2] * c[5]
        out[6, i] = ONE / (out[3, i] ** 2 + out[4, i] ** 2 + f4(1e-6))
        out[7, i] = max(c[RADIUS] + HALF * c[TAPER], f4(0.01))
    return out, frame


@njit(**JIT)
def lit(shadows: Array, frame: Array, x: float, y: float, z: float) -> float:
    """The visible fraction of a broad, distant lamp at a point, in [0, 1]; the arrays are from `project_for_shadow`."""
    u = x * frame[0, 0] + y * frame[0, 1] + z * frame[0, 2]
    v = x * frame[1, 0] + y * frame[1, 1] + z * frame[1, 2]
    w = x * frame[2, 0] + y * frame[2, 1] + z * frame[2, 2]
    hidden = shadows[8]
    for i in range(shadows.shape[1]):
        r = shadows[7, i]
        px, py = u - shadows[0, i], v - shadows[1, i]
        s = min(max((px * shadows[3, i] + py * shadows[4, i]) * shadows[6, i], ZERO), ONE)
        above = shadows[2, i] + s * shadows[5, i] - w
        px, py = px - s * shadows[3, i], py - s * shadows[4, i]
        width = ONE + f4(0.16) * max(above, ZERO)
        clear = (math.sqrt(px * px + py * py) - r + width) / (width + width)
        clear = min(max(clear, ZERO), ONE)
        # Cones below the point, towards its own bone, do not shade it.
        gate = min(max((above / r - f4(0.3)) / f4(1.2), ZERO), ONE)
        hidden[i] = gate * (ONE - clear * clear * (f4(3) - clear - clear))
    return ONE - hidden.max()
