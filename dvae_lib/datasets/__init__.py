"""Data sets: one schema (`dataset`), one loader each, and the split that fits the question asked (chapter 2)."""

from typing import Any, Literal

import numpy as np

from dvae_lib import settings, synthetic
from dvae_lib.datasets import digits, own, realhand, rhd, stb
from dvae_lib.datasets.dataset import Dataset, prepare
from dvae_lib.datasets.splits import hold_out_blocks
from dvae_lib.files import UserError

Part = Literal["train", "final", "validation", "test"]
Purpose = Literal["pose", "synthesis"]
# What a sample depends on beside files and options: prepared data and runs of another recipe are left aside.
RECIPES = synthetic.RECIPES | {
    "stb": stb.RECIPE,
    "rhd": rhd.RECIPE,
    "realhand": realhand.RECIPE,
    "digits": digits.RECIPE,
}
# Which pictures a sample may have. STB's are colour or depth, by the view.
PICTURES = {
    "synth-stb": ("image", "depth", "mask"),
    "synth-rhd": ("image", "depth", "mask"),
    "synth-poses": (),
    "stb": ("image", "depth"),
    "rhd": ("image", "depth", "mask"),
    "realhand": ("image",),
    "digits": ("image",),
}
_OWN_PICTURES = ("image",)
# Where parts of the rendered data sets lie, by set and purpose of the model: in data sets of their own.
_Elsewhere = dict[tuple[str, str], dict[str, tuple[str, dict[str, int]]]]
_RHD_LIKE = {"validation": ("synth-rhd-validation", {"count": 1200}), "test": ("synth-rhd-test", {"count": 2560})}
_ELSEWHERE: _Elsewhere = {
    ("synth-stb", "pose"): {"test": ("synth-stb-rooms", {"motion": 101, "frames_per_sequence": 60})},
    ("synth-stb", "synthesis"): {"test": ("synth-stb", {"motion": 101, "frames_per_sequence": 200})},
    ("synth-rhd", "pose"): _RHD_LIKE,
    ("synth-rhd", "synthesis"): _RHD_LIKE,
}
# Of synth-stb and STB, in frames. A gesture takes 25 to 60; two poses 30 apart differ by 14 mm in the sequences that
# count and 21 mm in the others, median over pairs and mean over joints, against 1.5 mm and 4 mm at 5 apart.
_STB_PERIOD, _STB_GAP = 750, 30
_STB_BLOCKS = {"synth-stb": {"validation": (300, 450)}, "stb": {"validation": (300, 450), "test": (480, 630)}}
_RHD_VALIDATION = 2728 / 41258  # of the images for training; as many as RHD keeps for its test


def pictures(name: str) -> tuple[str, ...]:
    """Which pictures a sample of a data set may have; of one that is not the book's, what `dvae label` makes."""
    return PICTURES.get(name, _OWN_PICTURES)


def recipe(name: str) -> int | str:
    """What a sample depends on beside files and options: prepared data and runs of another recipe are left aside."""
    return RECIPES.get(name, own.RECIPE)


def open_source(name: str, **options):
    """Where the samples of a data set come from; `options` are its class's: see `open_dataset`."""
    sources = {
        "stb": stb.STBSource,
        "rhd": rhd.RHDSource,
        "realhand": realhand.RealHandSource,
        "digits": digits.DigitsSource,
    }
    if name in sources:
        return sources[name](**options)
    if name in RECIPES:
        from dvae_lib.datasets.rendered import SyntheticSource  # compiles the renderer, so only when needed

        return SyntheticSource(name, **options)
    if name in settings.known_data():
        return own.OwnSource(name, **options)
    raise UserError(f"There is no data set “{name}”: choose one of {', '.join(RECIPES)}, or make it by `dvae label`.")


def open_dataset(name: str, size: int, **options) -> Dataset:
    """The data set `name` in crops of `size` pixels, prepared now if it is not yet.

    options: of `rendered.SyntheticSource` for the rendered presets (seed, how many samples), of `stb.STBSource`,
    `rhd.RHDSource`, `realhand.RealHandSource`, `digits.DigitsSource` and `own.OwnSource` for the others (their folder,
    which samples).
    """
    return prepare(open_source(name, **options), size)


