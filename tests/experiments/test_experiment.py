"""What an experiment may be: no value is out of bounds or without effect, and what is not the paper's has a reason."""

import functools
import itertools
from dataclasses import fields, replace

import pytest
import torch

from dvae_lib import datasets, settings
from dvae_lib.datasets import PICTURES, digits, open_dataset, realhand, rhd, stb
from dvae_lib.datasets.augmentation import Augmentation
from dvae_lib.datasets.rendered import SyntheticSource
from dvae_lib.experiments import CrossModalExperiment, DisentangledExperiment, RegressionExperiment, experiments, find
from dvae_lib.experiments.catalogue import PHOTOGRAPHS
from dvae_lib.experiments.experiment import IMAGES, VECTORS, read_assignments
from dvae_lib.experiments.kinds import from_config
from dvae_lib.experiments.run import Run
from dvae_lib.files import UserError
from dvae_lib.models import modality, networks
from dvae_lib.training import learning_rate
from dvae_lib.training.distributed import make_fabric

EVERY = {(profile, data): experiments(profile, data) for profile in settings.PROFILES for data in settings.DATASETS}


# Whatever is set has an effect, or is refused.

# Of every field legal values: some are bound to be others than those that an experiment has.
LEGAL = {
    "data": [("synth-stb",), ("synth-rhd",), ("synth-rhd", "synth-stb")],
    "options": [{"synth-stb": {"frames_per_sequence": 8}}, {"synth-rhd": {"count": 100}}],
    "root_joint": ["palm", "wrist"],
    "size": [16, 64, None],
    "pretrained": ["random", "imagenet", None],
    "steps": [5],
    "batch": [4],
    "lr": [0.5],
    "decay": [False, True],
    "precision": ["64-true"],  # the others are one where the device has no arithmetic for them
    "seed": [7],
    "lambdas": [{"pose": 3.0}, {"image": 2.0, "pose": 0.5}, {"image": 1.0, "pose": 0.01, "tag": 0.5}],
    "beta": [0.7],
    "width": [3, None],
    "encoded": [("pose",), ("image",), ("pose", "keypoints"), ("keypoints", "image", "pose")],
    "schedule": ["joint", "alternating", "algorithm 1", "algorithm 2", None],
    "d": [5],
    "factors": [{"pose": 3}, {"pose": 3, "tag": 2}, {"cpose": 4, "viewpoint": 1}],
    "unlabelled": [0, 3],
    "embeddings": [(), ("image",), ("depth",), ("keypoints", "depth")],
    "shared": [False, True],
    "inner": [3, None],
    "embedding_steps": [7, None],
    "foreground_precision": [1.0, 9.0, None],
    "labelled": [0.0, 0.4, 1.0],
    "unlabelled_poses": [False, True],
    "weak": [None, (), ("viewpoint",), ("pose",)],
    "mixture": ["halves", "natural", None],
    "embedding_decoders": [(), ("viewpoint",), ("pose",)],
    "without_labels": [(), ("synth-stb",)],
    "watched": [None, 3],
    "split": ["pose", "synthesis"],
    "rotation": ["axis-angle", "matrix", None],
}
MOST = {"rotation": 90.0, "flip": True, "zoom": 0.5, "shift": 0.3, "colour": 0.6, "background": 1.0, "noise": 0.2}


def others(e):
    """For each field of an experiment other values, with words for them."""
    for f in fields(e):
        for value in LEGAL.get(f.name, []):
            halves_are_natural = f.name == "mixture" and e.mixture and value and e.labelled == 0.5
            if value != getattr(e, f.name) and not halves_are_natural:
                yield f"{f.name} = {value}", {f.name: value}
    for name, most in MOST.items():
        value = most
        if getattr(e.augmentation, name) == most:
            value = False if name == "flip" else most / 2
        yield f"augmentation.{name} = {value}", {"augmentation": replace(e.augmentation, **{name: value})}


class Encoder(torch.nn.Module):
    """As `networks.ImageEncoder`, in microseconds; nothing is downloaded for it."""

    def __init__(self, d, channels=3, pretrained="random"):
        super().__init__()
        self.head = networks.GaussianHead(channels * 16, d)
        if pretrained == "imagenet":
            torch.nn.init.zeros_(self.head.linear.bias)

    def forward(self, image):
        return self.head(torch.nn.functional.adaptive_avg_pool2d(image, 4).flatten(1))


