"""Chapter 12's figures of the digits, with the study's record and without, with the photographs and without."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from dvae_lib.datasets import digits as data
from dvae_lib.experiments import study
from dvae_lib.experiments.records import Record
from dvae_lib.plots import digits
from tests.helpers import digits_tree

STUDENTS = 30  # the last five are the test's


@pytest.fixture
def record(monkeypatch):
    drawn = torch.randint(0, 255, (2, 10, 3, 16, 16), dtype=torch.uint8)
    table = torch.tensor([[10 * k + g for g in range(10)] for k in (25, 27)])
    arrays = {"table": table, "sheet/people and gestures": drawn, "sheet/worst": drawn[0], "worst": torch.arange(10)}
    arrays |= {f"sheet/{name} walks": drawn[:, :7] for name in ("content", "pose")}
    monkeypatch.setattr(study, "load", lambda name: [Record({}, arrays)])
    return arrays


@pytest.fixture
def tree(tmp_path, monkeypatch):
    digits_tree.make(tmp_path / "digits", STUDENTS)
    monkeypatch.setenv("DVAE_DATA_ROOT", str(tmp_path))
    monkeypatch.setattr(data, "LABELS", tmp_path / "digits" / "labels.npz")


def shown(figure):
    """The images (S, S, 3) of a figure's axes, by axis."""
    return [ax.get_images()[0].get_array() if ax.get_images() else None for ax in figure.axes]


def test_drawn_images_stand_above_the_photographs_that_were_asked_for(record, tree):
    images = shown(digits.people_and_gestures())
    assert len(images) == 4 * 10 and all(image is not None for image in images)
    first = record["sheet/people and gestures"][0, 0].permute(1, 2, 0).numpy() / 255
    np.testing.assert_allclose(np.asarray(images[0], float), first, atol=0.01)
    wall = digits_tree.wall(25) / 255
    np.testing.assert_allclose(np.asarray(images[10])[8, 8], wall, atol=0.25)
    assert len(shown(digits.failures())) == 20 and len(shown(digits.walks())) == 4 * 7


def test_without_photographs_only_what_was_drawn_is_shown(record, tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_DATA_ROOT", str(tmp_path / "nothing"))
    assert len(shown(digits.people_and_gestures())) == 20 and len(shown(digits.failures())) == 10
    figure = digits.photographs([1, 2])
    assert "dvae download digits" in figure.axes[0].texts[0].get_text()


def test_students_are_shown_in_all_gestures(tree):
    images = shown(digits.photographs([3, 25]))
    assert len(images) == 20 and all(image is not None for image in images)


def test_without_a_record_it_is_said_what_makes_one(monkeypatch):
    monkeypatch.setattr(study, "load", lambda name: [])
    for draw in (digits.people_and_gestures, digits.walks, digits.failures):
        assert "dvae study --test --data digits" in draw().axes[0].texts[0].get_text()
    plt.close("all")
