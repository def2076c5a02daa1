"""Backgrounds of rooms and views, each generated from its number only (chapter 2).

They need not be photorealistic, but as varied, and as rich in edges, textures and colours, as the places where hands
are photographed, so that a network has to learn to ignore them. Lengths are fractions of the image's height.
"""

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dvae_lib.synthetic.canvas import Canvas


def _poster(c: Canvas, x: float, y: float, w: float, h: float) -> None:
    c.shadow(x + 0.01, y + 0.012, x + w + 0.01, y + h + 0.012)
    c.box(x, y, x + w, y + h, c.colour((0, 0.2), (0.75, 0.98)))
    for _ in range(c.rng.integers(3, 8)):
        px, py = x + w * c.rng.uniform(0.1, 0.75), y + h * c.rng.uniform(0.08, 0.8)
        if c.rng.random() < 0.5:
            c.box(
                px,
                py,
                min(px + w * c.rng.uniform(0.1, 0.5), x + 0.94 * w),
                min(py + h * 0.12, y + 0.95 * h),
                c.colour(),
            )
        else:
            r = 0.12 * min(w, h)
            c.disc(px + r, py + r, r, r, c.colour((0.3, 0.9)))
    for k in range(c.rng.integers(0, 6)):
        ty = y + h * (0.6 + 0.05 * k)
        c.box(x + 0.1 * w, ty, x + w * c.rng.uniform(0.5, 0.9), ty + 0.012, c.colour((0, 0.2), (0.1, 0.4)))


def _books(c: Canvas, x0: float, x1: float, top: float, bottom: float) -> None:
    x = x0
    while x < x1 - 0.01:
        width = min(c.rng.uniform(0.018, 0.055), x1 - x)
        if c.rng.random() < 0.08:
            x += width
            continue
        height = (bottom - top) * c.rng.uniform(0.6, 0.95)
        spine = c.colour((0.1, 0.8), (0.15, 0.85))
        c.box(x, bottom - height, x + width, bottom, spine, rim=0.002)
        for band in c.rng.uniform(0.1, 0.9, c.rng.integers(0, 3)):
            y = bottom - height * band
            c.box(x + 0.003, y, x + width - 0.003, y + 0.012, c.colour((0, 0.5), (0.5, 1)))
        x += width


def _curtain(c: Canvas) -> None:
    """Panels of printed cloth with folds."""
    edge = 0.0
    while edge < c.aspect:
        width, ground, hue = c.rng.uniform(0.25, 0.8), c.colour((0.05, 0.35), (0.65, 0.95)), c.rng.random()
        c.box(edge, 0, edge + width, 1, ground)
        spacing = c.rng.uniform(0.035, 0.09)
        style = c.rng.integers(3)
        for y in np.arange(0, 1 + spacing, spacing):
            for x in np.arange(edge, edge + width, spacing):
                px, py = x + c.rng.normal(0, 0.2) * spacing, y + c.rng.normal(0, 0.2) * spacing
                if not edge < px < edge + width - 0.3 * spacing:
                    continue
                r = spacing * c.rng.uniform(0.18, 0.42)
                near = c.around(px - 2 * r, py - 2 * r, px + 2 * r, py + 2 * r)
                dx, dy = c.x[near] - px, c.y[near] - py
                angle, radius = np.arctan2(dy, dx) + c.rng.random() * 6, np.hypot(dx, dy)
                petals = r * (0.75 + 0.3 * np.cos((3, 5, 2)[style] * angle))
                ink = c.colour((0.3, 0.8), (0.2, 0.8), hue if c.rng.random() < 0.7 else 0.35)
                patch = c.image[near]
                patch[radius < petals] = ink
                patch[radius < 0.3 * petals] = 0.6 * ink + 0.35
        edge += width
        c.box(edge - 0.012, 0, edge, 1, 0.4 * ground)
    folds = np.sin(2 * np.pi * (c.x * c.rng.uniform(3, 7) + 0.25 * np.sin(3 * c.y + c.x)))
    c.image *= (1 + 0.07 * folds + 0.03 * c.noise(0.3))[..., None]


