"""Choosing samples: splits of a video without leaks between its parts, and evenly spread samples (chapter 2).

Neighbouring frames of a video show the same hand, the same light and nearly the same pose. A random split of frames
puts a near copy of every test frame into the training set, and rewards a model that memorises. So whole blocks of
consecutive frames are held out, and the frames next to a block are left out of both sets.
"""

import numpy as np

from dvae_lib.files import UserError


def hold_out_blocks(frame: np.ndarray, period: int, gap: int, **blocks: tuple[int, int]) -> dict[str, np.ndarray]:
    """The indices of the samples in some blocks of frames of every period, by the block's name, and those for training.

    frame: (N,) number of each sample's frame in its video. blocks: of each the first frame, counted within the period,
    and the one after its last, as validation=(60, 90). gap: frames on either side of a block that are left out.

    "train" are the frames that are near no block; "final", where there is a "test", those that are not near that one:
    what a model may be trained on when everything is chosen.
    """
    phase = frame % period
    inside = {name: (first <= phase) & (phase < end) for name, (first, end) in blocks.items()}
    near = {name: (first - gap <= phase) & (phase < end + gap) for name, (first, end) in blocks.items()}
    kept = {"train": ~np.any([*near.values()], axis=0)} | ({"final": ~near["test"]} if "test" in blocks else {})
    return {name: np.flatnonzero(chosen) for name, chosen in (kept | inside).items()}


def evenly(available: int, wanted: int, option: str) -> np.ndarray:
    """`wanted` numbers (wanted,) below `available`, spread evenly.

    Raises UserError, naming the option that gave `wanted`, if there are not so many.
    """
    if not 1 <= wanted <= available:
        raise UserError(f"{option} is {wanted}: it must lie between 1 and {available}.")
    return np.arange(wanted) * available // wanted
