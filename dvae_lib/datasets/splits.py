"""Choosing samples: splits of a video without leaks between training and test, and evenly spread samples (chapter 2).

Neighbouring frames of a video show the same hand, the same light and nearly the same pose. A random split of frames
puts a near copy of every test frame into the training set, and rewards a model that memorises. So whole blocks of
consecutive frames are held out, and the frames next to a block are left out of both sets.
"""

import numpy as np

from dvae_lib.files import UserError


def hold_out_blocks(frame: np.ndarray, block: int, gap: int, every: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """The indices of the training and of the test samples: of every `every` blocks the middle one is for the test.

    frame: (N,) number of each sample's frame in its video; block: frames in a block; gap: frames on either side of a
    test block that are left out of training.
    """
    phase = frame % (every * block)
    first, last = (every // 2) * block, (every // 2 + 1) * block  # of the test block: [first, last)
    test = (first <= phase) & (phase < last)
    near = (first - gap <= phase) & (phase < last + gap)
    return np.flatnonzero(~near), np.flatnonzero(test)


def evenly(available: int, wanted: int, option: str) -> np.ndarray:
    """`wanted` numbers (wanted,) below `available`, spread evenly.

    Raises UserError, naming the option that gave `wanted`, if there are not so many.
    """
    if not 1 <= wanted <= available:
        raise UserError(f"{option} is {wanted}: it must lie between 1 and {available}.")
    return np.arange(wanted) * available // wanted
