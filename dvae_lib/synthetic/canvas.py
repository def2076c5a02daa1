"""The drawing primitives of `rooms`: an image and a few shapes. Lengths are fractions of the image's height."""

import colorsys

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

Colour = NDArray[np.floating]


class Canvas:
    """An image to draw on: x ranges from 0 to its aspect ratio, y downwards from 0 to 1."""

    def __init__(self, rng: np.random.Generator, width: int, height: int):
        self.rng, self.aspect = rng, width / height
        y, x = np.mgrid[0:height, 0:width]
        self.x, self.y = (x + 0.5) / height, (y + 0.5) / height
        self.image = np.zeros((height, width, 3))

    def colour(self, saturation: tuple = (0.1, 0.6), value: tuple = (0.25, 0.9), hue: float | None = None) -> Colour:
        hue = self.rng.random() if hue is None else (hue + self.rng.normal(0, 0.03)) % 1
        return np.array(colorsys.hsv_to_rgb(hue, self.rng.uniform(*saturation), self.rng.uniform(*value)))

    def noise(self, scale: float, octaves: int = 4) -> NDArray[np.floating]:
        """Fractal noise in about [−1, 1]; `scale` is the size of its largest features."""
        total = np.zeros(self.x.shape)
        for octave in range(octaves):
            cell = scale / 2**octave
            shape = (int(1 / cell) + 3, int(self.aspect / cell) + 3)
            coarse = self.rng.uniform(-1, 1, shape)
            fine = zoom(coarse, max(self.x.shape[0] * cell, 1.0), order=1, grid_mode=True, mode="nearest")
            reps = [-(-n // m) for n, m in zip(self.x.shape, fine.shape, strict=True)]
            total += 0.5**octave * np.tile(fine, reps)[: self.x.shape[0], : self.x.shape[1]]
        return total

    def paint(self, where: NDArray, colour: NDArray) -> None:
        """Blends in a colour (3,), or an image of colours, with the mask `where` (booleans or opacities)."""
        opacity = np.asarray(where, dtype=np.float64)[..., None]
        self.image += opacity * (colour - self.image)

    def around(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        """The pixels whose centres are in a rectangle."""
        x0, y0, x1, y1 = (max(int(np.ceil(edge * len(self.x) - 0.5)), 0) for edge in (x0, y0, x1, y1))
        return slice(y0, y1), slice(x0, x1)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: NDArray, rim: float = 0.0) -> None:
        """A rectangle that is slightly lighter at the top, with a dark rim."""
        if rim:
            self.image[self.around(x0, y0, x1, y1)] = 0.55 * np.asarray(colour)
        inside = self.around(x0 + rim, y0 + rim, x1 - rim, y1 - rim)
        fall = 1.06 - 0.14 * np.clip((self.y[inside] - y0) / max(y1 - y0, 1e-3), 0, 1)
        self.image[inside] = np.asarray(colour) * fall[..., None]

    def disc(self, x: float, y: float, rx: float, ry: float, colour: NDArray) -> None:
        near = self.around(x - rx, y - ry, x + rx, y + ry)
        dx, dy = (self.x[near] - x) / rx, (self.y[near] - y) / ry
        light = 1.1 - 0.3 * np.clip(dx + dy, -1, 1)
        self.image[near] = np.where(
            (dx**2 + dy**2 < 1)[..., None], np.asarray(colour) * light[..., None], self.image[near]
        )

    def shadow(self, x0: float, y0: float, x1: float, y1: float, depth: float = 0.35) -> None:
        """The soft shadow of a box on the wall behind it."""
        where = (self.x >= x0) & (self.x < x1) & (self.y >= y0) & (self.y < y1)
        self.image *= 1 - depth * gaussian_filter(where.astype(float), 0.02 * len(self.x))[..., None]

    def wall(self, colour: Colour) -> None:
        self.image[:] = colour * (1 + 0.05 * self.noise(0.5)[..., None])
