"""The command's words: what it shows, what it refuses, whatever is configured around it."""

import io
import json
import re
import sys
from importlib.metadata import version

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dvae_lib import cli, detect
from dvae_lib.experiments import find, load_or_train
from dvae_lib.experiments import run as runs
from dvae_lib.plots import drawings


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_the_version_is_the_package_s():
    result = invoke("--version")
    assert result.exit_code == 0 and result.output.strip() == version("dvae_lib")


def test_a_file_that_has_not_every_letter_is_written(monkeypatch):
    """β is not in the encoding of many a Windows terminal."""
    for arguments in (["list"], ["--help"], ["show", "dvae-image"]):
        output = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "argv", ["dvae", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        output.flush()
        assert end.value.code == 0 and len(output.buffer.getvalue()) > 500
    assert "λ" not in output.buffer.getvalue().decode("cp1252")


def shown(*arguments) -> dict[str, str]:
    result = invoke("show", *arguments)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()[1:]
    return {line[2:24].strip(): line[24:] for line in lines if not line.startswith("    ")} | {
        f"{above[2:24].strip()} in effect": line[24:]
        for above, line in zip(lines, lines[1:], strict=False)
        if line.startswith("    in effect")
    }


def test_a_regressor_has_weights_that_no_image_stands_beside():
    lines = shown("two-stream", "--profile", "study")
    assert lines["lambdas"].startswith("cpose 1, viewpoint 20 ") and "lambdas in effect" not in lines


def test_an_experiment_is_shown_whole_with_what_is_not_the_paper_s():
    e, lines = find("dvae-image", "laptop", "synthetic"), shown("dvae-image", "--profile", "laptop")
    assert set(e.values()) < set(lines)
    assert lines["size"].startswith("64 ") and "the paper has 256 (supplement, Sec. B)" in lines["size"]
    assert "the paper has 100 (Sec. 4.1, for synthesis); chosen by the search" in lines["beta"]
    assert "the paper has image 1, pose 0.01, tag 0.01" in lines["lambdas"]
    # Beside 64 × 64 pixels in place of 256 × 256, the 16th part of them; a tag is an image itself.
    assert lines["beta in effect"].startswith("0.125 ") and lines["lambdas in effect"].startswith(
        "image 1, pose 1, tag"
    )
    assert lines["stages"] == "600 steps “disentangling”, then 120 steps “embedding”"
    model = runs.Run(e, "laptop").build()
    assert model.beta == e.effective_beta and model.lambdas == pytest.approx(e.effective_lambdas)


def test_the_full_profile_departs_from_the_paper_nowhere():
    lines = shown("dvae-pose", "--profile", "full")
    assert not any("the paper has" in line for line in lines.values())
    assert lines["lr"] == "0.0001" and lines["factors"].startswith("cpose 32, viewpoint 32")
    assert "in effect" not in " ".join(lines)  # nothing is rescaled: no image is decoded


@pytest.mark.parametrize(
    ("name", "assignment", "said"),
    [
        ("cross-modal", "schedule=altrnating", "“schedule” is \"altrnating\": it must be one of joint, alternating"),
        ("cross-modal", "steps=0", "“steps” is 0: it must be a whole number of at least 1"),
        ("cross-modal", "steps=7.5", "“steps” is 7.5: it must be a whole number of at least 1"),
        ("cross-modal", "batch=1", "“batch” is 1: it must be a whole number of at least 2"),
        ("cross-modal", "size=15", "“size” is 15: it must be a whole number of at least 16"),
        ("cross-modal", "precision=7-bit", "“precision” is \"7-bit\": it must be one of 32-true"),
        ("cross-modal", "beta=many", "“beta” is \"many\": it must be a number of at least 0"),
        ("cross-modal", "beta", "“beta” is not an assignment such as beta=1"),
        ("cross-modal", "betta=1", "“betta” is not among its settings: choose one of size, "),
        ("cross-modal", "name=mine", "“name” is not among its settings"),
        ("cross-modal", "decay=1", "“decay” is 1: it must be true or false"),
        ("cross-modal", "lr=true", "“lr” is true: it must be a number above 0"),
        ("cross-modal", 'lambdas={"smell": 1}', "“lambdas” is {\"smell\": 1}: it must be names with values"),
        ("dvae-pose", "d=32", "d is the sum of the slices of z: set these, as in factors="),
        ("dvae-pose", "width=2", "“width” has no effect, as no image is decoded"),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_said_before_any_data_are_prepared(monkeypatch, name, assignment, said):
    monkeypatch.setattr(runs, "open_part", lambda *_, **__: 1 / 0)
    result = invoke("train", name, "--profile", "smoke", "--set", assignment)
    assert result.exit_code == 1 and said in re.sub(r"\s+", " ", result.output)


def test_a_drawing_is_not_changed_by_what_the_user_has_configured(tmp_path, monkeypatch):
    load_or_train("dvae-pose")
    monkeypatch.setattr(detect, "is_ready", lambda: False)  # it is no hand
    path = tmp_path / "hand.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    figures, draw = [], drawings.draw_predictions

    def drawn(predictions):
        figures.append(draw(predictions))
        return figures[-1]

    monkeypatch.setattr(drawings, "draw_predictions", drawn)
    pictures = []
    for configured in ({}, {"text.usetex": True, "axes.facecolor": "red", "font.size": 30.0}):
        with plt.rc_context(configured):
            result = invoke("predict", path, "--out", tmp_path / str(len(pictures)))
            assert plt.rcParams["text.usetex"] == bool(configured)
        assert result.exit_code == 0, result.output
        pictures.append(np.asarray(Image.open(json.loads(result.stdout)["drawing"])))
    assert not any(ax.title.get_usetex() for ax in figures[-1].axes)
    assert np.array_equal(*pictures)
