"""Data sets: a common schema (`dataset`), one loader per data set, and splits for each purpose (chapter 2)."""

from typing import Any, Literal

import numpy as np

from dvae_lib import settings, synthetic
from dvae_lib.datasets import digits, own, realhand, rhd, stb
from dvae_lib.datasets.dataset import Dataset, prepare
from dvae_lib.datasets.splits import hold_out_blocks
from dvae_lib.files import UserError

Part = Literal["train", "final", "validation", "test"]
Purpose = Literal["pose", "synthesis"]
# The version of the code that makes a data set's samples: prepared data and runs of another recipe are ignored.
RECIPES = synthetic.RECIPES | {
    "stb": stb.RECIPE,
    "rhd": rhd.RECIPE,
    "realhand": realhand.RECIPE,
    "digits": digits.RECIPE,
}
# Which images a sample may have. STB's are colour or depth images, depending on the view.
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
# The parts of rendered data sets that are data sets of their own, by data set and purpose of the model.
_Elsewhere = dict[tuple[str, str], dict[str, tuple[str, dict[str, int]]]]
_RHD_LIKE = {"validation": ("synth-rhd-validation", {"count": 1200}), "test": ("synth-rhd-test", {"count": 2560})}
_ELSEWHERE: _Elsewhere = {
    ("synth-stb", "pose"): {"test": ("synth-stb-rooms", {"motion": 101, "frames_per_sequence": 60})},
    ("synth-stb", "synthesis"): {"test": ("synth-stb", {"motion": 101, "frames_per_sequence": 200})},
    ("synth-rhd", "pose"): _RHD_LIKE,
    ("synth-rhd", "synthesis"): _RHD_LIKE,
}
# Of synth-stb and STB, in frames. A gesture takes 25 to 60 frames. Two poses 30 frames apart differ by 14 mm in the
# counting sequences and 21 mm in the others (median over pairs, mean over joints); 5 frames apart, by 1.5 and 4 mm.
_STB_PERIOD, _STB_GAP = 750, 30
_STB_BLOCKS = {"synth-stb": {"validation": (300, 450)}, "stb": {"validation": (300, 450), "test": (480, 630)}}
_RHD_VALIDATION = 2728 / 41258  # of the training images; as many as RHD has in its test set


def pictures(name: str) -> tuple[str, ...]:
    """Which images a sample of a data set may have; for data sets other than the book's, what `dvae label` makes."""
    return PICTURES.get(name, _OWN_PICTURES)


def recipe(name: str) -> int | str:
    """The version of the code that makes a data set's samples: prepared data and runs of another recipe are ignored."""
    return RECIPES.get(name, own.RECIPE)


def open_source(name: str, **options):
    """The `Source` of a data set; `options` are passed to its class: see `open_dataset`."""
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
    raise UserError(f"There is no data set “{name}”: choose one of {', '.join(RECIPES)}, or make it with `dvae label`.")


def open_dataset(name: str, size: int, **options) -> Dataset:
    """The data set `name` with crops of `size` pixels, which is prepared first if necessary.

    options: those of `rendered.SyntheticSource` for the rendered presets (seed, number of samples), and of
    `stb.STBSource`, `rhd.RHDSource`, `realhand.RealHandSource`, `digits.DigitsSource` and `own.OwnSource` for the
    others (folder, selection of samples).
    """
    return prepare(open_source(name, **options), size)


def locate(name: str, part: Part, purpose: Purpose = "pose", **options) -> tuple[str, dict[str, Any]]:
    """The data set, with its options, that contains a part of the data set `name`: see `open_part`."""
    elsewhere = _ELSEWHERE.get((name, purpose), {})
    if part not in elsewhere:
        return name, options
    other, most = elsewhere[part]
    halves = {option: max(1, value // 2) for option, value in options.items() if option != "motion"}
    return other, {option: min(value, halves.get(option, value)) for option, value in most.items()}


def open_part(name: str, size: int, part: Part, purpose: Purpose = "pose", **options) -> tuple[Dataset, np.ndarray]:
    """A data set, and the indices of its samples that belong to a part of the data set `name`.

    "train" is for training, "validation" for all choices, and "test" for the reported results of models that were
    trained on "final", which also contains the samples of "validation" if these were recorded together with "train".

    For "pose", models are evaluated on data that differ from the training data as in the literature. On STB, the test
    set is both sequences in front of the first background (B1), and validation is those in front of the second; on RHD,
    the test set is the published one, and validation is some of the training images (the data set does not identify
    people, so they occur in both). On synth-stb, for which there is no literature, validation is B1, and the test set
    has forty other backgrounds; on synth-rhd, both have other people, actions and backgrounds.

    For "synthesis", this would be an impossible task: a tag image can only identify a background that the decoder has
    learnt to generate. Therefore blocks of frames of every STB sequence are held out, with new poses and known
    backgrounds; the test set of synth-stb has the same backgrounds with new motion. On RHD and synth-rhd nothing
    changes: the background is not labelled there, so that no tag image is required; z_u encodes it.
    realhand and your own data sets are videos: for either purpose, blocks of their frames are held out. Of the digits,
    whole students are held out, and single gestures of the others: see `digits.split`.

    options: see `open_dataset`. A part that is a data set of its own has at most half as many samples as `name`.
    """
    other, own_options = locate(name, part, purpose, **options)
    dataset = open_dataset(other, size, **own_options)
    if part in _ELSEWHERE.get((name, purpose), {}):
        return dataset, np.arange(len(dataset))
    parts = split(dataset, purpose)
    return dataset, parts["train" if part == "final" and part not in parts else part]


def split(dataset: Dataset, purpose: Purpose = "pose") -> dict[str, np.ndarray]:
    """The indices of a data set's samples by part, for those parts of `open_part` that the data set contains."""
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
    """The samples that may be tag images for the samples (N,) of a part: the same samples. For the digits, where a
    student may have only one photograph in a held-out part, the training samples as well.
    """
    if dataset.name != "digits" or part in ("train", "final"):
        return indices
    return np.union1d(indices, split(dataset)["train" if part == "validation" else "final"])


def _of_sequences(dataset: Dataset, start: str) -> np.ndarray:
    """The indices of the samples in sequences whose names begin with `start`."""
    return np.flatnonzero(np.array([name.startswith(start) for name in dataset.sequences])[dataset["sequence"]])


# The errors of consecutive frames of a video are correlated: this many frames count as one unit.
BLOCKS = {"stb": 25, "synth-stb": 25, "realhand": 15}
_OWN_BLOCK = 15


def units(dataset: Dataset, indices: np.ndarray) -> np.ndarray:
    """The unit (N,) of each of some samples (N,) in order; samples of the same unit are not independent. A unit is a
    person on the RHD-like sets and the digits, a room on synth-stb-rooms, and elsewhere a block of consecutive frames.
    On RHD, which does not identify people, each sample is a unit of its own.
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
