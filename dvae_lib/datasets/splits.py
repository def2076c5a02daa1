"""Selecting samples: splits of a video without leakage between the parts, and evenly spread samples (chapter 2).

Neighbouring frames of a video show the same hand, the same light and nearly the same pose. A random split of frames
puts a near copy of every test frame into the training set, and rewards a model that memorises. So whole blocks of
consecutive frames are held out, and the frames next to a block are excluded from both sets.
"""

import numpy as np

from dvae_lib.files import UserError


def hold_out_blocks(frame: np.ndarray, period: int, gap: int, **blocks: tuple[int, int]) -> dict[str, np.ndarray]:
    """The indices of the samples in blocks of frames that repeat every period, by block name, and those for training.

    frame: (N,) number of each sample's frame in its video. blocks: the first frame of each block, counted within the
    period, and the frame after its last, such as validation=(60, 90). gap: how many frames are left out on either side
    of a block.

    "train" contains the frames that are not near any block; "final", if there is a "test" block, those that are not
    near that block: a model may be trained on them after all choices have been made.
    """
    phase = frame % period
    inside = {name: (first <= phase) & (phase < end) for name, (first, end) in blocks.items()}
    near = {name: (first - gap <= phase) & (phase < end + gap) for name, (first, end) in blocks.items()}
    kept = {"train": ~np.any([*near.values()], axis=0)} | ({"final": ~near["test"]} if "test" in blocks else {})
    return {name: np.flatnonzero(chosen) for name, chosen in (kept | inside).items()}


def evenly(available: int, wanted: int, option: str) -> np.ndarray:
    """`wanted` evenly spread integers (wanted,) below `available`.

    Raises UserError, naming the option that sets `wanted`, if fewer are available.
    """
    if not 1 <= wanted <= available:
        raise UserError(f"{option} is {wanted}: it must be between 1 and {available}.")
    return np.arange(wanted) * available // wanted
