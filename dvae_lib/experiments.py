"""Every run of the book as data, in three profiles; `runs.load_or_train(name)` is what chapters call."""

from dataclasses import dataclass, field, replace

from dvae_lib import settings
from dvae_lib.datasets.batches import Augmentation
from dvae_lib.files import UserError
from dvae_lib.hand import Root
from dvae_lib.training import Stage, algorithm_1, algorithm_2, both_at_once, cross_modal, regression


@dataclass(frozen=True)
class Experiment:
    """One run: what is learnt, from what, and for how long. The defaults are the papers' where they say."""

    name: str
    about: str  # one line for `dvae list`
    weights: dict[str, float]  # all that is decoded, each with its λ
    encoded: tuple[str, ...] = ()  # of a cross-modal VAE: what has an encoder
    factors: dict[str, int] = field(default_factory=dict)  # of a dVAE: dimensions of each factor's part of z
    unlabelled: int = 0  # dimensions of z_u, encoded from the image
    embeddings: tuple[str, ...] = ()  # of a dVAE: what is encoded to the whole z afterwards
    shared: bool = False  # decoders of image and pose with shared layers (supplement, Table 3)
    schedule: str = "joint"  # a cross-modal VAE's, or "alternating"; of a dVAE "algorithm 1", "algorithm 2" or
    # "joint"; or "regression"
    data: tuple[str, ...] = ("synth-stb",)  # a batch takes equal shares; the run is tested on the first
    labelled: float = 1.0  # share of the first data set's training samples that have labels, from the first on
    unlabelled_poses: bool = False  # semi-supervised: the others' poses are learnt from too, but not their images
    weak: tuple[str, ...] | None = None  # weakly supervised: labels of the others' images; None: these are left out
    options: dict[str, dict] = field(default_factory=dict)  # of each data set
    root: Root = "palm"  # what poses are relative to: not said in the paper, and the protocol's that it follows
    size: int = 256  # pixels of the crop (supplement, Sec. B)
    d: int = 64  # dimensions of z (Sec. 4.1); of a dVAE the parts add up to it
    beta: float = 0.01  # Sec. 4.1, for pose; like the λ of poses given for 256 pixels and rescaled to `size`
    width: int = 1  # kernels of the image decoder, times the supplement's
    resnet: str = "random"  # start of ResNet-18, or "imagenet"
    steps: int = 150_000  # of a dVAE T1; not given in the paper
    inner: int = 1  # T2 of Algorithm 2
    embedding_steps: int = 50_000  # T2 of Algorithm 1, T3 of Algorithm 2
    on_hand: float = 1.0  # precision of the image's likelihood on the hand, as a multiple of that elsewhere
    batch: int = 32  # Sec. 4.1
    lr: float = 1e-4  # Sec. 4.1
    decay: bool = False  # of the learning rate, to zero
    precision: str = "bf16-mixed"
    augmentation: Augmentation = Augmentation(rotation=180.0, flip=True)  # Sec. 4.4
    seed: int = 0

    def images(self, stage: str | None = None) -> list[str]:
        """What batches have to load in a stage; of none, in any. Embeddings are left alone in the disentangling."""
        embeddings = () if stage == "disentangling" else self.embeddings
        encoded = ("image",) if self.schedule == "regression" else self.encoded
        names = [name for name in (*self.weights, *encoded, *embeddings) if name in ("image", "depth", "tag")]
        return [*dict.fromkeys(names), *(["hand"] if self.on_hand != 1 else [])]

    @property
    def purpose(self) -> str:
        """Which of the splits: a tag image can only name a background that was learnt."""
        return "synthesis" if self.factors and "image" in self.weights else "pose"

    @property
    def stages(self) -> list[Stage]:
        if self.schedule == "regression":
            return regression(self.steps)
        if not self.factors:
            return cross_modal(self.schedule, self.encoded, self.steps)
        if self.schedule == "algorithm 1":
            return algorithm_1(self.steps, self.embedding_steps)
        if self.schedule == "algorithm 2":
            return algorithm_2(self.steps, self.inner, self.embedding_steps)
        return both_at_once(self.steps)


