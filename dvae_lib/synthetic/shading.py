"""The colour of a point of the hand, or of the room behind it (chapter 2).

Skin is shaded with approximate subsurface scattering: the lamp's light wraps around the edge of its shadow, red light
farthest, and the light in creases is reddish. All sums are of linear light, with gamma 2 at the very end.

A look is 12 numbers: the linear RGB of the back of the hand and of its palm, gloss, depth of the wrinkles, the RGB of
the sleeve, and how creased the sleeve is. A light is 12 numbers: the direction to the lamp, the RGB of the lamp, of the
light from above, and of the light from below.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dvae_lib.synthetic import skin
from dvae_lib.synthetic.distance import (
    ALONG,
    DISTANCE,
    HALF,
    JIT,
    ONE,
    TINY,
    ZERO,
    Array,
    Indices,
    f4,
)
from dvae_lib.synthetic.solid import GROUP, INVERSE_SQUARE, PALM, RADIUS, SLEEVE, TAPER

BACK, FRONT, GLOSS, WRINKLES, CLOTH, CREASES = slice(0, 3), slice(3, 6), 6, 7, slice(8, 11), 11
LOOK_COLUMNS = LIGHT_COLUMNS = 12
_WRAP = (f4(0.40), f4(0.22), f4(0.16))  # how far the lamp's red, green and blue light reach around an edge

Colour = tuple[float, float, float]


@njit(inline="always", **JIT)
def to_display(linear: float) -> float:
    """Converts linear light in [0, 1], and slightly above, to display values in [0, 255]; compresses highlights."""
    x = max(linear, ZERO)
    if x > f4(0.7):
        x = ONE - f4(0.09) / (x - f4(0.4))
    return f4(255) * math.sqrt(x)


@njit(**JIT)
def room_colour(walls: NDArray[np.uint8], u: float, v: float, footprint: float) -> Colour:
    """RGB of the room around (u, v), averaged over a square of `footprint` of its pixels."""
    height, width = walls.shape[:2]
    taps = max(int(footprint + HALF), 1)
    r, g, b = ZERO, ZERO, ZERO
    for i in range(taps):
        y = min(max(v + ((f4(i) + HALF) / f4(taps) - HALF) * footprint - HALF, ZERO), f4(height) - f4(1.001))
        top = int(y)
        fy = y - f4(top)
        for j in range(taps):
            x = min(max(u + ((f4(j) + HALF) / f4(taps) - HALF) * footprint - HALF, ZERO), f4(width) - f4(1.001))
            left = int(x)
            fx = x - f4(left)
            p, q, s, t = (ONE - fx) * (ONE - fy), fx * (ONE - fy), (ONE - fx) * fy, fx * fy
            a, b1 = walls[top, left], walls[top, left + 1]
            c, d = walls[top + 1, left], walls[top + 1, left + 1]
            r += p * f4(a[0]) + q * f4(b1[0]) + s * f4(c[0]) + t * f4(d[0])
            g += p * f4(a[1]) + q * f4(b1[1]) + s * f4(c[1]) + t * f4(d[1])
            b += p * f4(a[2]) + q * f4(b1[2]) + s * f4(c[2]) + t * f4(d[2])
    scale = ONE / f4(taps * taps)
    return r * scale, g * scale, b * scale


@njit(**JIT)
def _on_the_map(
    table: Array, which: Indices, n: int, out: Array, flat: Array, right: bool, place: int, x: float, y: float, z: float
) -> tuple:
    """The position of a point on the flat hand (mm), and the directions there: to the radial side, distal and dorsal.

    Each cone around the point gives a position; they are weighted by proximity, since skin is stretched over the cones.
    """
    own = which[place]
    total, mx, my = ZERO, ZERO, ZERO
    rx, ry, rz, dx, dy, dz, nx, ny, nz = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for j in range(n):
        i = which[j]
        beyond = out[DISTANCE, j] - out[DISTANCE, place]
        if beyond > f4(9) or GROUP[i] == SLEEVE:
            continue
        weight = math.exp(-beyond * HALF)
        if GROUP[i] != GROUP[own]:
            # The skin of palm and finger is blended only around the knuckle.
            if GROUP[i] != PALM and GROUP[own] != PALM:
                continue
            finger, s = (i, out[ALONG, j]) if GROUP[i] != PALM else (own, out[ALONG, place])
            if GROUP[finger - 1] == GROUP[finger]:
                continue
            weight *= max(ONE - s / f4(0.6), ZERO)
        scale = math.sqrt(table[INVERSE_SQUARE, j])
        ax, ay, az = table[3, j] * scale, table[4, j] * scale, table[5, j] * scale
        ox, oy, oz = table[6, j], table[7, j], table[8, j]
        px, py, pz = x - table[0, j], y - table[1, j], z - table[2, j]
        along = (px * ax + py * ay + pz * az) * scale
        sx, sy, sz = ay * oz - az * oy, az * ox - ax * oz, ax * oy - ay * ox
        if right:
            sx, sy, sz = -sx, -sy, -sz
        m, s = flat[i], out[ALONG, j]
        across = (px * sx + py * sy + pz * sz) * (m[RADIUS] + s * m[TAPER])
        across *= math.sqrt(m[INVERSE_SQUARE]) / (table[RADIUS, j] + s * table[TAPER, j])
        mx += weight * (m[0] + along * m[3] + across * m[4])
        my += weight * (m[1] + along * m[4] - across * m[3])
        rx, ry, rz = rx + weight * sx, ry + weight * sy, rz + weight * sz
        dx, dy, dz = dx + weight * ax, dy + weight * ay, dz + weight * az
        nx, ny, nz = nx + weight * ox, ny + weight * oy, nz + weight * oz
        total += weight
    t = ONE / max(total, TINY)
    return mx * t, my * t, rx * t, ry * t, rz * t, dx * t, dy * t, dz * t, nx * t, ny * t, nz * t


@njit(**JIT)
def material(
    table: Array, which: Indices, n: int, out: Array, flat: Array, right: bool, place: int,
    x: float, y: float, z: float, nx: float, ny: float, nz: float, footprint: float, look: Array, levels: tuple,
) -> tuple:  # fmt: skip
    """The material of the cone at index `place` at the point (x, y, z) mm, where a pixel is `footprint` mm wide.

    Returns albedo (3), the normal tilted by the skin's relief (3), gloss, the proportion of nail, and how far light
    spreads in the material, relative to skin.
    """
    own = which[place]
    if GROUP[own] == SLEEVE:
        turn = nx * table[6, place] + ny * table[7, place] + nz * table[8, place]
        s = out[ALONG, place]
        fold = math.sin(f4(46) * s + f4(2.6) * turn) + f4(0.6) * math.sin(f4(83) * s - f4(4.1) * turn + ONE)
        tone = ONE + look[CREASES] * f4(0.16) * fold
        return look[8] * tone, look[9] * tone, look[10] * tone, nx, ny, nz, f4(0.01), ZERO, f4(0.4)

    mx, my, rx, ry, rz, dx, dy, dz, ox, oy, oz = _on_the_map(table, which, n, out, flat, right, place, x, y, z)
    back = min(max(HALF + (nx * ox + ny * oy + nz * oz) / f4(0.7), ZERO), ONE)
    back = back * back * (f4(3) - back - back)
    level, texel = 0, f4(skin.TEXEL)
    while level < skin.LEVELS - 1 and texel < f4(0.75) * footprint:
        level, texel = level + 1, texel + texel
    tone, red, nail, slope_x, slope_y = ZERO, ZERO, ZERO, ZERO, ZERO
    for side in range(2):
        weight = back if side else ONE - back
        if weight > f4(0.02):
            t = skin.look_up(levels[level], side, mx, my, texel)
            tone, red, nail = tone + weight * t[0], red + weight * t[1], nail + weight * t[2]
            slope_x, slope_y = slope_x + weight * t[3], slope_y + weight * t[4]

    # The relief's slope, rotated from the map's axes to the bone's, tilts the normal.
    scale = look[WRINKLES] * math.sqrt(flat[own, INVERSE_SQUARE])
    bx, by = flat[own, 3] * scale, flat[own, 4] * scale
    across, along = slope_x * by - slope_y * bx, slope_x * bx + slope_y * by
    nx, ny, nz = nx - across * rx - along * dx, ny - across * ry - along * dy, nz - across * rz - along * dz
    scale = ONE / math.sqrt(nx * nx + ny * ny + nz * nz + TINY)

    tone = ONE + (tone - ONE) * look[WRINKLES]
    r = tone * (look[3] + back * (look[0] - look[3])) * (ONE + f4(0.10) * red)
    g = tone * (look[4] + back * (look[1] - look[4])) * (ONE - f4(0.17) * red)
    b = tone * (look[5] + back * (look[2] - look[5])) * (ONE - f4(0.14) * red)
    # The pink nail bed is visible through a nail.
    r, g, b = (
        r + nail * (f4(0.05) + f4(0.1) * r),
        g + nail * (f4(0.02) + f4(0.06) * g),
        b + nail * (f4(0.025) + f4(0.1) * b),
    )
    gloss = look[GLOSS] * (f4(0.6) + f4(0.4) * back) * (ONE + f4(2.2) * nail)
    return r, g, b, nx * scale, ny * scale, nz * scale, gloss, nail, ONE


@njit(**JIT)
def shade(material: tuple, x: float, y: float, z: float, sky: float, lamp: float, light: Array) -> Colour:
    """RGB in [0, 255] of a point (x, y, z) mm from which these fractions of sky and lamp are visible, in [0, 1]."""
    r, g, b, nx, ny, nz, gloss, nail, depth = material
    albedo = (r, g, b)
    facing = nx * light[0] + ny * light[1] + nz * light[2]
    scale = ONE / math.sqrt(x * x + y * y + z * z)
    ex, ey, ez = -x * scale, -y * scale, -z * scale
    hx, hy, hz = ex + light[0], ey + light[1], ez + light[2]
    half = max(nx * hx + ny * hy + nz * hz, ZERO) / math.sqrt(hx * hx + hy * hy + hz * hz + TINY)
    half *= half
    half *= half
    half *= half  # to the power 8
    sharp = half * half * half * half * half * half  # … and 48
    grazing = ONE - max(nx * ex + ny * ey + nz * ez, ZERO)
    rim = grazing * grazing * grazing * grazing
    shine = gloss * lamp * max(facing, ZERO) * (half + nail * (sharp + sharp - half)) * (ONE + rim + rim)
    result = (ZERO, ZERO, ZERO)
    red_lamp = lamp * (f4(1.35) - f4(0.35) * lamp) if depth == ONE else lamp
    red_sky = sky * (f4(1.4) - f4(0.4) * sky) if depth == ONE else sky
    up = HALF - HALF * ny
    values = (ZERO, ZERO, ZERO)
    for c in range(3):
        wrap = _WRAP[c] * depth
        wrapped = max((facing + wrap) / (ONE + wrap), ZERO)
        around = light[6 + c] * up + light[9 + c] * (ONE - up)
        seen = red_sky if c == 0 else sky
        incoming = light[3 + c] * wrapped * (f4(0.45) + f4(0.55) * wrapped) * (red_lamp if c == 0 else lamp)
        incoming = incoming * (f4(0.5) + HALF * seen) + around * seen
        value = to_display(albedo[c] * incoming + shine * light[3 + c] + f4(0.1) * gloss * rim * around * sky)
        if c == 0:
            result = (value, ZERO, ZERO)
        elif c == 1:
            result = (result[0], value, ZERO)
        else:
            values = (result[0], result[1], value)
    return values