OPEN = functools.lru_cache(open_dataset)


@functools.lru_cache
def dtype(precision):
    with make_fabric("cpu", precision=precision).init_module():
        return torch.get_default_dtype()


def traces(e):
    """All that training by an experiment is made of, the quickest to make first."""
    stages = e.stages
    loops = [loop for stage in stages for loop in (stage, stage.inner) if loop]
    yield [(loop.name, loop.steps, *(str(loop.forward_arg(step)) for step in range(3))) for loop in loops]
    yield [learning_rate(step, stage.steps, e.lr, e.decay) for stage in stages for step in range(stage.steps)]
    yield dtype(e.precision)
    yield getattr(e, "watched", None)
    yield e.purpose, [(name, e.crop, e.options.get(name)) for name in e.data]  # which samples
    run, model = Run(e, "smoke"), e.build().eval()
    yield model.state_dict()
    for stage in stages:
        if stage.steps:
            batch = run.training_batches(stage.name).batch(0)
            yield batch
            torch.manual_seed(0)
            yield model(batch, stage.forward_arg(0))[0]


def same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    return a.shape == b.shape and torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def kept(e):
    """The traces of an experiment by their number, each made once, when it is first asked for."""
    made, source = [], traces(e)

    def trace(i):
        while len(made) <= i:
            made.append(next(source, None))
        return made[i]

    return trace


RENDERED = [
    replace(find(e.name, "smoke", "realhand"), data=("synth-rhd", "synth-stb"), options={})
    for e in PHOTOGRAPHS
    if len(e.data) < 3
]
RENDERED = [
    replace(e, options={"synth-rhd": {"count": 128}, "synth-stb": {"frames_per_sequence": 16}}) for e in RENDERED
]


@pytest.mark.parametrize(
    "e", [*EVERY["smoke", "synthetic"].values(), *RENDERED], ids=lambda e: f"{e.name}-{len(e.data)}"
)
def test_every_value_has_an_effect_or_is_refused(monkeypatch, e):
    monkeypatch.setattr(networks, "ImageEncoder", Encoder)
    monkeypatch.setattr(datasets, "open_dataset", OPEN)
    own, changed, refused = kept(e), set(), set()
    for words, values in others(e):
        name = words.split(" = ")[0]
        try:
            other = from_config(e.config() | values)
            assert not all(same(own(i), trace) for i, trace in enumerate(traces(other))), f"{words} has no effect"
            changed.add(name)
        except UserError as error:
            assert str(error).endswith(".") and len(str(error)) > 40
            refused.add(name)
    assert {"steps", "batch", "lr", "decay", "precision", "seed", "root_joint", "augmentation.rotation"} <= changed
    inapplicable = {f.name for f in fields(e) if getattr(e, f.name) is None} - {"weak", "watched"}
    assert inapplicable <= refused and not inapplicable & changed


def test_the_values_that_are_tried_are_those_of_every_field():
    kinds = (CrossModalExperiment, DisentangledExperiment, RegressionExperiment)
    names = {f.name for kind in kinds for f in fields(kind)}
    assert names - {"name", "about", "reasons", "augmentation"} == set(LEGAL)
    assert {f.name for f in fields(Augmentation)} == set(MOST)


# Values out of bounds.

