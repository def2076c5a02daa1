"""The study: what is registered before the test is opened, which runs there are, and what is kept of them."""

import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file

from dvae_lib import settings
from dvae_lib.experiments import experiments, study
from dvae_lib.experiments.limits import LIMITS
from dvae_lib.experiments.records import Record
from dvae_lib.files import UserError, read_json, write_json

SMALL = ("estimator", "dvae-image", "dvae-pose", "steady-joint")


def git(folder, *arguments):
    author = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    subprocess.run(["git", "-C", str(folder), *author, *arguments], check=True, capture_output=True)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A study of four experiments in the smoke profile, one seed of each, in a repository of its own."""
    for variable in ("DVAE_RUNS_ROOT", "DVAE_STUDY_ROOT"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("DVAE_DATA", "synthetic")
    monkeypatch.setattr(study, "_PROFILE", "smoke")
    monkeypatch.setattr(study, "experiments", lambda profile: {n: experiments(profile, "synthetic")[n] for n in SMALL})
    monkeypatch.setattr(study, "seeds", lambda experiment: 1)
    monkeypatch.setattr(study, "first_losses", lambda experiment: [0.0])
    study.folder().mkdir(parents=True)
    git(study.folder(), "init")
    return study.folder()


def test_what_was_registered_has_not_changed():
    """The study of this book: neither a setting nor a limit nor a loss is another than before its test was opened."""
    file = settings.study_root() / "synthetic" / "registered.json"
    there, now = read_json(file), study.to_register()
    assert {part: there[part] for part in now} == now
    for name, e in experiments("study", "synthetic").items():
        assert study.first_losses(e) == pytest.approx(there["losses"][name], rel=1e-3), name


def test_seeds_come_one_after_another_the_estimator_first():
    runs = study.runs()
    assert runs[0].experiment.name == "estimator"
    seeds = [run.experiment.seed for run in runs]
    assert seeds == sorted(seeds) and min(seeds) == 1 and max(seeds) == 5
    assert [run.experiment.seed for run in study.runs(2)] == [seed for seed in seeds if seed <= 2]
    planned = study.planned()
    assert planned["dvae-pose"] == planned["cross-modal-rhd"] == planned["weak-10"] == 5
    assert planned["two-stream"] == planned["dvae-image"] == 3 and planned["vae-pose"] == 1
    assert len(runs) == sum(planned.values()) and len({study.path(run) for run in runs}) == len(runs)


def test_the_test_stays_shut_until_settings_and_limits_are_committed(small, monkeypatch):
    with pytest.raises(UserError, match="dvae study --register"):
        next(study.open_test())
    study.register()
    with pytest.raises(UserError, match="is not committed"):
        next(study.open_test())
    git(small, "add", ".")
    git(small, "commit", "-m", "Before the test")
    assert len(study.registered_in()) >= 7
    limit = next(iter(LIMITS))
    monkeypatch.setitem(LIMITS, limit, LIMITS[limit] + 1)
    with pytest.raises(UserError, match=f"the limits of {limit} differ"):
        next(study.open_test())


def test_a_setting_that_differs_shuts_the_test(small, monkeypatch):
    study.register()
    git(small, "add", ".")
    git(small, "commit", "-m", "Before the test")
    known = study.experiments("smoke")
    changed = known | {"dvae-pose": known["dvae-pose"].with_overrides(beta=0.5)}
    monkeypatch.setattr(study, "experiments", lambda profile: changed)
    with pytest.raises(UserError, match="the settings of dvae-pose differ"):
        study.registered_in()


def test_once_the_test_is_open_experiments_can_join_and_nothing_can_change(small, monkeypatch):
    study.register()
    write_json(small / "runs" / "dvae-pose-seed-1.json", {"run": "something"})
    known = study.experiments("smoke")
    more = known | {"dvae-zu": experiments("smoke", "synthetic")["dvae-zu"]}
    monkeypatch.setattr(study, "experiments", lambda profile: more)
    study.register()
    assert "dvae-zu" in read_json(small / "registered.json")["settings"]
    monkeypatch.setattr(
        study, "experiments", lambda profile: more | {"dvae-pose": known["dvae-pose"].with_overrides(lr=1.0)}
    )
    with pytest.raises(UserError, match="The test set has been evaluated.*the settings of dvae-pose cannot change"):
        study.register()


@pytest.mark.slow
def test_a_study_from_end_to_end(small):
    study.register()
    git(small, "add", ".")
    git(small, "commit", "-m", "Before the test")
    assert [run.experiment.name for run in study.open_test(device="cpu", jobs=1)] == list(SMALL)
    assert list(study.open_test(device="cpu", jobs=1)) == [] and "4 of 4 runs are done" in study.progress()

    (pose,) = study.load("dvae-pose")
    units = pose.arrays["unit"]
    assert len(units.unique()) == 40 and len(units) == 320  # the forty rooms of the test, eight samples of each
    assert pose.numbers["registered"] == study.registered_in() and pose.numbers["report"]["samples"] == 320
    mean = pose.arrays["image/cpose"].double().nanmean().item()
    assert mean == pytest.approx(pose.numbers["report"]["from"]["image"]["cpose"], rel=0.02)
    assert pose.by_unit("image/pose").shape == (40,)

    (drawn,), (judge,) = study.load("dvae-image"), study.load("estimator")
    assert drawn.by_unit("pairs/psnr").shape == drawn.by_unit("pairs/walk, content").shape
    assert judge.by_unit("pairs/true image, psnr").min() > judge.by_unit("pairs/mean image, psnr").max()
    assert judge.numbers["fréchet"]["true image"] == pytest.approx(0, abs=1e-6)
    (watched,) = study.load("steady-joint")
    assert torch.isfinite(watched.arrays["curve/image held-out bound"]).all()


def test_a_record_is_as_it_was_saved_and_a_part_of_one_is_none(tmp_path):
    record = Record({"run": "x"}, {"unit": torch.tensor([0, 0, 1]), "image/pose": torch.tensor([1.0, 3.0, torch.nan])})
    record.save(tmp_path / "a")
    again = Record.load(tmp_path / "a")
    assert again.numbers == record.numbers and torch.equal(again.arrays["unit"], record.arrays["unit"])
    assert again.by_unit("image/pose")[0] == 2.0 and again.by_unit("image/pose")[1].isnan()
    (tmp_path / "a.safetensors").unlink()
    with pytest.raises(UserError, match="a.safetensors"):
        Record.load(tmp_path / "a")


def test_a_record_s_pictures_are_small_and_nearly_as_they_were(tmp_path):
    column = torch.linspace(20, 200, 32)
    images = (column[:, None] + 0.5 * column).expand(2, 3, 3, 32, 32).round().byte()
    images[0, 1, 0] = 240
    errors = torch.tensor([1.0, torch.nan]).half()
    Record({"a": 1}, {"unit": torch.arange(2), "image/pose": errors, "sheet/walks": images}).save(tmp_path / "record")
    found = Record.load(tmp_path / "record")
    assert found.numbers == {"a": 1} and found.arrays["sheet/walks"].shape == images.shape
    assert (found.arrays["sheet/walks"].float() - images.float()).abs().mean() < 4
    assert torch.equal(found.arrays["image/pose"].isnan(), errors.isnan())
    assert (tmp_path / "record.safetensors").stat().st_size < images.numel() / 4
    arrays = load_file(tmp_path / "record.safetensors")
    arrays["sheet/walks"] = arrays["sheet/walks"][:20]
    save_file(arrays, tmp_path / "record.safetensors")
    with pytest.raises(UserError, match="is missing or damaged"):
        Record.load(tmp_path / "record")