def _library(c: Canvas) -> None:
    wood = c.colour((0.3, 0.65), (0.25, 0.65), 0.08)
    c.image[:] = 0.5 * wood
    y, step = c.rng.uniform(-0.2, 0), c.rng.uniform(0.22, 0.32)
    columns = np.arange(c.rng.uniform(-0.3, 0), c.aspect + 0.6, c.rng.uniform(0.45, 0.8))
    while y < 1:
        for x0, x1 in zip(columns[:-1], columns[1:], strict=True):
            c.box(x0, y, x1, y + step, 0.35 * wood)
            if c.rng.random() < 0.85:
                _books(c, x0 + 0.02, x0 + (x1 - x0) * c.rng.uniform(0.7, 0.98), y + 0.02, y + step)
            c.box(x0 - 0.014, y, x0 + 0.014, y + step, wood)
        c.box(0, y + step - 0.005, c.aspect, y + step + 0.02, 1.1 * wood)
        y += step
    c.image *= (1 + 0.06 * c.noise(0.15))[..., None]


def _office(c: Canvas) -> None:
    c.wall(c.colour((0.02, 0.25), (0.6, 0.9)))
    for _ in range(c.rng.integers(2, 5)):
        _poster(
            c,
            c.rng.uniform(0, c.aspect - 0.2),
            c.rng.uniform(0.02, 0.3),
            c.rng.uniform(0.15, 0.35),
            c.rng.uniform(0.2, 0.35),
        )
    top = c.rng.uniform(0.68, 0.8)
    desk = c.colour((0.2, 0.6), (0.35, 0.75), 0.08)
    x = c.rng.uniform(0.1, c.aspect - 0.6)
    c.shadow(x, top - 0.3, x + 0.5, top)
    c.box(x, top - 0.34, x + 0.5, top - 0.04, np.array([0.06, 0.06, 0.07]))
    c.box(x + 0.015, top - 0.325, x + 0.485, top - 0.06, c.colour((0.2, 0.6), (0.4, 0.8)))
    for k in range(6):
        c.box(
            x + 0.04,
            top - 0.29 + 0.035 * k,
            x + 0.04 + c.rng.uniform(0.1, 0.38),
            top - 0.275 + 0.035 * k,
            c.colour((0, 0.3), (0.7, 1)),
        )
    c.box(x + 0.22, top - 0.05, x + 0.28, top + 0.02, np.array([0.1, 0.1, 0.11]))
    c.box(0, top, c.aspect, 1, desk * 0.95)
    c.image += ((c.y > top) * 0.03 * np.sin(60 * c.y + 3 * c.noise(0.2)))[..., None]
    for _ in range(c.rng.integers(3, 7)):
        px, h, w = c.rng.uniform(0, c.aspect), c.rng.uniform(0.06, 0.16), c.rng.uniform(0.03, 0.07)
        c.box(px - w, top - h + 0.05, px + w, top + 0.05, c.colour((0.2, 0.8)), rim=0.004)
        c.disc(px, top - h + 0.05, w, 0.012, c.colour((0, 0.2), (0.5, 0.9)))


