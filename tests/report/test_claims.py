"""The ten claims, on records whose errors are known."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import norm
from typer.testing import CliRunner

from dvae_lib import cli
from dvae_lib.experiments import BETAS, DIMENSIONS, LABELLED, experiments, study
from dvae_lib.experiments.limits import LIMITS
from dvae_lib.experiments.records import Record
from dvae_lib.report import report
from dvae_lib.report.claims import CLAIMS, claim
from dvae_lib.report.quantities import fewer_labels, leak_ci, share_ci, slope, steadiness, trainings_apart
from dvae_lib.report.verdicts import Claim, Measure

UNITS, EACH = 50, 4  # units, and samples of each


def planted(rng, seeds, seed_spread=0.01, **means):
    """Records of seeds with errors from images of given means, that vary from unit to unit and from seed to seed."""
    unit = torch.arange(UNITS).repeat_interleave(EACH)
    hard = torch.from_numpy(np.exp(np.random.default_rng(1).normal(0, 0.3, UNITS)))  # the same for all methods
    hard = (hard / hard.mean())[unit]
    records = []
    for _ in range(seeds):
        drawn = {name: mean * hard * float(np.exp(rng.normal(0, seed_spread))) for name, mean in means.items()}
        records.append(Record({}, {"unit": unit, **{f"image/{name}": values for name, values in drawn.items()}}))
    return records


def two_sets(rng, name, **means):
    seeds = study.planned()[name]
    return {f"{name}{suffix}": planted(rng, seeds, **means) for suffix in ("", "-rhd")}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("ratio", "verdict"), [(0.9, "holds"), (1.1, "open"), (1.3, "fails")])
def test_a_planted_difference_is_found_and_a_planted_null_left_open(rng, ratio, verdict):
    records = two_sets(rng, "dvae-pose", pose=10 * ratio) | two_sets(rng, "cross-modal", pose=10.0)
    found = claim(1, records)
    assert found.verdict == verdict and [m.what.split(",")[0] for m in found.measures] == ["synth-stb", "synth-rhd"]
    assert all(m.estimate[0] == pytest.approx(ratio, rel=0.1) and m.units == UNITS for m in found.measures)


def test_a_claim_waits_for_its_seeds(rng):
    records = two_sets(rng, "dvae-pose", pose=9.0) | two_sets(rng, "cross-modal", pose=10.0)
    records["cross-modal-rhd"] = records["cross-modal-rhd"][:2]
    found = claim(1, records)
    assert found.verdict == "2 of 5 seeds" and not found.measures and "2 of 5 seeds" in str(found)


def watched(jump, move, bound, steps=100):
    """A training whose held-out bound goes up and down by `jump`, and whose latents move by `move`, at each look."""
    curves = {}
    for source in ("image", "keypoints", "pose"):
        curves[f"curve/{source} held-out bound"] = torch.tensor([0.0, jump]).repeat(steps // 2)
        curves[f"curve/{source} moved"] = torch.full((steps - 1,), move)
        curves[f"{source}/bound"] = torch.full((UNITS,), bound)
    return Record({}, {"unit": torch.arange(UNITS), **curves})


def test_claim_2_is_of_held_out_samples_at_equal_steps_and_at_equal_passes(rng):
    assert steadiness(watched(3.0, 0.5, 0.0)) == pytest.approx({"movement": 0.5, "spread": 3.0})

    def five(jump, move, bound):
        return [watched(*(x + rng.normal(0, 0.01) for x in (jump, move, bound))) for _ in range(5)]

    records = {"steady-joint": five(1, 1, 1), "steady-alternating": five(2, 2, 0), "steady-passes": five(2, 2, 0)}
    assert claim(2, records).verdict == "holds" and len(claim(2, records).measures) == 6
    assert claim(2, records | {"steady-passes": five(2, 2, 2)}).verdict == "fails"  # three times the steps reach more


def test_claim_3_compares_with_regressors_of_one_thing_and_with_another_training(rng):
    ours = planted(rng, 5, cpose=5.0, viewpoint=4.0, apart=1.0)
    for record in ours:
        record.arrays["poses"] = torch.from_numpy(rng.normal(0, 3, (40, 63)).reshape(40, 21, 3))
    records = {"dvae-pose-rhd": ours}
    records |= {
        f"only-{name}-rhd": planted(rng, 3, **{name: mean}) for name, mean in (("cpose", 5.0), ("viewpoint", 4.1))
    }
    found = claim(3, records)
    assert found.verdict == "holds"
    poses = torch.stack([record.arrays["poses"] for record in ours])
    pairs = [(poses[a] - poses[b]).norm(dim=-1).mean().item() for a in range(5) for b in range(a)]
    apart = np.mean(pairs)
    assert found.measures[2].estimate[0] == pytest.approx(1 / apart, rel=0.02)
    assert claim(3, records | {"only-cpose-rhd": planted(rng, 3, cpose=4.0)}).verdict == "fails"


def test_how_far_trainings_are_apart_allows_for_each_being_in_several_pairs(rng):
    """The variance of the mean over all pairs, in studies drawn again and again: the jackknife's is never too small."""

    def drawn():
        own = rng.normal(0, 1, 5)  # of each training, what puts it farther from all others
        poses = [torch.full((4, 21, 3), float(x)) for x in own]
        return trainings_apart([Record({}, {"poses": p}) for p in poses])[:, 0]

    studies = torch.stack([drawn() for _ in range(2000)])
    said, true = (studies.var(1) / 5).mean(), studies.mean(1).var()
    assert 1 <= said / true <= 1.6


