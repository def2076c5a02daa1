"""The ten claims of the dVAE paper, each tested with the records of the study (chapter 10).

`quantities` defines what is measured, `experiments.limits` the thresholds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from dvae_lib import settings
from dvae_lib.experiments import BETAS, DIMENSIONS, LABELLED, study
from dvae_lib.experiments.limits import LIMITS, ON_PHOTOGRAPHS
from dvae_lib.metrics.intervals import Matrix, contrast_ci, ratio_ci
from dvae_lib.report.quantities import (
    SOURCES,
    Records,
    best_baseline,
    difference_ci,
    fewer_labels,
    leak_ci,
    matrix,
    scores,
    share_ci,
    slope,
    steadiness,
    trainings_apart,
)
from dvae_lib.report.verdicts import Claim, Measure


@dataclass(frozen=True)
class Definition:
    """A claim before it is measured. printed: the numbers or statements in the papers. needs: names of experiments."""

    number: int
    text: str
    printed: str
    needs: tuple[str, ...]
    measure: Callable[[Records], Iterator[Measure]]


def claim(number: int, records: Records | None = None) -> Claim:
    """One of the ten claims, computed from the study's records or from the given ones."""
    (asked,) = (definition for definition in CLAIMS if definition.number == number)
    planned = study.planned()
    if not set(asked.needs) <= set(planned):
        return Claim(number, asked.text, asked.printed, ())
    where = "photographs" if settings.data() == "digits" else "rendered hands"
    records = records or {name: study.load(name) for name in asked.needs}
    seeds, wanted = min((len(records[name]) - planned[name], planned[name]) for name in asked.needs)
    if seeds < 0:
        return Claim(number, asked.text, asked.printed, (), (seeds + wanted, wanted), where)
    return Claim(number, asked.text, asked.printed, tuple(asked.measure(records)), where=where)


def claims() -> Iterator[Claim]:
    for definition in CLAIMS:
        yield claim(definition.number)


def on_photographs() -> list[Claim]:
    """The claims that the photographs of the digits can test: pose transfer and walks."""
    with settings.chosen("digits"):
        return [claim(number) for number in (6, 7)]


def _ratio(key: str, what: str, ours: Matrix, theirs: Matrix) -> Measure:
    return Measure(what, partial(ratio_ci, ours, theirs), LIMITS[key], digits=3, units=ours.shape[1])


def _sets(*names: str) -> Iterator[tuple[str, list[str]]]:
    for suffix, data in (("", "synth-stb"), ("-rhd", "synth-rhd")):
        yield data, [f"{name}{suffix}" for name in names]


def _close_to_the_baseline(records: Records) -> Iterator[Measure]:
    for data, (ours, theirs) in _sets("dvae-pose", "cross-modal"):
        pair = (matrix(records[name], "image/pose") for name in (ours, theirs))
        yield _ratio(
            "1 error, times the cross-modal VAE's", f"{data}, error of the 3DPose ÷ the cross-modal VAE's", *pair
        )


def _joint_is_steadier(records: Records) -> Iterator[Measure]:
    joint = records["steady-joint"]
    for name, of in (("steady-alternating", "at equal steps"), ("steady-passes", "at equal passes")):
        for what, text in (
            ("movement", "movement of the latents of fixed samples"),
            ("spread", "fluctuation of the held-out bound"),
        ):
            ours, theirs = (scores(some, lambda r, what=what: steadiness(r)[what]) for some in (joint, records[name]))
            yield _ratio(f"2 {what}, times alternating's", f"{of}, {text} ÷ that of alternating", ours, theirs)
        ours, theirs = (
            torch.stack([matrix(some, f"{s}/bound") for s in SOURCES]).mean(0) for some in (joint, records[name])
        )
        above = partial(difference_ci, ours, theirs)
        limit = LIMITS["2 final bound, above alternating's"]
        yield Measure(f"{of}, held-out bound − alternating's", above, limit, False, digits=3, units=ours.shape[1])


def _one_latent_predicts_all(records: Records) -> Iterator[Measure]:
    ours = records["dvae-pose-rhd"]
    for name, what in {"cpose": "CPose", "viewpoint": "viewpoint"}.items():
        pair = (matrix(some, f"image/{name}") for some in (ours, records[f"only-{name}-rhd"]))
        text = f"synth-rhd, error of the {what} ÷ that of a regressor of the {what} only"
        yield _ratio("3 error, times a regressor's of it alone", text, *pair)
    within = scores(ours, lambda r: r.arrays["image/apart"].float().mean().item())
    text = "synth-rhd, distance of decoded and composed 3DPose ÷ distance of two training runs"
    yield _ratio("3 decoded and composed apart, times two trainings", text, within, trainings_apart(ours))