def _window(c: Canvas) -> None:
    c.wall(c.colour((0.05, 0.3), (0.45, 0.8)))
    x0, x1, y0, y1 = c.rng.uniform(0.08, 0.25), c.aspect - c.rng.uniform(0.08, 0.3), 0.08, c.rng.uniform(0.62, 0.8)
    frame = c.colour((0, 0.15), (0.75, 0.97))
    c.box(x0 - 0.04, y0 - 0.04, x1 + 0.04, y1 + 0.04, frame, rim=0.006)
    inside = (c.x > x0) & (c.x < x1) & (c.y > y0) & (c.y < y1)
    sky = np.stack([0.62 + 0.2 * c.y, 0.76 + 0.14 * c.y, 0.92 + 0.05 * c.y], -1) + 0.05 * c.noise(0.3)[..., None]
    c.paint(inside, sky)
    trees = c.y > 0.42 + 0.12 * c.noise(0.25)
    c.paint(inside & trees, c.colour((0.4, 0.7), (0.25, 0.5), 0.3) * (1 + 0.4 * c.noise(0.06))[..., None])
    for x in np.linspace(x0, x1, c.rng.integers(2, 5))[1:-1]:
        c.box(x - 0.015, y0, x + 0.015, y1, frame, rim=0.003)
    if c.rng.random() < 0.6:
        low = y0 + (y1 - y0) * c.rng.uniform(0.3, 0.8)
        slats = inside & (c.y < low) & ((c.y * 28) % 1 < 0.62)
        c.paint(slats, c.colour((0.02, 0.2), (0.7, 0.95)) * (0.8 + 0.35 * ((c.y * 28) % 1))[..., None])
    for _ in range(c.rng.integers(2, 5)):
        _plant(c, c.rng.uniform(x0, x1), y1 + 0.03)
    c.box(x0 - 0.08, y1 + 0.02, x1 + 0.08, y1 + 0.07, 0.95 * frame, rim=0.004)
    for x in np.arange(0, c.aspect, 0.045):
        c.box(x, y1 + 0.14, x + 0.03, 1, 0.92 * frame, rim=0.003)


def _plant(c: Canvas, x: float, y: float) -> None:
    size, green = c.rng.uniform(0.08, 0.16), c.colour((0.4, 0.8), (0.25, 0.6), 0.31)
    for angle in c.rng.uniform(-1.3, 1.3, 16):
        for t in np.linspace(0.3, 1, 7):
            px, py = x + size * t * np.sin(angle), y - 0.06 - size * t * np.cos(angle)
            c.disc(px, py, 0.016, 0.013, green * c.rng.uniform(0.7, 1.2))
    c.box(x - 0.04, y - 0.08, x + 0.04, y, c.colour((0.3, 0.7), (0.4, 0.8), 0.05), rim=0.004)


def _kitchen(c: Canvas) -> None:
    tile, size = c.colour((0.02, 0.35), (0.6, 0.92)), c.rng.uniform(0.06, 0.12)
    i, j = (
        np.floor(c.y / size).astype(int),
        np.floor(c.x / size + 0.5 * (np.floor(c.y / size) % 2) * c.rng.integers(2)).astype(int),
    )
    shades = c.rng.normal(1, 0.05, (64, 64))
    c.image[:] = tile * shades[i % 64, j % 64][..., None]
    accent = c.rng.random((64, 64)) < 0.08
    c.paint(accent[i % 64, j % 64], c.colour((0.3, 0.8)))
    grout = ((c.y / size) % 1 < 0.06) | ((c.x / size + 0.5 * (np.floor(c.y / size) % 2)) % 1 < 0.06)
    c.paint(0.6 * grout, np.array([0.55, 0.54, 0.52]))
    front = c.colour((0.05, 0.6), (0.3, 0.9))
    for x in np.arange(-0.1, c.aspect, 0.34):
        c.box(x, -0.1, x + 0.33, 0.24, front, rim=0.007)
        c.box(x + 0.28, 0.13, x + 0.295, 0.2, np.array([0.75, 0.75, 0.76]))
    c.shadow(0, 0.24, c.aspect, 0.29)
    top = c.rng.uniform(0.72, 0.82)
    for _ in range(c.rng.integers(5, 10)):
        x, h, w = c.rng.uniform(0, c.aspect), c.rng.uniform(0.05, 0.2), c.rng.uniform(0.02, 0.06)
        body = c.colour((0.1, 0.9), (0.2, 0.95))
        c.shadow(x, top - h, x + w + 0.03, top, 0.25)
        c.box(x - w, top - h, x + w, top, body, rim=0.004)
        c.box(x - 0.4 * w, top - h - 0.03, x + 0.4 * w, top - h, 0.6 * body)
        c.box(x - 0.75 * w, top - 0.7 * h, x + 0.75 * w, top - 0.35 * h, c.colour((0, 0.6), (0.6, 1)))
    c.box(0, top, c.aspect, top + 0.05, c.colour((0.05, 0.4), (0.25, 0.7)))
    c.box(0, top + 0.05, c.aspect, 1, 0.85 * front)