_CROSS_MODAL = Experiment(
    "cross-modal",
    "image, keypoints and pose in one latent, jointly",
    weights={"image": 2e-5, "keypoints": 1.0, "pose": 1.0},
    beta=0.004,
    encoded=("image", "keypoints", "pose"),
)
_CROSS_MODALS = [
    _CROSS_MODAL,
    replace(
        _CROSS_MODAL,
        name="cross-modal-alternating",
        about="the same, one input a step (Spurr et al.)",
        schedule="alternating",
    ),
]
# For comparisons of poses; an image decoder would take most of the time, and is asked for nothing there.
_POSE_BASELINES = [replace(e, weights={"keypoints": 1.0, "pose": 1.0}) for e in _CROSS_MODALS]
_CHAPTERS = [
    Experiment("vae-pose", "a plain VAE of hand poses", weights={"pose": 1.0}, encoded=("pose",)),
    *_CROSS_MODALS,
    replace(
        _CROSS_MODAL,
        name="cross-modal-depth",
        about="depth in place of colour",
        weights={"depth": 2e-5, "pose": 1.0},
        encoded=("depth", "pose"),
    ),
]
_DVAE_IMAGE = Experiment(
    "dvae-image",
    "image from pose and content, each its own part of z (Algorithm 1)",
    weights={"image": 1.0, "pose": 0.01, "tag": 0.01},
    factors={"pose": 32, "tag": 32},
    embeddings=("image",),
    schedule="algorithm 1",
    beta=100.0,
    augmentation=Augmentation(),
)
_DVAE_ZU = replace(
    _DVAE_IMAGE,
    name="dvae-zu",
    about="content without labels, as z_u (Algorithm 2)",
    weights={"image": 1.0, "pose": 0.01},
    factors={"pose": 32},
    unlabelled=32,
    shared=True,
    schedule="algorithm 2",
)
_LABELLED_CONTENT = [
    _DVAE_IMAGE,
    replace(_DVAE_IMAGE, name="dvae-image-joint", about="the same, both steps at once (Eq. 5)", schedule="joint"),
]
_UNLABELLED_CONTENT = [
    _DVAE_ZU,
    replace(
        _DVAE_ZU,
        name="dvae-zu-without-loop",
        about="the same without Algorithm 2's inner loop",
        schedule="algorithm 1",
    ),
]
_DVAE_POSE = Experiment(
    "dvae-pose",
    "3DPose from CPose and viewpoint, then read from images (Algorithm 1 with Eq. 8)",
    weights={"pose": 1.0, "cpose": 0.01, "viewpoint": 0.01},
    factors={"cpose": 32, "viewpoint": 32},
    embeddings=("image", "keypoints"),
    schedule="algorithm 1",
    steps=50_000,
    embedding_steps=150_000,  # images, as many as the baselines see
)
_TWO_STREAM = Experiment(
    "two-stream",
    "CPose and viewpoint regressed from images (Zimmermann & Brox)",
    weights={"cpose": 1.0, "viewpoint": 1.0},
    schedule="regression",
)
_POSE = [
    _DVAE_POSE,
    _TWO_STREAM,
    replace(_TWO_STREAM, name="resnet", about="3DPose regressed from images", weights={"pose": 1.0}),
]
_DEPTH = replace(_DVAE_POSE, name="dvae-pose-depth", about="the same, read from depth images", embeddings=("depth",))
# Sec. 4.4, Fig. 9
LABELLED = (5, 10, 25, 50)  # per cent
_ALL_LABELLED = replace(_DVAE_POSE, name="labelled-100", about="all labels", embeddings=("image",))
_SUPERVISION = [
    replace(
        _ALL_LABELLED,
        name=f"{kind}-{percent}",
        about=f"labels of the first {percent} %{about}",
        labelled=percent / 100,
        **options,
    )
    for percent in LABELLED
    for kind, about, options in (
        ("labelled", ", and nothing else", {}),
        ("semi", ", and poses without images", {"unlabelled_poses": True}),
        ("weak", ", and images with viewpoints", {"weak": ("viewpoint",)}),
    )
]
_SUPERVISION.append(_ALL_LABELLED)
_PHOTOGRAPHS = [
    replace(_CROSS_MODAL, about="photographs, augmented"),
    replace(
        _CROSS_MODAL,
        name="cross-modal-plain",
        about="photographs as they are",
        augmentation=Augmentation(),
    ),
    replace(
        _CROSS_MODAL,
        name="cross-modal-mixed",
        about="photographs and as many rendered hands, augmented",
        data=("realhand", "synth-rhd"),
    ),
    replace(
        _DVAE_ZU,
        about="photographs and rendered hands, what is not pose without labels",
        data=("realhand", "synth-stb"),
    ),
    *(
        replace(_DVAE_POSE, name=name, about=about, data=("realhand", "synth-rhd"), embeddings=("image",), **options)
        for name, about, options in (
            ("dvae-pose", "rendered hands and photographs, all with labels", {}),
            (
                "dvae-pose-weak",
                "labelled rendered hands, photographs with viewpoints",
                {"labelled": 0.0, "weak": ("viewpoint",)},
            ),
            ("dvae-pose-images", "labelled rendered hands, photographs without labels", {"labelled": 0.0, "weak": ()}),
            ("dvae-pose-rendered", "labelled rendered hands, and no photograph", {"labelled": 0.0}),
        )
    ),
]