POSE = {"kind": "cross-modal VAE", "name": "mine", "encoded": ("pose",), "lambdas": {"pose": 1.0}}
IMAGE = {**POSE, "lambdas": {"image": 1.0}, "encoded": ("image",), "size": 32, "width": 1, "pretrained": "random"}
IMAGE["foreground_precision"] = 1.0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"steps": 0}, "“steps” is 0: it must be a whole number of at least 1."),
        ({"steps": True}, "“steps” is true"),
        ({"steps": 10.0}, "“steps” is 10.0"),
        ({"batch": 1}, "“batch” is 1: it must be a whole number of at least 2."),
        ({"lr": 0}, "“lr” is 0: it must be a number above 0."),
        ({"lr": float("nan")}, "“lr” is NaN"),
        ({"beta": float("inf")}, "“beta” is Infinity"),
        ({"beta": -1.0}, "“beta” is -1.0: it must be a number of at least 0."),
        ({"d": 0}, "“d” is 0"),
        ({"seed": -1}, "“seed” is -1"),
        ({"precision": "7-bit"}, "“precision” is \"7-bit\": it must be one of 32-true, 64-true, "),
        ({"root_joint": "thumb"}, "“root_joint” is \"thumb\": it must be one of palm, wrist."),
        ({"data": ("a moon",)}, "“data” is [\"a moon\"]: it must be a list without repetitions, each a word of"),
        ({"data": ()}, "at least one"),
        ({"data": ("stb", "stb")}, "a list without repetitions"),
        ({"data": "stb"}, "“data” is \"stb\": it must be a list"),
        ({"data": ("stb", "rhd"), "batch": 5}, "“batch” is 5: it must be a multiple of 2"),
        ({"options": {"rhd": {"count": 3}}}, "“options” are for rhd, which is not among the data: synth-stb."),
        ({"lambdas": {}}, "“lambdas” is {}: it must be names with values"),
        ({"lambdas": {"smell": 1.0}}, "a name is one of image, "),
        ({"lambdas": {"pose": -1.0}}, "a value a number of at least 0"),
        ({"encoded": ()}, "“encoded” is []"),
        ({"encoded": ("pose", "pose")}, "a list without repetitions"),
        ({"schedule": "joint"}, "“schedule” has no effect, as only one modality is encoded"),
        ({"encoded": ("pose", "keypoints")}, "“schedule” is missing: it must be one of joint, alternating."),
        ({"encoded": ("pose", "keypoints"), "schedule": "altrnating"}, "“schedule” is \"altrnating\""),
        ({"size": 32}, "“size” has no effect, as no image is encoded or decoded: leave it out"),
        ({"augmentation": Augmentation(rotation=400.0)}, "“rotation” of the augmentation must be from 0 to 180"),
        ({"augmentation": {"turn": 3}}, "“augmentation” is {\"turn\": 3}: it must be values of rotation, flip"),
        ({"augmentation": {"rotation": "far"}}, "“augmentation” is {\"rotation\": \"far\"}"),
        ({"augmentation": Augmentation(zoom=0.1)}, "“zoom” of the augmentation has no effect, as no image"),
        ({**IMAGE, "size": 15}, "“size” is 15: it must be a whole number of at least 16"),
        ({**IMAGE, "size": None}, "“size” is missing: it must be a whole number of at least 16."),
        ({**IMAGE, "width": 0}, "“width” is 0"),
        ({**IMAGE, "pretrained": "yes"}, "“pretrained” is \"yes\": it must be one of random, imagenet"),
        ({**IMAGE, "data": ("stb",), "augmentation": Augmentation(background=0.5)}, "stb has no masks of the hands"),
        ({**IMAGE, "data": ("realhand",), "encoded": ("depth",)}, "the data set realhand has no “depth”."),
        ({"name": "a/b"}, "“name” is \"a/b\": it must be a word of letters, digits, - and _."),
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused_with_what_is_allowed(values, said):
    assert from_config(POSE) and from_config(IMAGE)
    with pytest.raises(UserError) as error:
        from_config({**POSE, **values})
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("dvae-image", {"factors": {"cpose": 3}}, "the factor “cpose” has no λ"),
        ("dvae-image", {"schedule": "algorithm 2", "inner": 1}, "Algorithm 2 requires an unlabelled part"),
        ("dvae-image", {"schedule": "joint", "embeddings": (), "embedding_steps": None}, "needs “embeddings”"),
        ("dvae-image", {"embeddings": (), "embedding_steps": 3}, "“embedding_steps” has no effect, as there are no"),
        ("dvae-image", {"labelled": 0.5, "unlabelled_poses": True}, "requires a disentangling step without images"),
        ("dvae-pose", {"unlabelled": 3}, "“unlabelled” is for what an observed image shows"),
        ("dvae-pose", {"shared": True}, "“shared” requires decoders of image and pose: decode both"),
        ("dvae-pose", {"foreground_precision": 2.0}, "“foreground_precision” has no effect, as no colour image"),
        ("dvae-pose", {"weak": ("pose",)}, "set “labelled” below 1"),
        ("dvae-pose", {"weak": ("keypoints",), "labelled": 0.5}, "“keypoints”, which is not a decoded label"),
        ("dvae-pose", {"labelled": 0.0}, "no sample has labels"),
        ("dvae-pose", {"factors": {"cpose": 0, "viewpoint": 3}}, "a value a whole number of at least 1"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(name, values, said):
    with pytest.raises(UserError) as error:
        from_config(find(name, "smoke", "synthetic").config() | values)
    assert said in str(error.value)


def test_a_regressor_has_no_latent():
    for name in ("beta", "encoded", "foreground_precision", "schedule", "width"):
        with pytest.raises(UserError, match=f"“{name}” is not among its settings"):
            find("two-stream", "smoke", "synthetic").with_overrides(**{name: 1})


def test_what_is_overridden_is_said_to_be():
    e = find("dvae-image", "laptop", "synthetic")
    other = e.with_overrides(beta=3.0)
    assert e.reasons["beta"] != other.reasons["beta"] == "set for this run"
    assert {name for name in e.reasons if e.reasons[name] != other.reasons[name]} == {"beta"}


def test_assignments_are_json_or_words():
    asked = ["beta=1", "schedule=joint", 'lambdas={"pose": 2}', "inner=null", "precision=32-true"]
    values = {"beta": 1, "schedule": "joint", "lambdas": {"pose": 2}, "inner": None, "precision": "32-true"}
    assert read_assignments(asked) == values


# What the paper gives.


@pytest.mark.parametrize(("profile", "data"), EVERY)
def test_what_is_not_the_papers_has_a_reason(profile, data):
    for e in EVERY[profile, data].values():
        departed = {name for name, (value, _) in e.paper.items() if getattr(e, name) != value}
        assert departed <= set(e.reasons), e.name
        agreed = {name for name in e.paper if name not in departed}
        assert not agreed & set(e.reasons), e.name  # nor is there a reason for what is
        assert all(10 < len(why) < 120 for why in e.reasons.values())


def test_the_papers_values():
    image, pose = (find(name, "full", "synthetic") for name in ("dvae-image", "dvae-pose"))
    for e in (image, pose):
        assert (e.size, e.d, sorted(e.factors.values()), e.batch, e.lr, e.decay) == (256, 64, [32, 32], 32, 1e-4, False)
        assert e.reasons.keys() <= {"embedding_steps"}
    assert (image.lambdas, image.beta) == ({"image": 1.0, "pose": 0.01, "tag": 0.01}, 100.0)
    assert (pose.lambdas, pose.beta) == ({"pose": 1.0, "cpose": 0.01, "viewpoint": 0.01}, 0.01)
    assert pose.augmentation == Augmentation(rotation=180.0, flip=True)


def test_lambda_and_beta_in_effect_are_the_models():
    """An image of half the side has a quarter of the pixels: so much is left of what stands beside it."""
    for name, share in (("dvae-image", 1 / 64), ("cross-modal", 1 / 64), ("cross-modal-rhd", 1), ("dvae-pose", 1)):
        e = find(name, "smoke", "synthetic")
        assert e.effective_beta == pytest.approx(e.beta * share)
        model = e.build()
        assert (model.beta, model.lambdas) == (pytest.approx(e.effective_beta), pytest.approx(e.effective_lambdas))


def test_every_modality_can_be_built_and_every_data_set_has_the_pictures_it_is_said_to():
    assert all(modality(name, 32).name == name for name in (*IMAGES, *VECTORS))
    sources = {
        "realhand": [realhand.RealHandSource],
        "digits": [digits.DigitsSource],
        "rhd": [rhd.RHDSource],
        "stb": [stb.STBSource, stb.STBSource],
    }
    has = {}
    for name, classes in sources.items():
        files = [object.__new__(source) for source in classes]  # their fields are known without the files
        for source, views in zip(files, (["SK_depth"], ["BB_left"]), strict=False):
            source.views = views
        has[name] = set(itertools.chain.from_iterable(source.fields(32) for source in files))
    for name, count in (
        ("synth-stb", {"frames_per_sequence": 1}),
        ("synth-rhd", {"count": 1}),
        ("synth-poses", {"count": 1}),
    ):
        has[name] = set(SyntheticSource(name, **count).fields(32))
    assert {name: has[name] & {"image", "depth", "mask"} for name in has} == {n: set(p) for n, p in PICTURES.items()}