def _better_than_two_streams(records: Records) -> Iterator[Measure]:
    for data, (ours, theirs) in _sets("dvae-pose", "two-stream"):
        for what, own, other in (
            ("error of the CPose", "cpose", "cpose"),
            ("error of the decoded 3DPose", "pose", "pose"),
            ("error of the composed 3DPose", "composed", "pose"),
        ):
            pair = matrix(records[ours], f"image/{own}"), matrix(records[theirs], f"image/{other}")
            yield _ratio("4 error, times the two streams'", f"{data}, {what} ÷ the two-stream regressor's", *pair)


def _other_labels_help(records: Records) -> Iterator[Measure]:
    units = matrix(records["labelled-5"], "image/pose").shape[1]
    limit = LIMITS["5 error, times that with fewer labels"]
    for kind, other in (("semi", "labelled"), ("weak", "labelled"), ("weak", "semi")):
        ratio = partial(fewer_labels, records, kind, other)
        yield Measure(f"{kind}, error of the 3DPose ÷ that of {other}", ratio, limit, digits=3, units=units)


def transfer_measures(records: Records, name: str) -> Iterator[Measure]:
    """The measures of claim 6 for an experiment that transfers poses."""
    ours = records[name]
    for score, key, unit, digits in (("psnr", "PSNR", " dB", 2), ("ssim", "SSIM", "", 3)):
        best, theirs = best_baseline(records, score)
        above, mine = f"6 {key}, above the best baseline's", matrix(ours, f"pairs/{score}")
        text = f"{name}, {key} − that of the best baseline ({best})"
        yield Measure(
            text, partial(difference_ci, mine, theirs), LIMITS[above], False, unit, digits, units=mine.shape[1]
        )
    best, theirs = best_baseline(records, "epe")
    text = f"{name}, error of the estimated pose ÷ that of the best baseline ({best})"
    yield _ratio("6 pose read off, times the best baseline's", text, matrix(ours, "pairs/epe"), theirs)
    yield _content_is_told(records, name)
    mine, theirs = (scores(some, lambda r: r.numbers["fréchet"]) for some in (ours, records["cross-modal"]))
    text = f"{name}, Fréchet distance ÷ the cross-modal VAE's"
    yield _ratio("6 Fréchet distance, times the cross-modal VAE's", text, mine, theirs)


def _content_is_told(records: Records, name: str) -> Measure:
    judge = records["estimator"][0]
    if "pairs/student" in records[name][0].arrays:
        told, control = matrix(records[name], "pairs/student"), judge.by_unit("pairs/true image, student") / 2
        learnt = ~control.isnan()
        told, control = told[:, learnt], control[learnt]
        limit = ON_PHOTOGRAPHS["6 student recognised, above half of the true images'"]
        text = f"{name}, students recognised − half of those in true images"
    else:
        told, control = matrix(records[name], "pairs/room"), judge.by_unit("pairs/nearest pose, right content, room")
        limit = LIMITS["6 room recognised, above training images'"]
        text = f"{name}, rooms recognised − those in training images of the correct room"
    above = partial(difference_ci, 100 * told, 100 * control.expand(2, -1))
    return Measure(text, above, limit, False, " %", units=told.shape[1])


def _walks(records: Records) -> Iterator[Measure]:
    for name in ("dvae-image", "dvae-zu"):  # the models of Fig. 4 and Fig. 5

        def walked(what: str, name: str = name) -> Matrix:
            return matrix(records[name], f"pairs/walk, {what}")

        for drift, true, moved, whole, text in (
            ("estimated pose", "estimated pose of true images", "pose moved", "pose distance", "pose"),
            ("content", "content of true images", "content moved", "content distance", "content"),
        ):
            excess, exchange = walked(drift) - walked(true), walked(whole)
            for key, part, most, what in (
                ("7 drift", excess, True, f"drift of the {text} beyond that of true images ÷ a full exchange"),
                ("7 movement", walked(moved), False, f"movement of the {text} on its own walk ÷ a full exchange"),
            ):
                share = partial(share_ci, part, exchange, LIMITS[key])
                yield Measure(f"{name}, {what}", share, LIMITS[key], most, digits=2, units=exchange.shape[1])


def _beta_and_d(records: Records) -> Iterator[Measure]:
    units = matrix(records["ablation-100-64"], "factors/kl").shape[1]
    for over in ("β", "d"):
        for name, text in {"image": "image error", "kl": "KL"}.items():
            found = partial(slope, records, name, over)
            falls = (over, name) == ("β", "kl")
            yield Measure(f"exponent of the {text} in {over}", found, LIMITS["8 slope"], falls, digits=3, units=units)