def test_claim_4_asks_of_the_decoded_and_of_the_composed_pose(rng):
    two = two_sets(rng, "two-stream", pose=7.0, cpose=5.0)
    ours = {"pose": 6.0, "cpose": 4.0, "composed": 6.0}
    assert claim(4, two_sets(rng, "dvae-pose", **ours) | two).verdict == "holds"
    for worse in ({"cpose": 5.8}, {"composed": 8.0}, {"pose": 8.0}):
        assert claim(4, two_sets(rng, "dvae-pose", **ours | worse) | two).verdict == "fails"


def test_claim_5_is_the_mean_log_ratio_over_all_shares(rng):
    errors = {"labelled": 10.0, "semi": 9.6, "weak": 9.0}
    records = {f"{kind}-{m}": planted(rng, 5, 0.0, pose=value * m) for kind, value in errors.items() for m in LABELLED}
    assert fewer_labels(records, "weak", "labelled")[0] == pytest.approx(0.9, abs=0.1)
    errors = {name: records[name][0].by_unit("image/pose").mean().item() for name in records}
    logs = [np.log(errors[f"weak-{m}"] / errors[f"labelled-{m}"]) for m in LABELLED]
    assert np.log(fewer_labels(records, "weak", "labelled")[0]) == pytest.approx(np.mean(logs))
    assert [m.what.split(",")[0] for m in claim(5, records).measures] == ["semi", "weak", "weak"]


def drawn(psnr, ssim, epe, room, fréchet, prefix=""):
    pairs = {"psnr": psnr, "ssim": ssim, "epe": epe, "room": room}
    arrays = {f"pairs/{prefix}{name}": torch.full((UNITS * EACH,), value) for name, value in pairs.items()}
    return {"fréchet": fréchet}, arrays | {"pairs/unit": torch.arange(UNITS).repeat_interleave(EACH)}


def test_claim_6_wants_the_best_of_all_baselines_beaten():
    untrained = {}
    for k, name in enumerate(
        ("nearest pose", "nearest pose, right content", "mean image", "mean image, right content")
    ):
        untrained |= drawn(15.0 + k, 0.1 * k, 12.0 - k, 0.8, 9.0, f"{name}, ")[1]
    records = {"estimator": [Record({}, untrained | {"unit": torch.arange(2)})] * 3}
    records["cross-modal"] = [Record(*drawn(14.0, 0.2, 20.0, 0.2, 4.0))] * 5
    records["dvae-image"] = [Record(*drawn(18.5, 0.35, 8.5, 0.9, 3.0))] * 3
    for record in (*records["cross-modal"], *records["dvae-image"]):
        record.arrays["unit"] = torch.arange(2)
    found = claim(6, records)
    assert [m.estimate[0] for m in found.measures] == pytest.approx([0.5, 0.05, 8.5 / 9, 10.0, 0.75], rel=1e-5)
    assert "(mean image, right content)" in found.measures[0].what and found.verdict == "holds"


