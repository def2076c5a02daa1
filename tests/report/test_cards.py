"""A card says of a trained run what its files say, and names the terms of its data."""

import pytest

from dvae_lib.experiments import find
from dvae_lib.experiments.run import Run
from dvae_lib.report.cards import errors, terms


def test_errors_are_those_of_the_evaluation():
    run = Run(find("dvae-image", "smoke", "synthetic"), "smoke")
    run.train(quiet=True)
    of_image = run.evaluation["from"]["image"]
    assert errors(run)["image"] == {"epe": of_image["epe"], "image": of_image["image"]}


@pytest.mark.parametrize("name, word", [("synth-stb", "MIT"), ("realhand", "non-commercial"), ("rhd", "research only")])
def test_terms_are_those_of_the_data_set(name, word):
    assert word in terms(name)
