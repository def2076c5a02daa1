"""Runs: the same configuration is the same folder; trained once, loaded ever after; damage is said."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dvae_lib import settings
from dvae_lib.datasets import RECIPES
from dvae_lib.experiments import experiments, find
from dvae_lib.experiments import run as module
from dvae_lib.experiments.run import CONFIG, EVALUATION, Run, load_or_train
from dvae_lib.files import UserError, write_json
from dvae_lib.training.checkpoints import WEIGHTS


@pytest.fixture
def runs_root(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    return tmp_path


def test_every_experiment_exists_in_every_profile():
    for data in settings.DATASETS:
        smoke, laptop, full = (list(experiments(profile, data)) for profile in ("smoke", "laptop", "full"))
        assert smoke == laptop == full and "cross-modal" in smoke


def test_the_full_profile_is_the_papers():
    e = find("cross-modal", "full", "synthetic")
    assert (e.size, e.d, e.batch, e.lr, e.decay) == (256, 64, 32, 1e-4, False)
    assert (e.augmentation.rotation, e.augmentation.flip) == (180.0, True)


def test_only_the_schedule_differs_between_joint_and_alternating():
    for profile in settings.PROFILES:
        joint, alternating = (find(name, profile, "synthetic") for name in ("steady-joint", "steady-alternating"))
        assert replace(alternating, name=joint.name, schedule="joint") == joint


def test_another_configuration_is_another_folder(runs_root):
    e = find("vae-pose", "smoke", "synthetic")
    assert Run(e, "smoke").folder == Run(replace(e), "smoke").folder
    assert Run(e, "smoke").folder != Run(replace(e, beta=2.0), "smoke").folder
    assert Run(e, "smoke").folder.parent == runs_root / "smoke"


def test_another_recipe_of_the_data_is_another_folder(runs_root, monkeypatch):
    run = Run(find("vae-pose", "smoke", "synthetic"), "smoke")
    before = run.folder
    monkeypatch.setitem(RECIPES, "realhand", 99)
    assert run.folder == before
    monkeypatch.setitem(RECIPES, "synth-stb", 99)
    assert run.folder != before


def test_unknown_names_say_what_there_is(monkeypatch):
    with pytest.raises(UserError, match="no experiment “typo”.*cross-modal"):
        find("typo", "smoke", "synthetic")
    monkeypatch.setenv("DVAE_PROFILE", "huge")
    with pytest.raises(UserError, match="DVAE_PROFILE is “huge”.*smoke, laptop, study, full"):
        experiments()


def test_train_once_load_ever_after(runs_root, monkeypatch):
    run = load_or_train("vae-pose")
    assert {CONFIG, EVALUATION, WEIGHTS} <= {path.name for path in run.folder.iterdir()}
    assert json.loads((run.folder / CONFIG).read_text())["name"] == "vae-pose"
    assert run.evaluation["samples"] == len(run.subsets("validation")[0][1])
    assert (run.metrics["step"][0], np.isfinite(run.metrics["loss"]).all()) == (0, True)

    def again(*_, **__):
        raise AssertionError("trained a second time")

    monkeypatch.setattr(module, "train", again)
    weights = load_or_train("vae-pose").load().state_dict()
    other = Run(run.experiment, "smoke").load().state_dict()
    assert all(torch.equal(weights[name], other[name]) for name in weights)


def test_cross_modal_learns_in_a_few_steps(runs_root):
    """End to end on rendered hands: the loss falls, and evaluation is the plain mean of what it says it is."""
    run = Run(replace(find("cross-modal", "smoke", "synthetic"), steps=12, lr=1e-3), "smoke")
    run.train("cpu")
    loss = run.metrics["loss"]
    assert loss[-1] < loss[0]

    model, scores = run.load(), run.evaluation["from"]
    total, joints = 0.0, 0
    for batch in run.batches("validation", 7).in_order():
        with torch.no_grad():
            pose = model.decoders["pose"](model.encoders["image"](batch["image"]).mean)
        distance = ((pose - batch["pose"]) * batch["scale"][:, None, None]).square().sum(-1).sqrt()
        total, joints = total + distance[batch["visible"]].sum().item(), joints + batch["visible"].sum().item()
    # The mean over joints of each joint's mean is the plain mean only if all joints are seen equally often.
    assert scores["image"]["epe"] == pytest.approx(total / joints, rel=0.02)
    assert run.errors["image"]["pose"].nanmean().item() == pytest.approx(total / joints, rel=0.02)
    assert scores["image"]["relative"] == pytest.approx(scores["image"]["epe"] / run.evaluation["mean pose"]["epe"])


def test_a_killed_evaluation_does_not_train_again(runs_root, monkeypatch):
    run = Run(find("vae-pose", "smoke", "synthetic"), "smoke")
    with monkeypatch.context() as patch:
        patch.setattr(module, "evaluate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run.train("cpu")
    assert not run.trained
    monkeypatch.setattr(module, "train", lambda *_, **__: 1 / 0)
    for lost in ((), (module.ERRORS,), (module.EVALUATION,)):  # as in a folder of an earlier version
        for name in lost:
            (run.folder / name).unlink()
        run.train("cpu")
        assert run.trained


def test_damaged_weights_are_named(runs_root):
    run = load_or_train("vae-pose")
    (run.folder / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"weights\.safetensors is damaged.*Delete the folder"):
        run.load()


def test_damaged_evaluation_is_named(runs_root):
    run = load_or_train("vae-pose")
    (run.folder / EVALUATION).write_text("{")
    with pytest.raises(UserError, match=r"evaluation\.json is damaged"):
        _ = run.evaluation


def test_another_value_is_another_run(runs_root):
    e = find("cross-modal", "smoke", "synthetic")
    values = {"beta": 1, "steps": 7, "lambdas": {"image": 2}, "precision": "32-true", "decay": True}
    other = e.with_overrides(**values)
    assert other == replace(e, **values) and type(other.beta) is type(other.lambdas["image"]) is float
    assert Run(other, "smoke").folder != Run(e, "smoke").folder
    assert Run(other, "smoke").folder == Run(e.with_overrides(**values | {"beta": 1.0}), "smoke").folder


def test_a_chapter_asks_for_another_value_by_its_name(runs_root):
    run = load_or_train("vae-pose", beta=1.0, steps=2)
    assert run.trained and run.experiment == find("vae-pose").with_overrides(beta=1.0, steps=2)
    assert run.folder != Run(find("vae-pose"), "smoke").folder


@pytest.mark.parametrize("data", settings.DATASETS)
def test_an_experiment_is_read_back_from_its_configuration(runs_root, data):
    for profile in settings.PROFILES:
        for e in experiments(profile, data).values():
            config = Run(e, profile).config
            write_json(runs_root / CONFIG, config)
            run = Run.open(runs_root)
            assert (run.experiment, run.profile, run.folder) == (e, profile, runs_root)
            assert Run(run.experiment, run.profile).folder == Run(e, profile).folder
            assert list(getattr(run.experiment, "lambdas", {})) == list(getattr(e, "lambdas", {}))  # in which order


def test_a_run_s_folder_is_enough_to_load_it(runs_root):
    run = load_or_train("vae-pose", steps=3)
    weights = run.load().state_dict()
    other = Run.open(run.folder.rename(runs_root / "elsewhere"))
    assert other.trained and not run.trained and other.provenance["profile"] == "smoke"
    assert len(other.metrics["step"]) and other.evaluation["samples"] == len(other.subsets("validation")[0][1])
    assert all(torch.equal(values, weights[name]) for name, values in other.load().state_dict().items())


@pytest.mark.parametrize(
    "damage",
    [
        lambda config: config.pop("version"),
        lambda config: config.update(version=99),
        lambda config: config.update(kind="diffusion model"),
        lambda config: config.update(weights={"pose": 1.0}),
        lambda config: config.update(steps=0),
    ],
)
def test_a_configuration_of_another_version_is_refused(runs_root, damage):
    config = json.loads(json.dumps(Run(find("vae-pose", "smoke", "synthetic"), "smoke").config))
    damage(config)
    write_json(runs_root / CONFIG, config)
    with pytest.raises(UserError, match=r"config\.json is of another version of dvae_lib.*train the run again"):
        Run.open(runs_root)


def test_a_folder_that_is_no_run_is_refused(runs_root):
    with pytest.raises(UserError, match=r"config\.json does not exist"):
        Run.open(runs_root)
    write_json(runs_root / CONFIG, [])
    with pytest.raises(UserError, match="or not of a run"):
        Run.open(runs_root)


def test_no_sample_with_labels_is_said(runs_root):
    e = find("labelled-5", "smoke", "synthetic").with_overrides(labelled=0.001)
    with pytest.raises(UserError, match="none has labels"):
        Run(e, "smoke").training_batches("disentangling")
