"""The size of an experiment in each profile: “smoke” takes seconds, “laptop” minutes on two cores, “study” hours on
two cores with several seeds of each experiment, “full” needs a GPU.

`full` has the catalogue's values, which are the papers'. The others change some: a row of `STUDY` has all values that
the profile changes for an experiment, except those that depend on its data, each with its reason. `laptop` is the same,
but with fewer steps for the runs that the book trains on the reader's machine.
"""

from dataclasses import replace
from typing import Any

from dvae_lib.datasets import PICTURES
from dvae_lib.datasets.augmentation import Augmentation
from dvae_lib.experiments.catalogue import ABLATION, SUPERVISION
from dvae_lib.experiments.experiment import Experiment
from dvae_lib.hand import Root

Changes = dict[str, tuple[Any, str]]  # by field: the value, and why it differs from the paper's


def _because(why: str, **values: Any) -> Changes:
    return {name: (value, why) for name, value in values.items()}


_FEW = "not given; minutes on two cores"


def _steps(steps: int, why: str = _FEW) -> Changes:
    return _because(why, steps=steps)


def _two_steps(steps: int, embedding_steps: int, why: str = _FEW) -> Changes:
    return _because(why, steps=steps, embedding_steps=embedding_steps)


_RATE = _because("so few steps achieve more at a higher, decaying rate", lr=1e-3, decay=True)
_TWICE_THE_RATE = _RATE | _because("so few steps achieve more at a higher, decaying rate", lr=2e-3)
_SMALL_IMAGES = _because("takes a sixteenth of the time", size=64)
_SMALLER_IMAGES = _because("takes a 64th of the time, for many runs", size=32)
_WIDER_DECODER = _because("the decoder of a small image has few layers", width=2)

_HAND = _because("a finger covers few pixels, the background most of the image", foreground_precision=4.0)
_CROSS_MODAL = _SMALL_IMAGES | _WIDER_DECODER | _RATE
_STEADY = _SMALLER_IMAGES | _WIDER_DECODER | _HAND | _because("short runs achieve more at a higher rate", lr=1e-3)
_SYNTHESIS = (
    _SMALL_IMAGES
    | _WIDER_DECODER
    | _TWICE_THE_RATE
    | _HAND
    | _because("so few steps at the paper's β leave the latent close to the prior", beta=2.0)
)
_MORE_POSE = "so few steps at the paper's λ leave the factors unlearnt"
_LABELLED_CONTENT = _SYNTHESIS | _because(_MORE_POSE, lambdas={"image": 1.0, "pose": 16.0, "tag": 0.1})
_LABELLED_PLACE = _SYNTHESIS | _because(_MORE_POSE, lambdas={"image": 1.0, "pose": 16.0, "tag": 0.1, "place": 1.0})
_UNLABELLED_CONTENT = _SYNTHESIS | _because(_MORE_POSE, lambdas={"image": 1.0, "pose": 16.0})
# The ablation varies β, so the profile does not change it.
_ABLATION = {name: change for name, change in _LABELLED_CONTENT.items() if name != "beta"} | _SMALLER_IMAGES
# With this λ, a rotation of the hand by a small angle θ costs about as much in the viewpoint as in the pose: 2 λ θ²,
# compared with θ² times the sum over the joints of their squared distances from the axis.
_POSE_ON_RHD = (
    _SMALL_IMAGES
    | _TWICE_THE_RATE
    | _because(
        "so few steps at 0.01 leave the factors unlearnt; a rotation now costs as much in the viewpoint as in the pose",
        lambdas={"pose": 1.0, "cpose": 3.0, "viewpoint": 20.0},
    )
)  # at a β below the paper's, parts leak there (chapter 09)
_KEYPOINTS = (
    _because(
        "a detector's keypoints have errors of this size, or are rotated",
        augmentation=Augmentation(180.0, zoom=0.12, shift=0.05, noise=0.05),
    )
    | _because("a small network on 42 numbers allows larger batches", batch=256)
    | _because("keypoints contain less than poses; one decoder for both is worse", embedding_decoders=("pose",))
    | _because(
        "so few steps at 0.01 leave the factors unlearnt",
        lambdas=dict.fromkeys(("pose", "cpose", "viewpoint", "keypoints"), 1.0),
    )
    | _because("so few steps at the paper's β leave the latent close to the prior", beta=0.002)
    | _TWICE_THE_RATE
)
_POSE = _POSE_ON_RHD | _because("so few steps at the paper's β leave the latent close to the prior", beta=0.002)
_SUPERVISION = (
    _POSE_ON_RHD
    | _SMALLER_IMAGES
    | _because("small images leave time for larger batches", batch=64)
    | _because(
        "small rotations only, so that the runs are limited by the number of labels",
        augmentation=Augmentation(rotation=30.0, colour=0.25, background=0.3),
    )
    | _two_steps(800, 700)
)
# The viewpoint then has the same weight in the two streams as in the dVAE.
_TWO_STREAMS = _because(
    "a rotation then costs as much in the viewpoint as in the pose", lambdas={"cpose": 1.0, "viewpoint": 20.0}
)
_AS_MANY_IMAGES = "not given; the same number of images for all compared methods"

