"""How large an experiment is in a profile: “smoke” takes seconds, “laptop” minutes on two cores, “full” a GPU."""

from dataclasses import replace

from dvae_lib.datasets.augmentation import Augmentation
from dvae_lib.experiments.catalogue import ABLATION, PHOTOGRAPHS, SUPERVISION
from dvae_lib.experiments.experiment import Experiment
from dvae_lib.hand import Root

_SUPERVISION, _ABLATION = ([e.name for e in experiments] for experiments in (SUPERVISION, ABLATION))
# Thirteen runs: images are half as large, and turned little, so that where labels are few it is they that limit them.
_LAPTOP_SUPERVISION = {
    "size": 32,
    "batch": 64,
    "augmentation": Augmentation(rotation=30.0, colour=0.25, background=0.3),
}
# Of the only, or the disentangling, step; and of the embedding step.
_LAPTOP_STEPS = {
    "vae-pose": (8000, 0),
    "cross-modal": (1400, 0),
    "cross-modal-alternating": (1400, 0),
    "cross-modal-depth": (600, 0),
    "dvae-image": (1000, 300),
    "dvae-image-joint": (700, 0),  # in the time of both steps of the other
    "dvae-image-8": (600, 400),
    "dvae-zu": (850, 300),
    "dvae-zu-without-loop": (850, 300),
    **dict.fromkeys(_ABLATION, (400, 0)),
    "dvae-pose": (4000, 1600),  # as many images as the two below see
    "two-stream": (1600, 0),
    "resnet": (1600, 0),
    "dvae-pose-depth": (4000, 700),
    "dvae-pose-rhd": (4000, 1300),
    "two-stream-rhd": (1300, 0),
    "resnet-rhd": (1300, 0),
    "cross-modal-rhd": (1300, 0),
    "cross-modal-alternating-rhd": (1300, 0),
    **dict.fromkeys(_SUPERVISION, (800, 450)),
}
_LAPTOP_STEPS_ON_PHOTOGRAPHS = {
    **{e.name: (4000, 1200) if e.factors else (1200, 0) for e in PHOTOGRAPHS},
    "dvae-zu": (3000, 400),
}
# The paper's λ and β ask for less of the pose, or of the factors, and more of the prior than so few steps can give.
_LAPTOP_SYNTHESIS = {"on_hand": 4.0, "lr": 2e-3}
# Turning a hand by a small angle costs a viewpoint of this weight about as much as it costs the pose: 2 λ θ² against
# θ² times the sum over the joints of their squared distances from the axis.
_LAPTOP_POSE = {"weights": {"pose": 1.0, "cpose": 3.0, "viewpoint": 20.0}, "beta": 0.002, "lr": 2e-3}
# Short runs see a pose a few times only: turning it all the way round would ask for more than they can learn. The
# few photographs are moved and zoomed as well; rendered hands are not, since a pose cannot tell where its hand is, and
# the images drawn from poses would blur.
_LAPTOP_AUGMENTATION = {
    "synth-stb": Augmentation(rotation=20.0, colour=0.25, background=0.7),
    "stb": Augmentation(rotation=20.0, colour=0.25),  # has no masks
    "rhd": Augmentation(rotation=45.0, colour=0.25, background=0.3),
    "synth-rhd": Augmentation(rotation=180.0, colour=0.25, background=0.3),
    "realhand": Augmentation(rotation=30.0, zoom=0.12, shift=0.05, colour=0.3),
}
# A small network on 63 numbers takes a higher rate, and is to model the poses of its data set, not any turn of them.
_LAPTOP_OWN = {
    "vae-pose": {"batch": 64, "lr": 5e-3, "augmentation": Augmentation(rotation=20.0)},
    **dict.fromkeys(_SUPERVISION, _LAPTOP_SUPERVISION),
    **{e.name: {"size": 32, "beta": e.beta} for e in ABLATION},  # their β is what is asked about
    "dvae-image-8": {"size": 32},
    "dvae-pose-rhd": {"beta": 0.01},  # the paper's; at less, parts leak (chapter 09)
}
# How much of each data set the smaller profiles use; without an entry, all.
_OPTIONS: dict[str, dict[str, dict]] = {
    "smoke": {
        "synth-stb": {"frames_per_sequence": 16},
        "synth-rhd": {"count": 128},
        "stb": {"frames_per_sequence": 4, "views": ("BB_left",)},
        "rhd": {"count": 64},
    },
    "laptop": {
        "synth-stb": {"frames_per_sequence": 750},
        "synth-rhd": {"count": 6000},
        "stb": {"frames_per_sequence": 750, "views": ("BB_left",)},
        "rhd": {"count": 12_000},
    },
    "full": {},
}


def _options(experiment: Experiment, profile: str) -> dict[str, dict]:
    options = {name: dict(_OPTIONS[profile][name]) for name in experiment.data if name in _OPTIONS[profile]}
    if "stb" in experiment.data and "depth" in experiment.images():
        options["stb"] = options.get("stb", {}) | {"views": ("SK_depth",)}  # its colour cameras have no depth
    return options


def sized(experiment: Experiment, profile: str, root: Root) -> Experiment:
    """What a profile makes of an experiment, whose own values are those of `full`."""
    experiment = replace(experiment, options=_options(experiment, profile), root=root)
    if profile == "full":
        return experiment
    if profile == "smoke":
        return replace(experiment, size=32, steps=4, embedding_steps=2, batch=8)
    first = experiment.data[0]
    steps = (_LAPTOP_STEPS_ON_PHOTOGRAPHS if first == "realhand" else _LAPTOP_STEPS)[experiment.name]
    small = replace(experiment, size=64, steps=steps[0], embedding_steps=steps[1], lr=1e-3, decay=True, width=2)
    if experiment.purpose == "synthesis":
        weights = {"image": 1.0, "pose": 16.0} | ({"tag": 0.1} if "tag" in experiment.weights else {})
        small = replace(small, weights=weights, beta=experiment.beta / 50, **_LAPTOP_SYNTHESIS)
    elif experiment.factors:
        small = replace(small, **_LAPTOP_POSE)
    if experiment.augmentation != Augmentation():
        small = replace(small, augmentation=_LAPTOP_AUGMENTATION[first])
    return replace(small, **_LAPTOP_OWN.get(experiment.name, {}))