def locate(name: str, part: Part, purpose: Purpose = "pose", **options) -> tuple[str, dict[str, Any]]:
    """The data set, with its options, in which a part of the data set `name` lies: see `open_part`."""
    elsewhere = _ELSEWHERE.get((name, purpose), {})
    if part not in elsewhere:
        return name, options
    other, most = elsewhere[part]
    halves = {option: max(1, value // 2) for option, value in options.items() if option != "motion"}
    return other, {option: min(value, halves.get(option, value)) for option, value in most.items()}


def open_part(name: str, size: int, part: Part, purpose: Purpose = "pose", **options) -> tuple[Dataset, np.ndarray]:
    """A data set, and the indices of those of its samples that are a part of the data set `name`.

    "train" is for learning, "validation" for all that is chosen, "test" for what is reported in the end, of models that
    were trained on "final": on the samples of "validation", too, where these were recorded with those of "train".

    For "pose" models are held against what training has never seen, as in the literature. On STB the test is both
    sequences in front of the first background (B1), and validation those in front of the second; on RHD the test is
    its own, and validation some images for training (the data set does not say who is on them, so people occur in
    both). On synth-stb, which has no literature, validation is B1, and the test forty other backgrounds; on synth-rhd
    both are other people in other actions in front of other backgrounds.

    For "synthesis" that would ask for the impossible: a tag image can only name a background that the decoder has
    learnt to draw. There blocks of frames of every STB sequence are held out: new poses, known backgrounds; the test
    of synth-stb is the same backgrounds with new motion. On RHD and synth-rhd nothing changes: an image's background is
    nobody's label there, so that no tag image is asked for; it is left to z_u.
    realhand and data sets of one's own are videos; for either purpose blocks of their frames are held out. Of the
    digits, likewise, whole students are, and single gestures of the others: see `digits.split`.

    options: see `open_dataset`. Of a part that is a data set of its own at most half as much is taken as of `name`.
    """
    other, own_options = locate(name, part, purpose, **options)
    dataset = open_dataset(other, size, **own_options)
    if part in _ELSEWHERE.get((name, purpose), {}):
        return dataset, np.arange(len(dataset))
    parts = split(dataset, purpose)
    return dataset, parts["train" if part == "final" and part not in parts else part]


def split(dataset: Dataset, purpose: Purpose = "pose") -> dict[str, np.ndarray]:
    """The indices of a data set's samples by the part that they belong to: of those of `open_part` that lie in it."""
    if dataset.name == "realhand":
        return realhand.split(dataset)
    if dataset.name == "digits":
        return digits.split(dataset)
    if dataset.name not in RECIPES:
        return own.split(dataset)
    if dataset.name in _STB_BLOCKS and purpose == "synthesis":
        return hold_out_blocks(dataset["frame"], _STB_PERIOD, _STB_GAP, **_STB_BLOCKS[dataset.name])
    if dataset.name == "rhd":
        training, test = (_of_sequences(dataset, kind) for kind in ("training", "evaluation"))
        drawn = np.random.default_rng(0).permutation(training)
        cut = round(_RHD_VALIDATION * len(training))
        return {"train": np.sort(drawn[cut:]), "final": training, "validation": np.sort(drawn[:cut]), "test": test}
    if dataset.name == "stb":
        validation, test = _of_sequences(dataset, "B2"), _of_sequences(dataset, "B1")
        final = np.setdiff1d(np.arange(len(dataset)), test)
        return {"train": np.setdiff1d(final, validation), "final": final, "validation": validation, "test": test}
    everything = np.arange(len(dataset))
    if dataset.name == "synth-stb":
        validation = _of_sequences(dataset, "B1")
        return {"train": np.setdiff1d(everything, validation), "validation": validation}
    return {"train": everything}


def tag_candidates(dataset: Dataset, part: Part, indices: np.ndarray) -> np.ndarray:
    """The samples that may be tag images of those (N,) of a part: these themselves. Of the digits, where a student may
    have a single photograph in a part that is held out, also those for training.
    """
    if dataset.name != "digits" or part in ("train", "final"):
        return indices
    return np.union1d(indices, split(dataset)["train" if part == "validation" else "final"])


def _of_sequences(dataset: Dataset, start: str) -> np.ndarray:
    """The indices of the samples in sequences whose names start so."""
    return np.flatnonzero(np.array([name.startswith(start) for name in dataset.sequences])[dataset["sequence"]])


# Frames of a video that follow one another are all good or all bad: so many of them are taken as one.
BLOCKS = {"stb": 25, "synth-stb": 25, "realhand": 15}
_OWN_BLOCK = 15


def units(dataset: Dataset, indices: np.ndarray) -> np.ndarray:
    """Of each of some samples (N,) in order the number (N,) of what it shares with others, so that they are not
    independent: its person on the RHD-like sets and the digits, its room on synth-stb-rooms, elsewhere a stretch of its
    video. Of RHD, which does not say who is on an image, each sample is by itself.
    """
    if "person" in dataset.arrays and dataset.name.startswith("synth-rhd"):
        key = np.asarray(dataset["person"])[indices]
    elif dataset.name in ("synth-stb-rooms", "digits"):
        key = np.asarray(dataset["content"])[indices]
    elif dataset.name in BLOCKS or dataset.name not in RECIPES:
        sequence = np.asarray(dataset["sequence"])[indices]
        place = np.arange(len(indices)) - np.searchsorted(sequence, sequence)
        key = sequence * len(indices) + place // BLOCKS.get(dataset.name, _OWN_BLOCK)
    else:
        key = np.arange(len(indices))
    return np.unique(key, return_inverse=True)[1]
