"""Which cones can be visible in a part of the image: for most rays, seven or eight of the forty.

Each cone's axis is projected into the image once; a part of the image that is farther from that line than the cone's
radius there, including its blending width, is not affected by the cone.
"""

import numpy as np
from numba import njit

from dvae_lib.synthetic.distance import JIT, ONE, TINY, ZERO, Array, Indices, f4
from dvae_lib.synthetic.solid import GROUP, MELT, PALM, RADIUS, TAPER

_NEAR = f4(60)  # mm; nothing nearer to the camera is rendered


@njit(**JIT)
def project_axes(cones: Array, fx: float, fy: float, cx: float, cy: float) -> Array:
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
def select(axes: Array, u: float, v: float, radius: float, around: float, into: Indices) -> int:
    """Writes the indices of the cones within `radius` pixels, and `around` mm, of (u, v); returns their number."""
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
def depth_range(axes: Array, which: Indices, n: int) -> tuple[float, float]:
    near, far = f4(1e9), ZERO
    for j in range(n):
        near, far = min(near, axes[which[j], 7]), max(far, axes[which[j], 8])
    return near, far
