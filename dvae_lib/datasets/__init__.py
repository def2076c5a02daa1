"""Data sets: one schema (`dataset`), one loader each, and the split that fits the question asked (chapter 2)."""

from typing import Literal

import numpy as np

from dvae_lib import synthetic
from dvae_lib.datasets import realhand, rhd, stb
from dvae_lib.datasets.dataset import Dataset, prepare
from dvae_lib.datasets.splits import hold_out_blocks
from dvae_lib.files import UserError

# What a sample depends on beside files and options: prepared data and runs of another recipe are left aside.
RECIPES = {
    "synth-stb": synthetic.RECIPE,
    "synth-rhd": synthetic.RECIPE,
    "stb": stb.RECIPE,
    "rhd": rhd.RECIPE,
    "realhand": realhand.RECIPE,
}
# Which pictures a sample may have. STB's are colour or depth, by the view.
PICTURES = {
    "synth-stb": ("image", "depth", "mask"),
    "synth-rhd": ("image", "depth", "mask"),
    "stb": ("image", "depth"),
    "rhd": ("image", "depth", "mask"),
    "realhand": ("image",),
}
# Sequences that start so are the literature's test.
_TEST = {"synth-stb": "B1", "stb": "B1", "synth-rhd": "evaluation", "rhd": "evaluation"}
# Of synth-stb and STB, in frames. A gesture takes 25 to 60; two poses 30 apart differ by 14 mm in the sequences that
# count and 21 mm in the others, median over pairs and mean over joints, against 1.5 mm and 4 mm at 5 apart.
_STB_BLOCK, _STB_GAP = 150, 30


def open_source(name: str, **options):
    """Where the samples of a data set come from; `options` are its class's: see `open_dataset`."""
    sources = {"stb": stb.STBSource, "rhd": rhd.RHDSource, "realhand": realhand.RealHandSource}
    if name in sources:
        return sources[name](**options)
    if name in RECIPES:
        from dvae_lib.datasets.rendered import SyntheticSource  # compiles the renderer, so only when needed

        return SyntheticSource(name, **options)
    raise UserError(f"There is no data set “{name}”: choose one of {', '.join(RECIPES)}.")


def open_dataset(name: str, size: int, **options) -> Dataset:
    """The data set `name` in crops of `size` pixels, prepared now if it is not yet.

    options: of `rendered.SyntheticSource` for the rendered presets (seed, how many samples), of `stb.STBSource`,
    `rhd.RHDSource` and `realhand.RealHandSource` for the others (their folder, which samples).
    """
    return prepare(open_source(name, **options), size)


def split(dataset: Dataset, purpose: Literal["pose", "synthesis"] = "pose") -> tuple[np.ndarray, np.ndarray]:
    """Indices (train, test) of a data set's samples.

    For "pose" the test shows what training has never seen, as in the literature: on STB and synth-stb the two
    sequences in front of the first background (B1Counting, B1Random), on RHD and synth-rhd other people in other
    actions. For "synthesis" that would ask for the impossible: a tag image can only name a background that the
    decoder has learnt to draw. There the test is held-out blocks of frames of every STB sequence: new poses, known
    backgrounds. RHD and synth-rhd keep their test: an image's background is nobody's label there, so that no tag
    image is asked for; it is left to z_u.
    realhand is a single video; for either purpose blocks of its frames are held out.
    """
    if dataset.name == "realhand":
        return realhand.split(dataset)
    if dataset.name in ("stb", "synth-stb") and purpose == "synthesis":
        return hold_out_blocks(dataset["frame"], _STB_BLOCK, _STB_GAP)
    unseen = _TEST[dataset.name]
    test = np.array([name.startswith(unseen) for name in dataset.sequences])[dataset["sequence"]]
    return np.flatnonzero(~test), np.flatnonzero(test)
