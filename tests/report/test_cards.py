"""A card says of a trained run what its files say."""

import pytest

from dvae_lib.experiments import find
from dvae_lib.experiments.run import Run
from dvae_lib.report.cards import DRAWN, TERMS, card


@pytest.fixture(scope="module")
def run():
    run = Run(find("dvae-image", "smoke", "synthetic"), "smoke")
    run.train(quiet=True)
    return run


def test_a_card_has_the_numbers_of_the_evaluation_and_of_the_weights(run):
    found = card(run)
    assert (found.name, found.seed, found.size) == ("dvae-image", 0, run.experiment.size)
    assert found.terms == (DRAWN,)
    of_image = run.evaluation["from"]["image"]
    assert found.errors["image"] == {"epe": of_image["epe"], "image": of_image["image"]}
    assert found.parameters == sum(p.numel() for p in run.load().parameters())
    assert found.provenance["profile"] == "smoke"


def test_photographs_bring_their_own_terms():
    data = find("dvae-zu", "smoke", "realhand").data
    assert "realhand" in data and "non-commercial" in TERMS["realhand"]
