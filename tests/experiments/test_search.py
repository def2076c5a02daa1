"""The search for the study's settings: what is tried, and what is chosen."""

import json
from itertools import product

import pytest

from dvae_lib.experiments import find, search
from dvae_lib.experiments.search import SEARCHES, Search

GRID = Search("dvae-pose", {"lr": (1e-3, 2e-3, 4e-3), "beta": (0.5, 2.0, 8.0)}, {})
OPTIONS = Search("weak-10", {"mixture": ("natural", "halves"), "embedding_decoders": (("viewpoint",), ())}, {})


def errors(best, ratio=1.1):
    """Of every point of the grid an error that grows with the steps to the best."""
    axes = [list(values) for values in GRID.grid.values()]

    def steps(point):
        return sum(abs(axis.index(a) - axis.index(b)) for axis, a, b in zip(axes, point, best, strict=True))

    return {point: 10 * ratio ** steps(point) for point in product(*axes)}


def test_first_the_whole_grid_is_tried():
    assert GRID.missing({}) == list(product(*GRID.grid.values()))
    assert GRID.missing({(1e-3, 0.5): 1.0})[0] == (1e-3, 2.0)


def test_the_least_error_is_chosen_and_of_ties_the_middle():
    assert GRID.choose(errors((1e-3, 8.0))) == (1e-3, 8.0)
    assert GRID.choose(errors((1e-3, 8.0), ratio=1.01)) == (2e-3, 2.0)  # two steps away, 2 % above
    assert GRID.choose(errors((1e-3, 8.0), ratio=1.02)) == (1e-3, 2.0)  # of two that are as near the better


def test_a_choice_at_the_edge_extends_the_grid_there():
    assert GRID.missing(errors((2e-3, 2.0))) == []
    found = errors((4e-3, 2.0))
    row = [(8e-3, beta) for beta in (0.5, 2.0, 8.0)]  # each rate has its own β
    assert GRID.missing(found) == row
    assert GRID.missing(found | dict.fromkeys(row, 20.0)) == []
    assert GRID.missing(found | dict.fromkeys(row, 5.0)) == [(16e-3, beta) for beta in (0.5, 2.0, 8.0)]
    assert len(GRID.missing(errors((1e-3, 8.0)))) == 6


def test_options_that_are_no_numbers_end_where_they_end():
    every = dict.fromkeys(product(*OPTIONS.grid.values()), 10.0)
    assert OPTIONS.choose(every) == ("halves", ()) and OPTIONS.missing(every) == []
    assert OPTIONS.choose(every | {("natural", ("viewpoint",)): 9.0}) == ("natural", ("viewpoint",))


@pytest.mark.parametrize("one", SEARCHES, ids=lambda s: s.name)
def test_trials_are_smaller_than_the_studys_runs_and_alike_but_for_what_is_tried(one):
    e, (first, *_) = find(one.name, "study", "synthetic"), one.missing({})
    trial = one.trial(first).experiment
    differing = {name for name in vars(e) if getattr(e, name) != getattr(trial, name) and name != "reasons"}
    assert differing <= {"size", *one.smaller, *one.grid} and trial.size == 32 and trial.seed == 0
    assert all(find(name, "study", "synthetic") for name in one.also)


@pytest.mark.parametrize("one", SEARCHES, ids=lambda s: s.name)
def test_the_study_has_what_the_search_chose(monkeypatch, one):
    monkeypatch.setenv("DVAE_DATA", "synthetic")
    errors = search.errors(one, search.found())
    assert one.missing(errors) == []
    for name in (one.name, *one.also):
        e = find(name, "study")
        assert tuple(getattr(e, field) for field in one.grid) == one.choose(errors), name


@pytest.fixture
def small(monkeypatch, tmp_path):
    """One search of two trials, each of seconds."""
    for variable in ("DVAE_RUNS_ROOT", "DVAE_STUDY_ROOT"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setattr(search, "find", lambda name, profile: find(name, "smoke", "synthetic"))
    one = Search("vae-pose", {"lr": (1e-3, 1e-2)}, {"size": None}, error=lambda run: 1.0)
    monkeypatch.setattr(search, "SEARCHES", (one,))
    monkeypatch.setenv("DVAE_DATA", "synthetic")
    return one


def test_what_was_tried_is_kept_and_not_tried_again(small):
    trials = list(search.run_searches("cpu", 1))
    assert [t["values"] for t in trials][:2] == [{"lr": 1e-3}, {"lr": 1e-2}]
    kept = json.loads((search.folder() / "search.json").read_text())
    assert {t["values"]["lr"] for t in kept["vae-pose"]} >= {1e-3, 1e-2} and kept["vae-pose"][0]["pixels"] > 0
    assert list(search.run_searches("cpu", 1)) == []
    assert not small.trial((1e-3,)).folder.exists()  # weights are not kept


def test_of_another_configuration_nothing_is_taken(small):
    list(search.run_searches("cpu", 1))
    kept = search.found()
    assert set(search.errors(small, kept)) >= {(1e-3,), (1e-2,)}
    kept["vae-pose"][0]["run"] = "vae-pose-00000000"
    assert (1e-3,) not in search.errors(small, kept)
