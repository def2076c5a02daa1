"""The ten claims, on runs whose errors are known."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from typer.testing import CliRunner

from dvae_lib import cli
from dvae_lib.experiments import counterfactuals, experiments, find
from dvae_lib.experiments.run import Run, every_run
from dvae_lib.files import UserError
from dvae_lib.report import report
from dvae_lib.report.claims import CLAIMS, bound_from_image, claim, over_seeds, tail
from dvae_lib.report.verdicts import Claim, Measure

N = 100


@dataclass
class Known(Run):
    """A trained run with given errors: {source: {what: (N,)}}."""

    known_errors: dict = None

    @property
    def trained(self):
        return True

    @property
    def errors(self):
        return self.known_errors


def known(name, **errors):
    own = {what: torch.full((N,), float(value)) for what, value in errors.items()}
    guess = {what: torch.full((N,), 10.0) for what in ("pose", "cpose", "viewpoint")}
    return Known(find(name, "smoke", "synthetic"), "smoke", {"image": own, "factors": own, "mean pose": guess})


def both_sets(name, **errors):
    return {f"{name}{suffix}": known(f"{name}{suffix}", **errors) for suffix in ("", "-rhd")}


def test_the_bound_from_the_image_is_eq_1_of_what_was_logged(monkeypatch):
    run = known("cross-modal")
    e = run.experiment
    logged = {f"image→{name}": np.array([np.nan, i + 1.0]) for i, name in enumerate(e.lambdas)}
    monkeypatch.setattr(Known, "metrics", logged | {"step": np.arange(2), "image→kl": np.array([np.nan, 7.0])})
    expected = sum(e.effective_lambdas[name] * (i + 1.0) for i, name in enumerate(e.lambdas)) - 7 * e.effective_beta
    bound = bound_from_image(run)
    assert isinstance(bound, np.ndarray) and np.isnan(bound[0]) and bound[1] == pytest.approx(expected)


def test_claim_1_is_a_ratio_on_either_set():
    runs = both_sets("dvae-pose", pose=5.4) | both_sets("cross-modal", pose=5.0)
    found = claim(1, runs)
    assert [m.what.split(",")[0] for m in found.measures] == ["synth-stb", "synth-rhd"]
    assert all(m.estimate == pytest.approx((1.08, 1.08, 1.08)) for m in found.measures)
    assert found.verdict == "holds"
    assert claim(1, runs | both_sets("dvae-pose", pose=6.0)).verdict == "fails"


def test_claim_3_wants_all_three_better_than_the_mean_and_agreement():
    good = {"pose": 5.0, "cpose": 4.0, "viewpoint": 3.0, "disagreement_mm": 1.0}
    found = claim(3, both_sets("dvae-pose", **good))
    assert found.verdict == "holds" and [m.estimate[0] for m in found.measures[:4]] == pytest.approx(
        [0.5, 0.4, 0.3, 0.2]
    )
    for worse in ({"viewpoint": 11.0}, {"disagreement_mm": 6.0}):
        assert claim(3, both_sets("dvae-pose", **good | worse)).verdict == "fails"


def test_claim_4_needs_both_readings():
    two = both_sets("two-stream", pose=7.0, cpose=5.0)
    assert claim(4, both_sets("dvae-pose", pose=6.0, cpose=4.0) | two).verdict == "holds"
    assert claim(4, both_sets("dvae-pose", pose=6.0, cpose=5.5) | two).verdict == "fails"


def test_claim_5_pools_all_shares():
    errors = {"labelled": 10.0, "semi": 9.8, "weak": 9.0}
    runs = {f"{kind}-{m}": known(f"{kind}-{m}", pose=value) for kind, value in errors.items() for m in (5, 10, 25, 50)}
    found = claim(5, runs)
    assert [m.estimate[0] for m in found.measures] == pytest.approx([2.0, 10.0, 100 * 0.8 / 9.8], abs=1e-4)
    assert found.verdict == "holds"
    for run in runs.values():
        run.errors["image"]["pose"][3] = np.nan  # a hand that shows no joint
    assert [m.estimate for m in claim(5, runs).measures] == [m.estimate for m in found.measures]


def test_claim_7_is_of_the_walks_of_fig_4_and_of_fig_5(monkeypatch):
    """Each model's own drifts, against those of true images; Fig. 4 is of dvae-image, Fig. 5 of dvae-zu."""
    names = ("estimated pose", "estimated pose of true images", "content", "content of true images")
    drifts = {
        "dvae-image": dict(zip(names, (1.0, 2.0, 3.0, 4.0), strict=True)),
        "dvae-zu": dict(zip(names, (6.0, 5.0, 1.0, 5.0), strict=True)),
    }
    monkeypatch.setattr(Known, "load", lambda run: run.experiment.name)
    monkeypatch.setattr(counterfactuals, "draw_pairs", lambda run: SimpleNamespace(contents_per_pose=5))
    monkeypatch.setattr(
        counterfactuals,
        "drifts",
        lambda model, pairs, estimator: {what: torch.full((N,), value) for what, value in drifts[model].items()},
    )
    found = claim(7, {name: known(name) for name in (*drifts, "cross-modal")})
    assert [(m.what.split(",")[0], m.estimate[0]) for m in found.measures] == [
        ("dvae-image", 0.5), ("dvae-image", 0.75), ("dvae-zu", 1.2), ("dvae-zu", 0.2)
    ]  # fmt: skip
    assert "pose on walks in the content" in found.measures[0].what and found.verdict == "fails"