def _corridor(c: Canvas) -> None:
    c.wall(c.colour((0.05, 0.35), (0.5, 0.85)))
    floor = c.rng.uniform(0.8, 0.9)
    c.paint(c.y < 0.1, c.colour((0, 0.1), (0.8, 0.95)))
    x = c.rng.uniform(-0.2, 0.05)
    while x < c.aspect:
        kind, width = c.rng.integers(4), c.rng.uniform(0.3, 0.45)
        if kind == 0:
            door = c.colour((0.2, 0.6), (0.3, 0.8))
            c.box(x - 0.02, 0.13, x + width + 0.02, floor, 0.7 * door)
            c.box(x, 0.15, x + width, floor, door, rim=0.006)
            c.box(x + 0.1, 0.22, x + width - 0.1, 0.45, np.array([0.6, 0.7, 0.74]), rim=0.006)
            c.disc(x + 0.05, 0.55, 0.015, 0.015, np.array([0.8, 0.78, 0.7]))
        elif kind == 1:
            steel = c.colour((0.1, 0.5), (0.35, 0.75))
            for k in range(4):
                c.box(x + 0.1 * k, 0.2, x + 0.1 * (k + 1) - 0.004, floor, steel, rim=0.004)
                for slit in range(4):
                    c.box(x + 0.1 * k + 0.02, 0.24 + 0.02 * slit, x + 0.1 * k + 0.075, 0.247 + 0.02 * slit, 0.4 * steel)
            width = 0.42
        else:
            _poster(c, x, c.rng.uniform(0.15, 0.3), width * 0.8, c.rng.uniform(0.25, 0.4))
        x += width + c.rng.uniform(0.05, 0.2)
    c.box(0, floor, c.aspect, floor + 0.02, c.colour((0.1, 0.4), (0.2, 0.5)))
    checks = ((c.x * 6).astype(int) + ((c.y - floor) * 22).astype(int)) % 2
    c.paint(c.y > floor + 0.02, c.colour((0, 0.3), (0.3, 0.7)) * (0.9 + 0.2 * checks)[..., None])


def _landscape(c: Canvas) -> None:
    """Sky, ridges that fade with distance, and meadow, rocks or water in front of them."""
    high, low = c.colour((0.2, 0.6), (0.4, 0.95), 0.58), c.colour((0.05, 0.3), (0.7, 1), c.rng.choice([0.58, 0.08]))
    c.image[:] = high + (low - high) * np.clip(c.y / 0.55, 0, 1)[..., None]
    clouds = np.clip(1.5 * c.noise(0.45, 5) - 0.15, 0, 1) * np.clip(1 - c.y / 0.6, 0, 1)
    c.paint(0.8 * clouds, np.array([0.96, 0.96, 0.97]))
    horizon = c.rng.uniform(0.35, 0.6)
    rock = c.colour((0.1, 0.45), (0.25, 0.5))
    for k in range(4):
        profile = 0.06 * np.cumsum(c.rng.normal(0, 1, c.x.shape[1])) / np.sqrt(c.x.shape[1])
        profile += 0.05 * np.sin(c.x[0] * c.rng.uniform(2, 7) + c.rng.uniform(0, 6)) + horizon - 0.12 + 0.06 * k
        haze = 0.25 * k
        texture = 1 + (0.1 + 0.15 * haze) * c.noise(0.12 - 0.02 * k)
        c.paint(c.y > profile, (low + (rock - low) * (0.3 + haze)) * texture[..., None])
    ground = c.colour((0.2, 0.7), (0.2, 0.6), c.rng.choice([0.25, 0.1, 0.57]))
    stretched = c.noise(0.2, 5) + 0.8 * np.sin((c.y - horizon) * 90 / (0.2 + c.y)) * c.noise(0.3)
    c.paint(np.clip((c.y - horizon - 0.1) / 0.02, 0, 1), ground * (1 + 0.28 * stretched)[..., None])


