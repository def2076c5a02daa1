"""Runs: the same configuration is the same folder; trained once, loaded ever after; damage is said."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dvae_lib import settings
from dvae_lib.experiments import experiments, find, with_seeds
from dvae_lib.experiments import run as module
from dvae_lib.experiments.run import CONFIG, EVALUATION, Run, load_or_train
from dvae_lib.files import UserError
from dvae_lib.training.checkpoints import WEIGHTS


@pytest.fixture
def runs_root(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    return tmp_path


def test_every_experiment_exists_in_every_profile():
    for data in settings.DATASETS:
        smoke, laptop, full = (list(experiments(profile, data)) for profile in ("smoke", "laptop", "full"))
        assert smoke == laptop == [name for name in full if "-seed-" not in name] and "cross-modal" in smoke


def test_the_full_profile_is_the_papers():
    e = find("cross-modal", "full", "synthetic")
    assert (e.size, e.d, e.batch, e.lr, e.decay) == (256, 64, 32, 1e-4, False)
    assert (e.augmentation.rotation, e.augmentation.flip) == (180.0, True)


def test_only_full_repeats_the_ablation_with_other_seeds():
    for profile, seeds in (("full", [0, 1, 2]), ("laptop", [0]), ("smoke", [0])):
        known = experiments(profile, "synthetic")
        found = [known[name] for name in with_seeds("ablation-10-8", known)]
        assert [e.seed for e in found] == seeds
        assert all(replace(e, name="", seed=0) == replace(found[0], name="") for e in found)


def test_only_the_schedule_differs_between_joint_and_alternating():
    for profile in settings.PROFILES:
        joint, alternating = (find(name, profile, "synthetic") for name in ("cross-modal", "cross-modal-alternating"))
        assert replace(alternating, name=joint.name, about=joint.about, schedule="joint") == joint


def test_another_configuration_is_another_folder(runs_root):
    e = find("vae-pose", "smoke", "synthetic")
    assert Run(e, "smoke").folder == Run(replace(e), "smoke").folder
    assert Run(e, "smoke").folder != Run(replace(e, beta=2.0), "smoke").folder
    assert Run(e, "smoke").folder.parent == runs_root / "smoke"


def test_another_recipe_of_the_data_is_another_folder(runs_root, monkeypatch):
    run = Run(find("vae-pose", "smoke", "synthetic"), "smoke")
    before = run.folder
    monkeypatch.setitem(module.RECIPES, "realhand", 99)
    assert run.folder == before
    monkeypatch.setitem(module.RECIPES, "synth-stb", 99)
    assert run.folder != before


def test_unknown_names_say_what_there_is(monkeypatch):
    with pytest.raises(UserError, match="no experiment “typo”.*cross-modal"):
        find("typo", "smoke", "synthetic")
    monkeypatch.setenv("DVAE_PROFILE", "huge")
    with pytest.raises(UserError, match="DVAE_PROFILE is “huge”.*smoke, laptop, full"):
        experiments()


def test_train_once_load_ever_after(runs_root, monkeypatch):
    run = load_or_train("vae-pose")
    assert {CONFIG, EVALUATION, WEIGHTS} <= {path.name for path in run.folder.iterdir()}
    assert json.loads((run.folder / CONFIG).read_text())["name"] == "vae-pose"
    assert run.evaluation["samples"] == len(run.parts("test")[0][1])
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
    for batch in run.batches("test", 7).in_order():
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
    other = e.changed(["beta=1", "steps=7", 'weights={"pose": 2.0}', "precision=32-true", "decay=true"])
    values = {"beta": 1.0, "steps": 7, "weights": {"pose": 2.0}, "precision": "32-true", "decay": True}
    assert other == replace(e, **values) and type(other.beta) is float
    assert Run(other, "smoke").folder != Run(e, "smoke").folder


def test_a_chapter_asks_for_another_value_by_its_name(runs_root):
    run = load_or_train("vae-pose", beta=1.0, steps=2)
    assert run.trained and run.experiment == find("vae-pose").changed(["beta=1.0", "steps=2"])
    assert run.folder != Run(find("vae-pose"), "smoke").folder


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("betta=1", "sets nothing of an experiment"),
        ("purpose=pose", "sets nothing of an experiment"),
        ("name=mine", "sets nothing of an experiment"),
        ("beta", "is of another kind"),
        ("steps=7.5", "is of another kind than the value that it replaces, 4"),
        ("decay=1", "is of another kind"),
        ("lr=true", "is of another kind"),
    ],
)
def test_what_cannot_be_set_is_said(assignment, said):
    with pytest.raises(UserError, match=said):
        find("cross-modal", "smoke", "synthetic").changed([assignment])
