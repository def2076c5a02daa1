"""Which samples: of one video without leaks between training and test, and some, spread evenly (chapter 2).

Neighbouring frames of a video show the same hand, the same light and nearly the same pose. A split that draws
frames at random puts a near copy of every test frame into training, and then praises a model for remembering.
So whole blocks of consecutive frames are held out, and the frames next to them are used for nothing.
"""

import numpy as np

from dvae_lib.files import UserError


def hold_out_blocks(frame: np.ndarray, block: int, gap: int, every: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and of test samples: of every `every` blocks of frames, the middle one is the test's.

    frame: (N,) number of each sample's frame in its own video; block: frames in a block; gap: frames that are
    dropped from training on either side of a test block.
    """
    phase = frame % (every * block)
    first, last = (every // 2) * block, (every // 2 + 1) * block  # of the test block: [first, last)
    test = (first <= phase) & (phase < last)
    near = (first - gap <= phase) & (phase < last + gap)
    return np.flatnonzero(~near), np.flatnonzero(test)


def evenly(available: int, wanted: int, option: str) -> np.ndarray:
    """`wanted` of the numbers below `available`, spread evenly.

    Raises UserError, naming the option that asked for them, if there are not so many.
    """
    if not 1 <= wanted <= available:
        raise UserError(f"{option} is {wanted}: it must lie between 1 and {available}.")
    return np.arange(wanted) * available // wanted
