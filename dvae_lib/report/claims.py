"""The ten claims of the dVAE paper that this book holds the study against, each computed from its records (chapter 10).

What is measured is in `quantities`, its limits are in `experiments.limits`.
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
    """A claim before it is measured. printed: what the papers print for it. needs: experiments, by name."""

    number: int
    text: str
    printed: str
    needs: tuple[str, ...]
    measure: Callable[[Records], Iterator[Measure]]


def claim(number: int, records: Records | None = None) -> Claim:
    """One of the ten, of the study's records, or of given ones."""
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
    """Those that the photographs of the digits can tell: pose transfer, and walks."""
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
            "1 error, times the cross-modal VAE's", f"{data}, 3DPose's error, times the cross-modal VAE's", *pair
        )


def _joint_is_steadier(records: Records) -> Iterator[Measure]:
    joint = records["steady-joint"]
    for name, of in (("steady-alternating", "at equal steps"), ("steady-passes", "at equal passes")):
        for what, text in (
            ("movement", "movement of fixed samples' latents"),
            ("spread", "jumps of the held-out bound"),
        ):
            ours, theirs = (scores(some, lambda r, what=what: steadiness(r)[what]) for some in (joint, records[name]))
            yield _ratio(f"2 {what}, times alternating's", f"{of}, {text}, times alternating's", ours, theirs)
        ours, theirs = (
            torch.stack([matrix(some, f"{s}/bound") for s in SOURCES]).mean(0) for some in (joint, records[name])
        )
        above = partial(difference_ci, ours, theirs)
        limit = LIMITS["2 final bound, above alternating's"]
        yield Measure(f"{of}, held-out bound, above alternating's", above, limit, False, digits=3, units=ours.shape[1])


def _one_latent_predicts_all(records: Records) -> Iterator[Measure]:
    ours = records["dvae-pose-rhd"]
    for name, what in {"cpose": "CPose", "viewpoint": "viewpoint"}.items():
        pair = (matrix(some, f"image/{name}") for some in (ours, records[f"only-{name}-rhd"]))
        text = f"synth-rhd, error of the {what}, times a regressor's of it alone"
        yield _ratio("3 error, times a regressor's of it alone", text, *pair)
    within = scores(ours, lambda r: r.arrays["image/apart"].float().mean().item())
    text = "synth-rhd, decoded and composed 3DPose apart, times two trainings'"
    yield _ratio("3 decoded and composed apart, times two trainings", text, within, trainings_apart(ours))


def _better_than_two_streams(records: Records) -> Iterator[Measure]:
    for data, (ours, theirs) in _sets("dvae-pose", "two-stream"):
        for what, own, other in (
            ("error of the CPose", "cpose", "cpose"),
            ("error of the decoded 3DPose", "pose", "pose"),
            ("error of the composed 3DPose", "composed", "pose"),
        ):
            pair = matrix(records[ours], f"image/{own}"), matrix(records[theirs], f"image/{other}")
            yield _ratio("4 error, times the two streams'", f"{data}, {what}, times the two streams'", *pair)


def _other_labels_help(records: Records) -> Iterator[Measure]:
    units = matrix(records["labelled-5"], "image/pose").shape[1]
    limit = LIMITS["5 error, times that with fewer labels"]
    for kind, other in (("semi", "labelled"), ("weak", "labelled"), ("weak", "semi")):
        ratio = partial(fewer_labels, records, kind, other)
        yield Measure(f"{kind}, 3DPose's error, times that of {other}", ratio, limit, digits=3, units=units)


def transfer_measures(records: Records, name: str) -> Iterator[Measure]:
    """Claim 6 of an experiment that transfers poses."""
    ours = records[name]
    for score, key, unit, digits in (("psnr", "PSNR", " dB", 2), ("ssim", "SSIM", "", 3)):
        best, theirs = best_baseline(records, score)
        above, mine = f"6 {key}, above the best baseline's", matrix(ours, f"pairs/{score}")
        text = f"{name}, {key}, above the best baseline's ({best})"
        yield Measure(
            text, partial(difference_ci, mine, theirs), LIMITS[above], False, unit, digits, units=mine.shape[1]
        )
    best, theirs = best_baseline(records, "epe")
    text = f"{name}, error of the pose read off, times the best baseline's ({best})"
    yield _ratio("6 pose read off, times the best baseline's", text, matrix(ours, "pairs/epe"), theirs)
    yield _content_is_told(records, name)
    mine, theirs = (scores(some, lambda r: r.numbers["fréchet"]) for some in (ours, records["cross-modal"]))
    text = f"{name}, Fréchet distance, times the cross-modal VAE's"
    yield _ratio("6 Fréchet distance, times the cross-modal VAE's", text, mine, theirs)