def test_claim_6_on_photographs_asks_whose_hand_it_is_of_students_who_were_learnt(monkeypatch):
    monkeypatch.setenv("DVAE_DATA", "digits")
    student = torch.arange(UNITS).repeat_interleave(EACH)
    unknown = torch.where(student < 5, torch.nan, 1.0)  # five of them were not learnt

    def of(told, *scores, prefix=""):
        numbers, arrays = drawn(*scores, 0.0, 3.0, prefix)
        arrays = {name: values for name, values in arrays.items() if not name.endswith("room")}
        return Record(numbers, arrays | {f"pairs/{prefix}student": told * unknown, "unit": student})

    judge = of(0.8, 30.0, 1.0, 5.0, prefix="true image, ")
    for name in ("nearest pose", "nearest pose, right content", "mean image", "mean image, right content"):
        judge.arrays.update(of(0.5, 15.0, 0.3, 12.0, prefix=f"{name}, ").arrays)
    records = {"estimator": [judge], "cross-modal": [of(0.01, 16.0, 0.4, 14.0)] * 3}
    for told, answer in ((0.6, "Yes"), (0.3, "No")):
        records["dvae-image"] = [of(told, 18.0, 0.5, 10.0)] * 3
        found = claim(6, records)
        assert [m.estimate[0] for m in found.measures[:4]] == pytest.approx(
            [2.0, 0.1, 10 / 12, 100 * (told - 0.4)], rel=1e-4
        )
        assert found.measures[3].units == UNITS - 5 and "students recognised − half" in str(found)
        assert f"at least 0.0 %. {answer}." in str(found)
    assert "on photographs" in str(found) and found.as_dict()["where"] == "photographs"


def test_claim_7_takes_what_true_images_differ_by_from_the_drift_and_asks_for_movement():
    def walk(pose_drift, pose_moved, content_drift, content_moved):
        values = {
            "estimated pose": pose_drift, "estimated pose of true images": 2.0, "pose moved": pose_moved,
            "pose distance": 10.0, "content": content_drift, "content of true images": 0.1,
            "content moved": content_moved, "content distance": 1.0,
        }  # fmt: skip
        arrays = {f"pairs/walk, {name}": torch.full((UNITS,), value) for name, value in values.items()}
        return [Record({}, {"unit": torch.arange(UNITS), "pairs/unit": torch.arange(UNITS), **arrays})] * 3

    good = walk(3.0, 8.0, 0.2, 0.7)
    found = claim(7, {"dvae-image": good, "dvae-zu": good})
    assert [m.estimate[0] for m in found.measures[:4]] == pytest.approx([0.1, 0.8, 0.1, 0.7])
    assert found.verdict == "holds"
    one_image = walk(0.0, 0.0, 0.0, 0.0)  # a decoder that draws one image does not drift, and does not move
    assert claim(7, {"dvae-image": good, "dvae-zu": one_image}).verdict == "fails"


def grid(rng, image, kl):
    """Records of the ablation; image and KL are functions of β and d."""
    return {
        f"ablation-{b}-{d}": [
            Record({}, {"unit": torch.arange(UNITS)} | {
                f"factors/{name}": torch.full((UNITS,), float(f(b, d))) * float(np.exp(rng.normal(0, 0.01)))
                for name, f in (("image", image), ("kl", kl))
            }) for _ in range(5)
        ]
        for b in BETAS for d in DIMENSIONS
    }  # fmt: skip


def test_claim_8_fits_exponents(rng):
    records = grid(rng, lambda b, d: b**0.3 * d**0.1, lambda b, d: d**0.5 / b)
    for name, over, exponent in (("image", "β", 0.3), ("image", "d", 0.1), ("kl", "β", -1.0), ("kl", "d", 0.5)):
        mean, low, high = slope(records, name, over)
        assert mean == pytest.approx(exponent, abs=0.01) and low < exponent < high
    assert claim(8, records).verdict == "holds"
    assert claim(8, grid(rng, lambda b, d: b**0.3 / d**0.1, lambda b, d: d**0.5 / b)).verdict == "fails"


def test_claim_9_cannot_be_told_where_an_untrained_encoder_scores_as_well():
    def five(images, turned, untrained):
        return [
            Record({"β-VAE score": {"images": images + k / 1000, "turned": turned, "untrained": untrained}}, {})
            for k in range(5)
        ]

    assert claim(9, {"dvae-image-8": five(0.99, 0.6, 0.7)}).verdict == "holds"
    assert claim(9, {"dvae-image-8": five(0.99, 0.6, 0.995)}).verdict == "cannot be decided by this measure"
    assert claim(9, {"dvae-image-8": five(0.8, 0.6, 0.7)}).verdict == "fails"


