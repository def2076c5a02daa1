"""All runs of the book as data, at full size, with the papers' hyperparameters; grouped by training data.

Where a value differs from the paper's, `reasons` states why: `dvae show NAME` prints both.
"""

from collections.abc import Sequence
from dataclasses import replace

from dvae_lib.datasets.augmentation import Augmentation
from dvae_lib.experiments.experiment import Experiment
from dvae_lib.experiments.kinds import CrossModalExperiment, DisentangledExperiment, RegressionExperiment

_CROSS_MODAL = CrossModalExperiment(
    "cross-modal",
    "image, keypoints and pose in one latent, jointly",
    lambdas={"image": 2e-5, "keypoints": 1.0, "pose": 1.0},
    beta=0.004,
    encoded=("image", "keypoints", "pose"),
    schedule="joint",
    size=256,
    pretrained="random",
    width=1,
    foreground_precision=1.0,
    reasons={
        "lambdas": "not given; the 196 608 numbers of an image would dominate the 63 of a pose",
        "beta": "not given for this model; chosen with its λ",
    },
)
# For comparisons of poses; an image decoder would take most of the time and is not needed there.
_POSE_BASELINE = replace(_CROSS_MODAL, lambdas={"keypoints": 1.0, "pose": 1.0}, width=None, foreground_precision=None)
_CHAPTERS = [
    CrossModalExperiment("vae-pose", "a plain VAE of hand poses", lambdas={"pose": 1.0}, encoded=("pose",)),
    _CROSS_MODAL,
    replace(
        _CROSS_MODAL,
        name="cross-modal-depth",
        about="depth in place of colour",
        lambdas={"depth": 2e-5, "pose": 1.0},
        encoded=("depth", "pose"),
        foreground_precision=None,
    ),
]
# How steady joint and alternating training are (Sec. 2.1), evaluated every few steps, at a constant learning rate.
_STEADY = replace(_CROSS_MODAL, name="steady-joint", about="the cross-modal VAE, monitored", watched=20)
STEADY = [
    _STEADY,
    replace(
        _STEADY, name="steady-alternating", about="the same, one input per step (Spurr et al.)", schedule="alternating"
    ),
    replace(
        _STEADY,
        name="steady-passes",
        about="the same, with three times the steps: each encoder is trained as often as in joint training",
        schedule="alternating",
        steps=3 * _STEADY.steps,
        reasons=_STEADY.reasons | {"steps": "three times the steps of the others"},
    ),
]
_DVAE_IMAGE = DisentangledExperiment(
    "dvae-image",
    "image from pose and content, each with its own part of z (Algorithm 1)",
    lambdas={"image": 1.0, "pose": 0.01, "tag": 0.01},
    beta=100.0,
    factors={"pose": 32, "tag": 32},
    embeddings=("image",),
    schedule="algorithm 1",
    embedding_steps=50_000,
    size=256,
    pretrained="random",
    width=1,
    foreground_precision=1.0,
    augmentation=Augmentation(),
)
_DVAE_ZU = replace(
    _DVAE_IMAGE,
    name="dvae-zu",
    about="content without labels, as z_u (Algorithm 2)",
    lambdas={"image": 1.0, "pose": 0.01},
    factors={"pose": 32},
    unlabelled=32,
    shared=True,
    schedule="algorithm 2",
    inner=1,
)
_LABELLED_CONTENT = [
    _DVAE_IMAGE,
    replace(
        _DVAE_IMAGE,
        name="dvae-image-place",
        about="the same with the crop's place as a third labelled factor",
        lambdas=_DVAE_IMAGE.lambdas | {"place": 0.01},
        factors={"pose": 32, "tag": 32, "place": 8},
    ),
    replace(
        _DVAE_IMAGE,
        name="dvae-image-joint",
        about="the same, both steps at once (Eq. 5)",
        schedule="joint",
        embedding_steps=None,
    ),
    replace(
        _DVAE_IMAGE,
        name="dvae-image-8",
        about="the same with d = 8, for the β-VAE score (supplement, Sec. E)",
        factors={"pose": 4, "tag": 4},
        reasons={"factors": "halves of 8, as for the β-VAE score (supplement, Sec. E)"},
    ),
]
# Supplement, Sec. C: d is split in halves. Its text does not state the values; the paper's choices are in the middle.
BETAS, DIMENSIONS = (10, 100, 1000), (8, 64, 256)
_COMPARED = "not given; one of the compared values (supplement, Sec. C)"
ABLATION = [
    replace(
        _DVAE_IMAGE,
        name=f"ablation-{beta}-{d}",
        about=f"image from pose and content with β = {beta}, d = {d}",
        factors={"pose": d // 2, "tag": d // 2},
        embeddings=(),
        embedding_steps=None,
        beta=float(beta),
        reasons=({} if beta == 100 else {"beta": _COMPARED}) | ({} if d == 64 else {"factors": _COMPARED}),
    )
    for beta in BETAS
    for d in DIMENSIONS
]
_UNLABELLED_CONTENT = [
    _DVAE_ZU,
    replace(
        _DVAE_ZU,
        name="dvae-zu-without-loop",
        about="the same without Algorithm 2's inner loop",
        schedule="algorithm 1",
        inner=None,
    ),
]
_DVAE_POSE = DisentangledExperiment(
    "dvae-pose",
    "3DPose from CPose and viewpoint, then predicted from images (Algorithm 1 with Eq. 8)",
    lambdas={"pose": 1.0, "cpose": 0.01, "viewpoint": 0.01},
    beta=0.01,
    factors={"cpose": 32, "viewpoint": 32},
    embeddings=("image", "keypoints"),
    schedule="algorithm 1",
    steps=50_000,
    embedding_steps=150_000,
    size=256,
    pretrained="random",
    reasons={"embedding_steps": "not given; as many images as the regressors see"},
)
_TWO_STREAM = RegressionExperiment(
    "two-stream",
    "CPose and viewpoint regressed from images (Zimmermann & Brox)",
    lambdas={"cpose": 1.0, "viewpoint": 1.0},
    rotation="axis-angle",
    size=256,
    pretrained="random",
)
_POSE = [
    _DVAE_POSE,
    _TWO_STREAM,
    replace(_TWO_STREAM, name="resnet", about="3DPose regressed from images", lambdas={"pose": 1.0}, rotation=None),
]
_ONE_STREAM = [
    replace(
        _TWO_STREAM,
        name="only-cpose",
        about="only CPose regressed from images",
        lambdas={"cpose": 1.0},
        rotation=None,
    ),
    replace(
        _TWO_STREAM,
        name="only-viewpoint",
        about="only the viewpoint regressed from images",
        lambdas={"viewpoint": 1.0},
        rotation="matrix",
    ),
]
# Evaluates images generated by other models: it is trained on the same rooms, but on other poses (another motion).
_ESTIMATOR = replace(
    _TWO_STREAM,
    name="estimator",
    about="3DPose regressed from images of another motion, to evaluate generated images",
    lambdas={"pose": 1.0},
    rotation=None,
    data=("synth-stb",),
    options={"synth-stb": {"motion": 201}},
    split="synthesis",
    reasons={"options": "other poses than those of the generated images"},
)
# Photographs whose person and gesture are known: the tag is another photograph of the same person (Sec. 3.3). The
# estimator also predicts the person.
PHOTOGRAPHED_GESTURES = [
    _CROSS_MODAL,
    *_LABELLED_CONTENT[:2],
    _DVAE_ZU,
    replace(
        _TWO_STREAM,
        name="estimator",
        about="3DPose and person regressed from images, to evaluate generated images",
        lambdas={"pose": 1.0, "content": 1.0},
        rotation=None,
        split="synthesis",
    ),
]
_DEPTH = replace(_DVAE_POSE, name="dvae-pose-depth", about="the same, from depth images", embeddings=("depth",))
# Sec. 4.4, Fig. 9
LABELLED = (5, 10, 25, 50)  # per cent
_ALL_LABELLED = replace(_DVAE_POSE, name="labelled-100", about="all labels")
_WEAK = {"weak": ("viewpoint",), "mixture": "halves"}
SUPERVISION = [
    replace(
        _ALL_LABELLED,
        name=f"{kind}-{percent}",
        about=f"labels of the first {percent} %{about}",
        labelled=percent / 100,
        **others,
    )
    for percent in LABELLED
    for kind, about, others in (
        ("labelled", ", and nothing else", {}),
        ("semi", ", and poses without images", {"unlabelled_poses": True}),
        ("weak", ", and images with viewpoints", _WEAK),
        ("both", ", and poses without images, and images with viewpoints", _WEAK | {"unlabelled_poses": True}),
    )
]
SUPERVISION.append(_ALL_LABELLED)
PHOTOGRAPHS = [
    replace(_CROSS_MODAL, about="photographs, augmented"),
    replace(
        _CROSS_MODAL,
        name="cross-modal-plain",
        about="photographs as they are",
        augmentation=Augmentation(),
        reasons=_CROSS_MODAL.reasons | {"augmentation": "disabled here, to measure its effect"},
    ),
    replace(
        _CROSS_MODAL,
        name="cross-modal-mixed",
        about="photographs and as many rendered hands, augmented",
        data=("realhand", "synth-rhd"),
    ),
    replace(
        _DVAE_ZU,
        about="photographs and rendered hands, everything but the pose without labels",
        data=("realhand", "synth-stb"),
    ),
    *(
        replace(_DVAE_POSE, name=name, about=about, data=("realhand", "synth-rhd"), embeddings=("image",), **others)
        for name, about, others in (
            ("dvae-pose", "rendered hands and photographs, all with labels", {}),
            (
                "dvae-pose-weak",
                "labelled rendered hands, photographs with viewpoints",
                {"labelled": 0.0, "weak": ("viewpoint",)},
            ),
            ("dvae-pose-images", "labelled rendered hands, photographs without labels", {"labelled": 0.0, "weak": ()}),
            ("dvae-pose-rendered", "labelled rendered hands only", {"labelled": 0.0}),
        )
    ),
    # Keypoints transfer from synthetic hands to photographs better than images do.
    *(
        replace(
            _DVAE_POSE,
            name=name,
            about=about,
            lambdas=_DVAE_POSE.lambdas | {"keypoints": 1.0},
            embeddings=("keypoints",),
            size=None,
            pretrained=None,
            **({"data": ("realhand", "synth-poses")} | others),
        )
        for name, about, others in (
            ("dvae-keypoints", "synthetic poses, and those of photographs", {}),
            (
                "dvae-keypoints-weak",
                "synthetic poses, keypoints of photographs with viewpoints",
                {"labelled": 0.0, "weak": ("viewpoint",)},
            ),
            ("dvae-keypoints-drawn", "synthetic poses only", {"labelled": 0.0}),
            (
                "dvae-keypoints-unlabelled",
                "synthetic poses, and keypoints of the digits without their poses",
                {
                    "labelled": 0.0,
                    "data": ("realhand", "synth-poses", "digits"),
                    "without_labels": ("digits",),
                    "batch": 33,
                    "reasons": _DVAE_POSE.reasons | {"batch": "divisible among three data sets"},
                },
            ),
        )
    ),
]


def _on(data: str, experiments: Sequence[Experiment]) -> list[Experiment]:
    return [e if data in e.data else replace(e, data=(data,)) for e in experiments]


EXPERIMENTS: dict[str, list[Experiment]] = {
    "synthetic": [
        *_on("synth-stb", [*_CHAPTERS, *STEADY, *_LABELLED_CONTENT, *_UNLABELLED_CONTENT, *ABLATION, *_POSE, _DEPTH]),
        _ESTIMATOR,
        *_on("synth-rhd", [replace(e, name=f"{e.name}-rhd") for e in (_POSE_BASELINE, *_POSE, *_ONE_STREAM)]),
        *_on("synth-rhd", SUPERVISION),
    ],
    "stb": _on("stb", [*_CHAPTERS, *STEADY, *_LABELLED_CONTENT, *_UNLABELLED_CONTENT, *ABLATION, *_POSE, _DEPTH]),
    "rhd": _on("rhd", [*_CHAPTERS, *STEADY, *_UNLABELLED_CONTENT, *_POSE, _DEPTH, *SUPERVISION]),
    "realhand": _on("realhand", PHOTOGRAPHS),
    "digits": _on("digits", PHOTOGRAPHED_GESTURES),
}


def experiments_on(data: str) -> list[Experiment]:
    """All experiments on some data. On users' own data they are those of chapter 12, with these as the photographs."""
    if data in EXPERIMENTS:
        return EXPERIMENTS[data]
    return [replace(e, data=tuple(data if d == "realhand" else d for d in e.data)) for e in EXPERIMENTS["realhand"]]