def test_claim_8_compares_the_ends_of_the_grid():
    def grid(image, kl):
        return {
            f"ablation-{b}-{d}": known(f"ablation-{b}-{d}", image=image(b, d), kl=kl(b, d))
            for b in (10, 100, 1000)
            for d in (8, 64, 256)
        }

    found = claim(8, grid(lambda b, d: b + d, lambda b, d: d / b))
    by = {m.what: m.estimate[0] for m in found.measures}
    assert len(by) == 12
    assert by["d = 8, β 10 → 1000, the image's error grows by"] == pytest.approx(100 * ((1008 / 18) ** 2 - 1), rel=1e-4)
    assert by["β = 100, d 8 → 256, the KL grows by"] == pytest.approx(100 * (256 / 8 - 1), rel=1e-4)
    assert by["d = 64, β 10 → 1000, the KL grows by"] == pytest.approx(-99, rel=1e-4)
    assert found.verdict == "holds"
    assert claim(8, grid(lambda b, d: b - d / 1000, lambda b, d: d / b)).verdict == "fails"


def test_other_seeds_are_averaged_sample_by_sample():
    one, other = (known("ablation-10-8", image=image, kl=kl) for image, kl in ((1.0, 2.0), (3.0, 4.0)))
    found = over_seeds({"a": one, "a-seed-1": other, "b": None}, "a")
    assert found["image"].unique().tolist() == [5.0] and found["kl"].unique().tolist() == [3.0]


def fixed(mean, half, limit=1.0, **others):
    """A measure with an interval that is as wide as Gauss's."""

    def interval(level):
        reach = half * norm.ppf(0.5 + level / 2) / norm.ppf(0.975)
        return mean, mean - reach, mean + reach

    return Measure("", interval, limit, **others)


def test_a_claim_holds_or_fails_only_where_intervals_say_so():
    right, open_, wrong = fixed(0.5, 0.1), fixed(0.9, 0.2), fixed(1.2, 0.1)
    for measures, verdict in (
        ([right], "holds"),
        ([right, open_], "open"),
        ([right, wrong], "fails"),
        ([open_, fixed(1.05, 0.1)], "open"),
        ([open_, wrong], "fails"),
        ([], "not asked"),
    ):
        assert Claim(1, "", "", tuple(measures)).verdict == verdict
    assert fixed(1.2, 0.1, at_most=False).answer() == "yes" and str(wrong) == "1.2 (1.1 to 1.3), at most 1.0"


@pytest.mark.parametrize("ends", [(0.9, 0.8, 1.0), (1.0, 1.0, 1.0), (1.1, 1.0, 1.2)])
def test_an_interval_that_ends_at_its_limit_is_open(ends):
    assert Measure("", lambda level: ends, 1.0).answer() == "open"


def test_an_interval_is_computed_once():
    asked = []
    measure = Measure("", lambda level: asked.append(level) or (0.5, 0.4, 0.6), 1.0)
    assert str(Claim(1, "", "", (measure,))) and Claim(1, "", "", (measure,)).as_dict()
    assert asked == [0.95]


def test_one_of_many_measures_has_to_be_further_beyond():
    just = fixed(1.11, 0.1)  # beyond at 95 %
    assert just.answer() == "no" and Claim(1, "", "", (just,)).verdict == "fails"
    assert Claim(1, "", "", (just, *[fixed(0.5, 0.1)] * 9)).verdict == "open"


def test_what_the_data_cannot_tell_is_not_asked():
    assert claim(5, {}).verdict == "not asked"


def test_a_run_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    with pytest.raises(UserError, match="dvae train --all"):
        claim(1, every_run("smoke", "synthetic"))
    result = CliRunner().invoke(cli.app, ["report", "--profile", "smoke"])
    assert result.exit_code == 1 and "is not trained" in result.output


def test_the_tail_is_of_the_values_that_were_logged():
    values = np.array([9.0, np.nan, 1, 2, 3, 4, np.nan, 5, 6, 7, 8])
    np.testing.assert_array_equal(tail(values, 1 / 3), [6, 7, 8])


@pytest.mark.parametrize("holds", [True, False])
def test_the_command_fails_with_a_claim(monkeypatch, tmp_path, holds):
    measure = Measure("an error", lambda level: (0.5, 0.4, 0.6), 1.0 if holds else 0.1)
    found = report.Report(
        [report.Row(report.ITEMS[0], {}, "", "", "in the book")], [Claim(1, "It works.", "", (measure,))]
    )
    monkeypatch.setattr(report, "report", lambda runs: found)
    result = CliRunner().invoke(cli.app, ["report", "--json", str(tmp_path / "report.json")])
    assert result.exit_code == (0 if holds else 1)
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["claims"][0]["measures"][0]["estimate"] == [0.5, 0.4, 0.6]
    assert saved["claims"][0]["verdict"] == ("holds" if holds else "fails")


def test_a_number_of_rhd_does_not_stand_beside_stb(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    items = {item.label: item for item in report.ITEMS}
    for data, other in (("rhd", "stb"), ("stb", "rhd")):
        runs = every_run("smoke", data)
        assert report._row(items[f"fig-pck-{other}"], runs, {}).verdict == "not with these data"
        monkeypatch.setattr(report, "_numbers", lambda item, own: ("", str([run.experiment.name for run in own])))
        assert "dvae-pose" in report._row(items[f"fig-pck-{data}"], runs, {}).ours
    rendered = every_run("smoke", "synthetic")
    assert "dvae-pose-rhd" in report._row(items["fig-pck-rhd"], rendered, {}).ours.strip("[]").split(", ")[0]


def test_the_claims_are_ten():
    assert [definition.number for definition in CLAIMS] == list(range(1, 11))


def test_every_item_names_runs_that_exist_and_claims_of_the_ten():
    names = experiments("smoke", "synthetic")
    assert {n for item in report.ITEMS for n in item.claims} <= set(range(1, 11))
    assert {n for item in report.ITEMS for n in item.runs} <= set(names)