def test_claim_10_is_a_share_of_what_the_own_part_tells(rng):
    def coded(own, other):
        """Areas and errors of codes; noise has an area of 0.2 and an error of 2.0."""
        arrays = {"table 4/unit": torch.arange(UNITS), "unit": torch.arange(UNITS)}
        for source in ("labels", "image"):
            for name, other_name in (("cpose", "viewpoint"), ("viewpoint", "cpose")):
                for column, gain in ((name, own), (other_name, other)):
                    value = 0.2 + 0.6 * gain if name == "cpose" else 2.0 - 1.5 * gain
                    arrays[f"table 4/{column} from {source}, {name}"] = torch.full((UNITS,), value)
        arrays["table 4/noise, cpose"] = torch.full((UNITS,), 0.2)
        arrays["table 4/noise, viewpoint"] = torch.full((UNITS,), 2.0)
        return [Record({}, arrays)] * 5

    assert leak_ci(coded(1.0, 0.2), "cpose", "image")[0] == pytest.approx(20, abs=1e-3)
    assert leak_ci(coded(0.5, 0.2), "viewpoint", "labels")[0] == pytest.approx(40, abs=1e-3)
    found = claim(10, {"dvae-pose": coded(1.0, 0.2), "dvae-pose-rhd": coded(1.0, 0.5)})
    assert len(found.measures) == 8 and found.verdict == "fails"


def test_a_share_is_one_mean_over_another_also_where_the_part_is_below_zero(rng):
    whole = torch.from_numpy(rng.normal(10, 1, (5, UNITS)))
    part = torch.from_numpy(rng.normal(-1, 1, (5, UNITS)))
    mean, low, high = share_ci(part, whole, 0.25)
    assert mean == pytest.approx((part.mean() / whole.mean()).item()) and low < mean < high < 0


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
        ([], "cannot be decided by these data"),
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


def test_a_control_that_measures_as_well_leaves_the_claim_untold():
    measures = fixed(0.5, 0.1), fixed(0.9, 0.2, control=True)
    assert Claim(1, "", "", measures).verdict == "cannot be decided by this measure"
    assert Claim(1, "", "", (measures[0], fixed(0.5, 0.1, control=True))).verdict == "holds"


def test_intervals_over_few_units_are_called_descriptive():
    assert "descriptive" in str(fixed(1.2, 0.1, units=39)) and "descriptive" not in str(fixed(1.2, 0.1, units=40))
    assert "descriptive" not in str(fixed(1.2, 0.1))  # over seeds alone


def test_what_the_data_cannot_tell_is_not_asked(monkeypatch):
    monkeypatch.setenv("DVAE_DATA", "realhand")
    assert claim(5).verdict == "cannot be decided by these data"


def test_every_claim_has_a_limit():
    assert {int(key.split()[0]) for key in LIMITS} == {definition.number for definition in CLAIMS}


@pytest.mark.parametrize("holds", [True, False])
def test_the_command_fails_with_a_claim(monkeypatch, tmp_path, holds):
    measure = Measure("an error", lambda level: (0.5, 0.4, 0.6), 1.0 if holds else 0.1)
    waiting = Claim(2, "It will.", "", (), (1, 3))
    rows = [report.Row(report.ITEMS[0], {}, "", "", "in the book")]
    again = Claim(6, "It works there, too.", "", (measure,), where="photographs")
    found = report.Report(rows, [Claim(1, "It works.", "", (measure,)), waiting], [again])
    monkeypatch.setattr(report, "report", lambda: found)
    result = CliRunner().invoke(cli.app, ["report", "--json", str(tmp_path / "report.json")])
    assert result.exit_code == (0 if holds else 1) and "Without a verdict yet: 2." in result.output
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["claims"][0]["measures"][0]["estimate"] == [0.5, 0.4, 0.6]
    assert saved["claims"][0]["verdict"] == ("holds" if holds else "fails")
    assert "on photographs" in result.output and saved["claims on photographs"][0]["number"] == 6


def test_a_number_of_rhd_does_not_stand_beside_stb(monkeypatch):
    items = {item.label: item for item in report.ITEMS}
    monkeypatch.setattr(report, "_numbers", lambda item, own: ("", str(own)))
    for data, other in (("rhd", "stb"), ("stb", "rhd")):
        monkeypatch.setenv("DVAE_DATA", data)
        assert report._row(items[f"fig-pck-{other}"], {}).verdict == "not available for these data"
        assert "dvae-pose" in report._row(items[f"fig-pck-{data}"], {}).ours
    monkeypatch.setenv("DVAE_DATA", "synthetic")
    assert "dvae-pose-rhd" in report._row(items["fig-pck-rhd"], {}).ours.strip("[]").split(", ")[0]


def test_the_claims_are_ten_and_need_what_there_is():
    assert [definition.number for definition in CLAIMS] == list(range(1, 11))
    assert {name for definition in CLAIMS for name in definition.needs} <= set(study.planned())


def test_every_item_names_experiments_that_exist_and_claims_of_the_ten():
    names = experiments("study", "synthetic")
    assert {n for item in report.ITEMS for n in item.claims} <= set(range(1, 11))
    assert {n for item in report.ITEMS for n in item.runs} <= set(names)