def _street(c: Canvas) -> None:
    c.image[:] = c.colour((0.05, 0.4), (0.6, 0.95), 0.58)
    x = -c.rng.uniform(0, 0.3)
    while x < c.aspect:
        width, top, wall = c.rng.uniform(0.25, 0.6), c.rng.uniform(-0.1, 0.3), c.colour((0.1, 0.6), (0.3, 0.8))
        c.box(x, top, x + width, 0.9, wall)
        bricks = ((c.y * 60) % 1 < 0.15) & (c.x > x) & (c.x < x + width) & (c.y > top)
        c.paint(0.3 * bricks, 0.6 * wall)
        size, glass = c.rng.uniform(0.06, 0.1), c.colour((0.1, 0.5), (0.15, 0.5), 0.58)
        for wy in np.arange(top + 0.05, 0.72, 1.7 * size):
            for wx in np.arange(x + 0.03, x + width - size, 1.5 * size):
                c.box(wx, wy, wx + size * 0.8, wy + size, glass * c.rng.uniform(0.6, 2.0), rim=0.006)
        x += width
    c.box(0, 0.86, c.aspect, 1, c.colour((0, 0.15), (0.25, 0.5)))
    for _ in range(c.rng.integers(1, 4)):
        px, paint = c.rng.uniform(0, c.aspect), c.colour((0.2, 0.9))
        c.disc(px, 0.82, 0.13, 0.07, 0.8 * paint)
        c.box(px - 0.2, 0.82, px + 0.2, 0.9, paint, rim=0.004)
        for wheel in (-0.12, 0.12):
            c.disc(px + wheel, 0.9, 0.04, 0.04, np.array([0.07, 0.07, 0.08]))


def _garden(c: Canvas) -> None:
    """Leaves, blossoms and blurred lights, out of focus."""
    c.image[:] = c.colour((0.3, 0.7), (0.12, 0.4), 0.3) * (1 + 0.5 * c.noise(0.3))[..., None]
    for depth in range(3):
        leaf = c.colour((0.3, 0.8), (0.25, 0.75), 0.28)
        for _ in range(90):
            r = c.rng.uniform(0.02, 0.07) / (1 + 0.4 * depth)
            shade = leaf * c.rng.uniform(0.5, 1.3)
            c.disc(c.rng.uniform(0, c.aspect), c.rng.random(), r * c.rng.uniform(0.4, 1), r, shade)
        c.image = gaussian_filter(c.image, ((2 - depth) * 0.008 * len(c.x),) * 2 + (0,))
    for _ in range(c.rng.integers(5, 25)):
        r = c.rng.uniform(0.015, 0.05)
        c.disc(c.rng.uniform(0, c.aspect), c.rng.random(), r, r, c.colour((0.3, 0.9), (0.6, 1)))


_INDOORS = (_curtain, _library, _window, _kitchen, _office, _corridor)
_KINDS = (*_INDOORS, _landscape, _street, _garden)


@functools.lru_cache(maxsize=1024)
def paint_room(content: int, width: int, height: int) -> NDArray[np.uint8]:
    """The background (height, width, 3) RGB with this number: 0–5 are six kinds of room, the others any kind."""
    rng = np.random.default_rng([2019, content])
    canvas = Canvas(rng, width, height)
    (_INDOORS[content] if content < len(_INDOORS) else _KINDS[rng.integers(len(_KINDS))])(canvas)
    image = canvas.image
    # Light from one side, darker corners, and the blur of a lens.
    angle = rng.uniform(0, 2 * np.pi)
    x, y = canvas.x / canvas.aspect - 0.5, canvas.y - 0.5
    image = image * (1 + 0.35 * (x * np.cos(angle) + y * np.sin(angle)) - 0.35 * (x**2 + y**2))[..., None]
    image = gaussian_filter(image * rng.uniform(0.75, 1.05), (rng.uniform(0.5, 1.3) * height / 480,) * 2 + (0,))
    painted = (255 * np.clip(image + rng.normal(0, 0.012, image.shape), 0, 1) + 0.5).astype(np.uint8)
    painted.setflags(write=False)
    return painted