STUDY: dict[str, Changes] = {
    "vae-pose": _RATE
    | _because("a small network on 63 numbers allows larger batches at a higher rate", lr=5e-3, batch=64)
    | _because("models the poses of its data set, not all their rotations", augmentation=Augmentation(rotation=20.0))
    | _steps(8000),
    "cross-modal": _CROSS_MODAL | _HAND | _steps(1600, _AS_MANY_IMAGES),
    "steady-joint": _STEADY | _steps(1400),
    "steady-alternating": _STEADY | _steps(1400),
    "steady-passes": _STEADY | _steps(3 * 1400),
    "cross-modal-depth": _CROSS_MODAL | _steps(600),
    "dvae-image": _LABELLED_CONTENT | _two_steps(1000, 300),
    "dvae-image-place": _LABELLED_PLACE | _two_steps(1000, 300),
    "dvae-image-joint": _LABELLED_CONTENT | _steps(700, "in the time of both steps of dvae-image"),
    "dvae-image-8": _LABELLED_CONTENT | _SMALLER_IMAGES | _two_steps(600, 400),
    "dvae-zu": _UNLABELLED_CONTENT | _two_steps(850, 300),
    "dvae-zu-without-loop": _UNLABELLED_CONTENT | _two_steps(850, 300),
    **{e.name: _ABLATION | _steps(900) for e in ABLATION},
    "dvae-pose": _POSE | _two_steps(4000, 1600, _AS_MANY_IMAGES),
    "two-stream": _SMALL_IMAGES | _RATE | _TWO_STREAMS | _steps(1600, _AS_MANY_IMAGES),
    "resnet": _SMALL_IMAGES | _RATE | _steps(1600, _AS_MANY_IMAGES),
    "estimator": _SMALL_IMAGES | _RATE | _steps(1600),
    "dvae-pose-depth": _POSE | _two_steps(4000, 700),
    "dvae-pose-rhd": _POSE_ON_RHD | _two_steps(4000, 1300, _AS_MANY_IMAGES),
    "two-stream-rhd": _SMALL_IMAGES | _RATE | _TWO_STREAMS | _steps(1300, _AS_MANY_IMAGES),
    **{
        f"{name}-rhd": _SMALL_IMAGES | _RATE | _steps(1300, _AS_MANY_IMAGES)
        for name in ("resnet", "only-cpose", "only-viewpoint", "cross-modal")
    },
    **{e.name: _SUPERVISION for e in SUPERVISION},
}
# The values selected by the search (`search`; table in chapter 06), checked by a test. The ablation varies β itself.
_OF_IMAGES = {"lr": 2e-3, "beta": 2.0}
_CHOSEN: dict[str, dict[str, Any]] = {
    "dvae-pose": {"lr": 4e-3, "beta": 2e-3},
    "cross-modal": {"lr": 2e-3, "beta": 4e-3},
    "two-stream": {"lr": 2e-3, "rotation": "axis-angle"},
    "resnet": {"lr": 1e-3},
    "estimator": {"lr": 1e-3},
    "dvae-pose-rhd": {"lr": 2e-3, "beta": 1e-2},
    "cross-modal-rhd": {"lr": 1e-3, "beta": 4e-3},
    "two-stream-rhd": {"lr": 1e-3, "rotation": "matrix"},
    "resnet-rhd": {"lr": 1e-3},
    "only-cpose-rhd": {"lr": 1e-3},
    "only-viewpoint-rhd": {"lr": 1e-3, "rotation": "matrix"},
    **dict.fromkeys(("dvae-image", "dvae-image-place", "dvae-image-joint", "dvae-image-8"), _OF_IMAGES),
    **dict.fromkeys(("dvae-zu", "dvae-zu-without-loop"), _OF_IMAGES),
    **dict.fromkeys(("steady-joint", "steady-alternating", "steady-passes"), {"lr": 1e-3}),
    **{e.name: {"mixture": "halves", "embedding_decoders": ()} for e in SUPERVISION if e.weak is not None},
}
STUDY |= {
    name: STUDY[name] | _because("chosen by the search, on validation samples", **values)
    for name, values in _CHOSEN.items()
}
# The runs that the book trains on the reader's machine, in ten minutes on two cores; all others are from the study.
BOOK = ("vae-pose", "cross-modal", "dvae-image", "dvae-image-place", "dvae-zu", "dvae-pose", "dvae-pose-rhd")
LAPTOP: dict[str, Changes] = STUDY | {
    name: STUDY[name] | changes
    for name, changes in {
        "cross-modal": _steps(600),
        "dvae-image": _two_steps(600, 120),
        "dvae-image-place": _two_steps(700, 120),
        "dvae-zu": _two_steps(550, 120),
        "dvae-pose": _two_steps(4000, 600),
        "dvae-pose-rhd": _two_steps(4000, 650),
    }.items()
}
ON_PHOTOGRAPHS: dict[str, Changes] = {
    **{name: _CROSS_MODAL | _steps(1200) for name in ("cross-modal", "cross-modal-plain", "cross-modal-mixed")},
    "dvae-zu": _UNLABELLED_CONTENT | _two_steps(3000, 400),
    **{
        name: _POSE | _two_steps(4000, 1200)
        for name in ("dvae-pose", "dvae-pose-weak", "dvae-pose-images", "dvae-pose-rendered")
    },
    **{
        name: _KEYPOINTS | _two_steps(2500, 2500)
        for name in ("dvae-keypoints", "dvae-keypoints-weak", "dvae-keypoints-drawn")
    },
    "dvae-keypoints-unlabelled": _KEYPOINTS
    | _because("like theirs, but divisible among three data sets", batch=255)
    | _two_steps(2500, 2500),
}
ON_GESTURES: dict[str, Changes] = {
    "cross-modal": _CROSS_MODAL | _HAND | _steps(1600),
    "dvae-image": _LABELLED_CONTENT | _two_steps(3000, 300),
    "dvae-image-place": _LABELLED_PLACE | _two_steps(3000, 300),
    "dvae-zu": _UNLABELLED_CONTENT | _two_steps(1900, 300),
    "estimator": _SMALL_IMAGES
    | _RATE
    | _because("few photographs of many people", augmentation=Augmentation(15.0, zoom=0.1, shift=0.05, colour=0.1))
    | _because("the person is hard to learn besides the pose", lambdas={"pose": 1.0, "content": 20.0})
    | _steps(3000),
}
# By the first data set, for experiments with augmentation. The few photographs are also shifted and scaled; rendered
# hands are not, since a pose does not determine the position of its hand, and images decoded from poses would blur.
_AUGMENTATION = {
    "synth-stb": Augmentation(rotation=20.0, colour=0.25, background=0.7),
    "stb": Augmentation(rotation=20.0, colour=0.25),  # has no masks
    "rhd": Augmentation(rotation=45.0, colour=0.25, background=0.3),
    "synth-rhd": Augmentation(rotation=180.0, colour=0.25, background=0.3),
    "realhand": Augmentation(rotation=30.0, zoom=0.12, shift=0.05, colour=0.3),
    "digits": Augmentation(rotation=5.0),
}
_AUGMENTED = "each pose is seen too rarely for all rotations; other backgrounds keep rooms from being memorised"
_SMOKE = _because("seconds, for tests", size=32, steps=4, embedding_steps=2, batch=8, watched=1)
# How much of each data set the smaller profiles use; without an entry, all.
_SAMPLES: dict[str, dict[str, dict]] = {
    "smoke": {
        "synth-stb": {"frames_per_sequence": 16},
        "synth-rhd": {"count": 128},
        "synth-poses": {"count": 512},
        "stb": {"frames_per_sequence": 4, "views": ["BB_left"]},
        "rhd": {"count": 64},
    },
    "laptop": {
        "synth-stb": {"frames_per_sequence": 750},
        "synth-rhd": {"count": 6000},
        "stb": {"frames_per_sequence": 750, "views": ["BB_left"]},
        "rhd": {"count": 12_000},
    },
    "full": {},
}