def _beta_vae(records: Records) -> Iterator[Measure]:
    every = records["dvae-image-8"]
    found = {
        name: scores(every, lambda r, name=name: 100 * r.numbers["β-VAE score"][name])
        for name in ("images", "turned", "untrained")
    }
    own = partial(contrast_ci, [(1.0, found["images"])], log=False)
    yield Measure("score of codes from images", own, LIMITS["9 score"], False, " %")
    for other, text in (("turned", "of the same codes, randomly rotated"), ("untrained", "of an untrained encoder")):
        above = partial(contrast_ci, [(1.0, found["images"] - found[other])], log=False)
        limit = LIMITS["9 above another code's"]
        yield Measure(f"score − that {text}", above, limit, False, " %", control=True)


def _own_factor(records: Records) -> Iterator[Measure]:
    for data, (name,) in _sets("dvae-pose"):
        for source in ("labels", "image"):
            for factor, what in {"cpose": "CPose", "viewpoint": "viewpoint"}.items():
                text = f"{data}, from {source}: leak of the {what} into the other factor's part"
                share, every = partial(leak_ci, records[name], factor, source), records[name]
                units = matrix(every, "table 4/noise, cpose").shape[1]
                yield Measure(text, share, LIMITS["10 leak"], unit=" %", digits=0, units=units)


CLAIMS = [
    Definition(
        1,
        "The dVAE's 3D error is at most 10 % above the cross-modal VAE's.",
        "19.95 vs. 19.73 mm on RHD, 8.66 vs. 8.56 mm on STB: a ratio of 1.01",
        ("dvae-pose", "cross-modal", "dvae-pose-rhd", "cross-modal-rhd"),
        _close_to_the_baseline,
    ),
    Definition(
        2,
        "Joint training of the cross-modal VAE is steadier than alternating training, and its bound is better.",
        "“more stable and has better convergence properties” (Sec. 2.1), no numbers",
        ("steady-joint", "steady-alternating", "steady-passes"),
        _joint_is_steadier,
    ),
    Definition(
        3,
        "One latent predicts CPose, viewpoint and 3DPose, and viewpoint · CPose agrees with 3DPose.",
        "“we can predict viewpoint, CPose and 3DPose through one latent space” (Sec. 4.4), no numbers",
        ("dvae-pose-rhd", "only-cpose-rhd", "only-viewpoint-rhd"),
        _one_latent_predicts_all,
    ),
    Definition(
        4,
        "The dVAE has lower errors of CPose and 3DPose than the two-stream regressor of Zimmermann & Brox.",
        "“We outperform [Zimmermann & Brox] on both CPose and 3DPose” (Sec. 4.4); 3DPose on RHD 19.95 vs. 30.42 mm",
        ("dvae-pose", "two-stream", "dvae-pose-rhd", "two-stream-rhd"),
        _better_than_two_streams,
    ),
    Definition(
        5,
        "With few labels, poses without images (semi) and images with viewpoints (weak) lower the error; weak by more.",
        "up to 3.5 % and 7.5 % (Sec. 4.4)",
        tuple(f"{kind}-{m}" for kind in ("labelled", "semi", "weak") for m in LABELLED),
        _other_labels_help,
    ),
    Definition(
        6,
        "Pose transfer preserves the pose of one image and the content of the other.",
        "Fig. 6, no numbers",
        ("dvae-image", "cross-modal", "estimator"),
        lambda records: transfer_measures(records, "dvae-image"),
    ),
    Definition(
        7,
        "Walks in the content (the tag's part, or z_u) preserve the pose, and walks in the pose preserve the content.",
        "Figs. 4 and 5, no numbers",
        ("dvae-zu", "dvae-image"),
        _walks,
    ),
    Definition(
        8,
        "With larger β the reconstruction error grows and the KL falls; with larger d both grow.",
        "supplement, Fig. 1 and Sec. C",
        tuple(f"ablation-{b}-{d}" for b in BETAS for d in DIMENSIONS),
        _beta_and_d,
    ),
    Definition(
        9,
        "The β-VAE score at d = 8 is about 100 %.",
        "100 % (supplement, Sec. E)",
        ("dvae-image-8",),
        _beta_vae,
    ),
    Definition(
        10,
        "Each part of the latent contains its own factor and not the other one.",
        "supplement, Table 4: 3, 3, 18 and 35 %",
        ("dvae-pose", "dvae-pose-rhd"),
        _own_factor,
    ),
]
