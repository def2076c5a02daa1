"""People and lamps: the appearance of hands, apart from their pose (chapter 2).

A person has proportions (`kinematics.PROPORTIONS`), a look (`shading`: the colours of skin and sleeve, gloss, depth
of the wrinkles) and a sleeve, given by its distance from the wrist. All are sampled with a NumPy generator.
"""

from typing import NamedTuple

import numpy as np

from dvae_lib.synthetic.kinematics import PROPORTIONS, FloatArray
from dvae_lib.synthetic.shading import BACK, CLOTH, CREASES, FRONT, GLOSS, LIGHT_COLUMNS, LOOK_COLUMNS, WRINKLES

# From the lightest to the darkest skin, as displayed in white light: the back of the hand and the palm, whose colour
# varies much less.
_BACKS = np.array([[228, 180, 154], [208, 154, 122], [178, 122, 88], [132, 86, 60], [88, 58, 44]]) / 255
_PALMS = np.array([[236, 184, 164], [224, 168, 144], [208, 150, 124], [184, 132, 108], [152, 108, 90]]) / 255
_SPREAD = {
    "size": 0.06,
    "finger length": 0.04,
    "palm width": 0.05,
    "thumb length": 0.05,
    "thickness": 0.06,
    "knuckles": 0.025,
}


class People(NamedTuple):
    """The factors of N people: proportions (N, 6), look (N, 12) and sleeve (N,) mm, infinite for a bare arm."""

    proportions: FloatArray
    look: FloatArray
    sleeve: FloatArray


def random_people(rng: np.random.Generator, n: int) -> People:
    """N people of any build and skin colour, half of them with bare arms."""
    proportions = np.ones((n, len(PROPORTIONS)))
    for i, name in enumerate(PROPORTIONS):
        proportions[:, i] += _SPREAD[name] * np.clip(rng.normal(size=n), -2, 2)
    tone = rng.beta(1.1, 1.5, n) * (len(_BACKS) - 1)
    warmth = rng.normal(0, 0.02, (n, 1)) * [1, -0.3, -1]
    look = np.zeros((n, LOOK_COLUMNS))
    for columns, colours in ((BACK, _BACKS), (FRONT, _PALMS)):
        displayed = np.stack([np.interp(tone, range(len(colours)), channel) for channel in colours.T], axis=-1)
        look[:, columns] = (displayed + warmth) ** 2
    look[:, GLOSS] = rng.uniform(0.10, 0.30, n)
    look[:, WRINKLES] = rng.uniform(0.6, 1.3, n)
    look[:, CLOTH] = rng.uniform(0.02, 0.8, (n, 1)) * rng.uniform(0.35, 1.0, (n, 3))
    look[:, CREASES] = rng.uniform(0.2, 1.0, n)
    sleeve = np.where(rng.random(n) < 0.5, rng.uniform(15, 120, n), np.inf)
    return People(proportions, look, sleeve)


def random_lights(rng: np.random.Generator, n: int, brightness: tuple[float, float] = (0.5, 1.1)) -> FloatArray:
    """N lights (N, 12), see `shading`: a lamp in front of the hand, mostly above it, and light of sky and floor."""
    side, height = np.radians(rng.uniform(-75, 75, n)), np.radians(rng.uniform(-5, 75, n))
    toward = [np.cos(height) * np.sin(side), -np.sin(height), -np.cos(height) * np.cos(side)]
    warmth = rng.normal(0, 0.06, (n, 1)) * [1, 0, -1]
    strength = rng.uniform(*brightness, (n, 1))
    lamp = rng.uniform(0.65, 1.05, (n, 1)) * (1 + warmth)
    sky = rng.uniform(0.25, 0.55, (n, 1)) * (1 - 0.7 * warmth + rng.normal(0, 0.03, (n, 3)))
    floor = rng.uniform(0.45, 0.8, (n, 1)) * sky * (1 + np.abs(rng.normal(0, 0.08, (n, 1))) * [1, 0.3, -0.6])
    light = np.concatenate([np.stack(toward, axis=-1), strength * lamp, strength * sky, strength * floor], axis=-1)
    assert light.shape[1] == LIGHT_COLUMNS
    return light