def _samples(experiment: Experiment, profile: str) -> Changes:
    samples = _SAMPLES["laptop" if profile == "study" else profile]
    options = {name: samples[name] | experiment.options.get(name, {}) for name in experiment.data if name in samples}
    changes = _because("preparing all samples takes long", options=options) if options else {}
    if "stb" in experiment.data and "depth" in experiment.images():
        options = options | {"stb": options.get("stb", {}) | {"views": ["SK_depth"]}}
        changes |= _because("STB's colour cameras have no depth", options=options)
    return changes


def _augmentation(experiment: Experiment) -> Changes:
    if experiment.augmentation == Augmentation():
        return {}
    augmentation = _AUGMENTATION.get(experiment.data[0], _AUGMENTATION["realhand"])
    if "image" not in experiment.images():
        augmentation = replace(augmentation, colour=0.0, background=0.0)
    return _because(_AUGMENTED, augmentation=augmentation)


def for_profile(experiment: Experiment, profile: str, root_joint: Root) -> Experiment:
    """An experiment of the catalogue, whose own values are those of `full`, with the changes of a profile."""
    changes = _samples(experiment, profile)
    if profile == "smoke":
        changes |= {name: change for name, change in _SMOKE.items() if getattr(experiment, name, None) is not None}
        changes |= _because("seconds, for tests", batch=8 + -8 % experiment.shares)
    if profile in ("laptop", "study"):
        rows = LAPTOP if profile == "laptop" else STUDY
        if experiment.data[0] not in PICTURES or experiment.data[0] == "realhand":
            rows = ON_PHOTOGRAPHS
        elif experiment.data[0] == "digits":
            rows = ON_GESTURES
        changes |= _augmentation(experiment) | rows[experiment.name]
    values = {name: value for name, (value, _) in changes.items()}
    reasons = {name: why for name, (value, why) in changes.items() if value != getattr(experiment, name)}
    reasons = experiment.reasons | reasons
    return replace(experiment, root_joint=root_joint, **values, reasons=reasons)
