"""The scripts of a checkout."""

import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from dvae_lib.datasets import open_source


@pytest.fixture
def script(monkeypatch):
    """Runs `python -m data_scripts.<name>` in this process; returns its exit status, or the sentence it exits with."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_module(f"data_scripts.{name}", run_name="__main__")
        return stopped.value.code

    return run


@pytest.mark.parametrize("name, status", [("download", 2), ("check", 1)])
def test_the_commands_are_scripts_too(script, tmp_path, capsys, name, status):
    assert script(name, "stb", "--folder", tmp_path / "stb") == status
    assert "none of its 72024 files exists" in "".join(capsys.readouterr())


@pytest.mark.parametrize("name", ["prepare", "make_synthetic"])
def test_an_unknown_name_is_refused(script, capsys, name):
    assert script(name, "no-such-data") == 1 and "no-such-data" in capsys.readouterr().err


@pytest.mark.real_data("realhand")
def test_the_cache_is_prepared_ahead_of_training(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DVAE_CACHE_ROOT", str(tmp_path))
    assert script("prepare", "realhand", "--size", "16") == 0
    assert "583 samples of 16 pixels are ready" in capsys.readouterr().out
    assert len(list(tmp_path.glob("realhand-16px-*/manifest.json"))) == 1


def test_rendered_hands_are_drawn(script, tmp_path, capsys):
    assert script("make_synthetic", "synth-stb", "--pictures", tmp_path, "--count", 3, "--size", 32) == 0
    assert "3 images of synth-stb" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000.png", "00001.png", "00002.png", "sheet.png"]
    expected = open_source("synth-stb").read(np.array([0]), 32)["image"][0].transpose(1, 2, 0)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "00000.png")), expected)
