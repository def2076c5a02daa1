"""Trained runs packed, and taken in elsewhere from a file, a folder and a server: whole, checked, or not at all."""

import json
import zipfile
from pathlib import Path

import pytest

from dvae_lib.downloads.trained import MANIFEST, fetch_runs, pack_runs
from dvae_lib.experiments import find
from dvae_lib.experiments.run import Run
from dvae_lib.files import UserError


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """Two runs of the smoke profile in one file."""
    folder = tmp_path_factory.mktemp("packed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVAE_RUNS_ROOT", str(folder / "runs"))
        runs = [Run(find(name, "smoke", "synthetic"), "smoke") for name in ("vae-pose", "dvae-pose")]
        for run in runs:
            run.train("cpu", quiet=True)
        pack_runs(runs, folder / "runs.zip")
    return folder / "runs.zip"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path / "runs"))
    return tmp_path / "runs"


def unpacked(pack, folder):
    with zipfile.ZipFile(pack) as archive:
        archive.extractall(folder)
    return folder


def nothing_taken(root):
    return not [path for path in root.rglob("*") if path.is_file()]


def test_runs_from_a_file_are_trained_here_too(pack, elsewhere):
    runs = fetch_runs(str(pack))
    assert {run.experiment.name for run in runs} == {"vae-pose", "dvae-pose"} and all(run.trained for run in runs)
    assert Run(find("dvae-pose", "smoke", "synthetic"), "smoke").trained
    assert not list(elsewhere.glob(".incoming*"))
    stamp = (runs[0].folder / "config.json").stat().st_mtime_ns
    assert fetch_runs(str(pack)) and (runs[0].folder / "config.json").stat().st_mtime_ns == stamp  # stays as it is


def test_runs_from_a_folder_without_what_is_not_of_a_run(pack, elsewhere, tmp_path):
    folder = unpacked(pack, tmp_path / "folder")
    (folder / "smoke" / "evil.py").write_text("raise SystemExit")
    (folder / "link").symlink_to("/")
    assert len(fetch_runs(str(folder))) == 2
    assert not list(elsewhere.rglob("evil.py"))


def test_runs_from_a_server(pack, elsewhere, server):
    server.files["/runs.zip"] = pack.read_bytes()
    assert len(fetch_runs(f"{server.base}/runs.zip")) == 2
    with pytest.raises(UserError, match="is not available: the server responds 404"):
        fetch_runs(f"{server.base}/other.zip")


@pytest.mark.parametrize("harm", ["damaged", "missing", "no manifest", "not listed"])
def test_what_is_not_whole_is_refused(pack, elsewhere, tmp_path, harm):
    folder = unpacked(pack, tmp_path / "folder")
    weights = next(folder.rglob("weights.safetensors"))
    manifest = json.loads((folder / MANIFEST).read_text())
    if harm == "damaged":
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    elif harm == "missing":
        weights.unlink()
    elif harm == "not listed":
        del manifest[weights.relative_to(folder).as_posix()]
        (folder / MANIFEST).write_text(json.dumps(manifest))
    else:
        (folder / MANIFEST).unlink()
    with pytest.raises(UserError, match="manifest.json"):
        fetch_runs(str(folder))
    assert nothing_taken(elsewhere)


@pytest.mark.parametrize("change", [{"version": 1}, {"recipes": {"synth-stb": -1}}, {"beta": 77.0}])
def test_what_is_of_another_version_recipe_or_name_is_refused(pack, elsewhere, tmp_path, change):
    from dvae_lib.files import sha256

    folder = unpacked(pack, tmp_path / "folder")
    config = next(folder.rglob("config.json"))
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest[config.relative_to(folder).as_posix()] = sha256(config)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="of another version|does not match its config"):
        fetch_runs(str(folder))
    assert nothing_taken(elsewhere)


def test_what_is_not_trained_is_not_packed(elsewhere, tmp_path):
    with pytest.raises(UserError, match="vae-pose is not trained"):
        pack_runs([Run(find("vae-pose", "smoke", "synthetic"), "smoke")], tmp_path / "runs.zip")
    assert not Path(tmp_path / "runs.zip").exists()


def test_a_pack_holds_nothing_that_can_be_run(pack):
    with zipfile.ZipFile(pack) as archive:
        assert {Path(name).suffix for name in archive.namelist()} == {".json", ".jsonl", ".safetensors"}