def _content_is_told(records: Records, name: str) -> Measure:
    judge = records["estimator"][0]
    if "pairs/student" in records[name][0].arrays:
        told, control = matrix(records[name], "pairs/student"), judge.by_unit("pairs/true image, student") / 2
        learnt = ~control.isnan()
        told, control = told[:, learnt], control[learnt]
        limit = ON_PHOTOGRAPHS["6 student recognised, above half of the true images'"]
        text = f"{name}, students recognised, above half of the true images'"
    else:
        told, control = matrix(records[name], "pairs/room"), judge.by_unit("pairs/nearest pose, right content, room")
        limit = LIMITS["6 room recognised, above training images'"]
        text = f"{name}, rooms recognised, above training images of the right one"
    above = partial(difference_ci, 100 * told, 100 * control.expand(2, -1))
    return Measure(text, above, limit, False, " %", units=told.shape[1])


def _walks(records: Records) -> Iterator[Measure]:
    for name in ("dvae-image", "dvae-zu"):  # of Fig. 4 and of Fig. 5

        def walked(what: str, name: str = name) -> Matrix:
            return matrix(records[name], f"pairs/walk, {what}")

        for drift, true, moved, whole, text in (
            ("estimated pose", "estimated pose of true images", "pose moved", "pose distance", "pose"),
            ("content", "content of true images", "content moved", "content distance", "content"),
        ):
            excess, exchange = walked(drift) - walked(true), walked(whole)
            for key, part, most, what in (
                ("7 drift", excess, True, f"the {text}'s drift beyond that of true images, of an exchange"),
                ("7 movement", walked(moved), False, f"the {text}'s movement where it is walked, of an exchange"),
            ):
                share = partial(share_ci, part, exchange, LIMITS[key])
                yield Measure(f"{name}, {what}", share, LIMITS[key], most, digits=2, units=exchange.shape[1])


def _beta_and_d(records: Records) -> Iterator[Measure]:
    units = matrix(records["ablation-100-64"], "factors/kl").shape[1]
    for over in ("β", "d"):
        for name, text in {"image": "image's error", "kl": "KL"}.items():
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
    for other, text in (("turned", "of the same codes, turned"), ("untrained", "of an encoder that was not trained")):
        above = partial(contrast_ci, [(1.0, found["images"] - found[other])], log=False)
        limit = LIMITS["9 above another code's"]
        yield Measure(f"above that {text}", above, limit, False, " %", control=True)


def _own_factor(records: Records) -> Iterator[Measure]:
    for data, (name,) in _sets("dvae-pose"):
        for source in ("labels", "image"):
            for factor, what in {"cpose": "CPose", "viewpoint": "viewpoint"}.items():
                text = f"{data}, from {source}: of what its own part tells of the {what}, the other's tells"
                share, every = partial(leak_ci, records[name], factor, source), records[name]
                units = matrix(every, "table 4/noise, cpose").shape[1]
                yield Measure(text, share, LIMITS["10 leak"], unit=" %", digits=0, units=units)


CLAIMS = [
    Definition(
        1,
        "The dVAE's 3D error is at most 10 % above the cross-modal VAE's.",
        "19.95 against 19.73 mm on RHD, 8.66 against 8.56 mm on STB: 1.01 times",
        ("dvae-pose", "cross-modal", "dvae-pose-rhd", "cross-modal-rhd"),
        _close_to_the_baseline,
    ),
    Definition(
        2,
        "Joint training of the cross-modal VAE is steadier than alternating, and its bound is better.",
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
        "The dVAE beats the two-stream regressor of Zimmermann & Brox on CPose and 3DPose.",
        "“We outperform [Zimmermann & Brox] on both CPose and 3DPose” (Sec. 4.4); 3DPose on RHD 19.95 against 30.42 mm",
        ("dvae-pose", "two-stream", "dvae-pose-rhd", "two-stream-rhd"),
        _better_than_two_streams,
    ),
    Definition(
        5,
        "With few labels, unlabelled poses (semi) and viewpoints alone (weak) both lower the error; weak more.",
        "up to 3.5 % and 7.5 % (Sec. 4.4)",
        tuple(f"{kind}-{m}" for kind in ("labelled", "semi", "weak") for m in LABELLED),
        _other_labels_help,
    ),
    Definition(
        6,
        "Pose transfer keeps the pose and takes the content.",
        "Fig. 6, no numbers",
        ("dvae-image", "cross-modal", "estimator"),
        lambda records: transfer_measures(records, "dvae-image"),
    ),
    Definition(
        7,
        "Walking the content (a tag's part, or z_u) leaves the pose as it is, and walking the pose leaves the content.",
        "Figs. 4 and 5, no numbers",
        ("dvae-zu", "dvae-image"),
        _walks,
    ),
    Definition(
        8,
        "β up: the reconstruction error grows and the KL falls. d up: both grow.",
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
        "Each part of the latent tells its own factor and not the other's.",
        "supplement, Table 4: 3, 3, 18 and 35 %",
        ("dvae-pose", "dvae-pose-rhd"),
        _own_factor,
    ),
]
