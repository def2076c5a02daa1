"""Folders and choices are the same in every process, wherever it works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dvae_lib import settings
from dvae_lib.files import UserError

FOLDERS = {
    "DVAE_DATA_ROOT": (settings.data_root, "data"),
    "DVAE_CACHE_ROOT": (settings.cache_root, "cache"),
    "DVAE_RUNS_ROOT": (settings.runs_root, "runs"),
}


@pytest.mark.parametrize("variable", FOLDERS)
def test_a_relative_folder_lies_in_the_checkout(monkeypatch, tmp_path, variable):
    folder, default = FOLDERS[variable]
    monkeypatch.chdir(tmp_path)
    for value, expected in (
        ("mine/here", settings.ROOT / "mine" / "here"),
        ("", settings.ROOT / default),
        (str(tmp_path), tmp_path),
        ("~/hands", Path.home() / "hands"),
    ):
        monkeypatch.setenv(variable, value)
        assert folder() == expected and folder().is_absolute()
        assert settings.environment()[variable] == str(expected)
    monkeypatch.delenv(variable)
    assert folder() == settings.ROOT / default


def test_another_process_means_the_same_folder(tmp_path):
    program = "from dvae_lib import settings; print(settings.runs_root())"
    environment = os.environ | {"DVAE_RUNS_ROOT": "other-runs", "PYTHONPATH": str(settings.ROOT)}
    said = [
        subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)
        for folder in (settings.ROOT, settings.ROOT / "book", tmp_path)
    ]
    assert {done.stdout.strip() for done in said} == {str(settings.ROOT / "other-runs")}


def test_an_empty_choice_is_the_default(monkeypatch):
    for variable in ("DVAE_PROFILE", "DVAE_DATA", "DVAE_ROOT_JOINT"):
        monkeypatch.setenv(variable, "")
    assert (settings.profile(), settings.data(), settings.root_joint()) == ("laptop", "synthetic", "palm")
    monkeypatch.setenv("DVAE_DATA", "moon")
    with pytest.raises(UserError, match="DVAE_DATA is “moon”.*synthetic, stb, rhd, realhand"):
        settings.data()