def _on(data: str, experiments: list[Experiment]) -> list[Experiment]:
    return [e if data in e.data else replace(e, data=(data,)) for e in experiments]


_EXPERIMENTS: dict[str, list[Experiment]] = {
    "synthetic": [
        *_on("synth-stb", [*_CHAPTERS, *_LABELLED_CONTENT, *_UNLABELLED_CONTENT, *_POSE, _DEPTH]),
        *_on("synth-rhd", [replace(e, name=f"{e.name}-rhd") for e in (*_POSE_BASELINES, *_POSE)]),
        *_on("synth-rhd", _SUPERVISION),
    ],
    "stb": _on("stb", [*_CHAPTERS, *_LABELLED_CONTENT, *_UNLABELLED_CONTENT, *_POSE, _DEPTH]),
    "rhd": _on("rhd", [*_CHAPTERS, *_UNLABELLED_CONTENT, *_POSE, _DEPTH, *_SUPERVISION]),
    "realhand": _on("realhand", _PHOTOGRAPHS),
}

# Of the only, or the disentangling, step; and of the embedding step.
_LAPTOP_STEPS = {
    "vae-pose": (8000, 0),
    "cross-modal": (2000, 0),
    "cross-modal-alternating": (2000, 0),
    "cross-modal-rhd": (2500, 0),
    "cross-modal-alternating-rhd": (2500, 0),
    "cross-modal-depth": (800, 0),
    "dvae-image": (1500, 400),
    "dvae-image-joint": (1100, 0),  # in the time of both steps of the other
    "dvae-zu": (1200, 400),
    "dvae-zu-without-loop": (1200, 400),
    "dvae-pose": (4000, 2500),  # as many images as the two below see
    "dvae-pose-depth": (4000, 1000),
    "two-stream": (2500, 0),
    "resnet": (2500, 0),
    **{e.name: (1500, 500) for e in _SUPERVISION},
}
_LAPTOP_STEPS = {f"{name}-rhd": steps for name, steps in _LAPTOP_STEPS.items()} | _LAPTOP_STEPS
_LAPTOP_STEPS_ON_PHOTOGRAPHS = {
    **{e.name: (4000, 1200) if e.factors else (1200, 0) for e in _PHOTOGRAPHS},
    "dvae-zu": (3000, 400),
}
# The paper's λ and β ask for less of the pose, or of the factors, and more of the prior than so few steps can give.
_LAPTOP_SYNTHESIS = {"beta": 2.0, "on_hand": 4.0, "lr": 2e-3}
_LAPTOP_POSE = {"weights": {"pose": 1.0, "cpose": 1.0, "viewpoint": 1.0}, "beta": 0.002, "lr": 2e-3}
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
_LAPTOP_OWN = {"vae-pose": {"batch": 64, "lr": 5e-3, "augmentation": Augmentation(rotation=20.0)}}
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


def _sized(experiment: Experiment, profile: str, root: Root) -> Experiment:
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
        return replace(small, weights=weights, **_LAPTOP_SYNTHESIS)
    if experiment.augmentation != Augmentation():
        small = replace(small, augmentation=_LAPTOP_AUGMENTATION[first])
    if experiment.factors:
        return replace(small, **_LAPTOP_POSE)
    return replace(small, **_LAPTOP_OWN.get(experiment.name, {}))


def experiments(profile: str | None = None, data: str | None = None, root: Root | None = None) -> dict[str, Experiment]:
    """All experiments of a profile on some data, by name; what is not given is as `settings` says."""
    profile, data, root = profile or settings.profile(), data or settings.data(), root or settings.root_joint()
    return {e.name: _sized(e, profile, root) for e in _EXPERIMENTS[data]}


def find(name: str, profile: str | None = None, data: str | None = None, root: Root | None = None) -> Experiment:
    """Raises UserError, naming what there is, if there is no such experiment."""
    known = experiments(profile, data, root)
    if name not in known:
        raise UserError(f"There is no experiment “{name}” on {data or settings.data()} data: {', '.join(known)}.")
    return known[name]
