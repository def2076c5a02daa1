"""The ten claims of the dVAE paper that this book holds its runs against, each computed from them (chapter 10)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.stats import binomtest, bootstrap
from torch import Tensor

from dvae_lib.experiments import BETAS, DIMENSIONS, LABELLED, counterfactuals, probes, with_seeds
from dvae_lib.experiments.run import Run
from dvae_lib.files import UserError
from dvae_lib.metrics.disentanglement import beta_vae_score
from dvae_lib.metrics.intervals import Interval, bootstrap_block_size, bootstrap_ci, drop_missing, improvement
from dvae_lib.models.objectives import elbo
from dvae_lib.report.verdicts import Claim, Measure

Runs = Mapping[str, Run]


@dataclass(frozen=True)
class Definition:
    """A claim before it is measured. printed: what the papers print for it.

    needs: experiments without which the data cannot tell. also_on_rhd: those of the same on the RHD-like set are
    needed as well, where there are any.
    """

    number: int
    text: str
    printed: str
    needs: tuple[str, ...]
    measure: Callable[[Runs], Iterator[Measure]]
    also_on_rhd: bool = False


def claim(number: int, runs: Runs, train: bool = False) -> Claim:
    """One of the ten, measured now. runs: all of a profile and data, by name.

    Raises UserError if one that it needs is not trained; with `train` it is trained then.
    """
    (asked,) = (definition for definition in CLAIMS if definition.number == number)
    if not set(asked.needs) <= set(runs):
        return Claim(number, asked.text, asked.printed, ())
    wanted = [other for name in asked.needs for other in with_seeds(name, runs)]
    on_rhd = [f"{name}-rhd" for name in asked.needs if asked.also_on_rhd and f"{name}-rhd" in runs]
    for name in wanted + on_rhd:
        if train:
            runs[name].train()
        elif not runs[name].trained:
            raise UserError(f"The run “{name}” is not trained: run `dvae train {name}`, or `dvae train --all`.")
    return Claim(number, asked.text, asked.printed, tuple(asked.measure(runs)))


def claims(runs: Runs) -> Iterator[Claim]:
    for definition in CLAIMS:
        yield claim(definition.number, runs)


def _sets(runs: Runs, *names: str) -> Iterator[tuple[str, int, list[Run]]]:
    """For each data set that has runs of these names: its name, its block size, and the runs."""
    for suffix in ("", "-rhd"):
        if all(f"{name}{suffix}" in runs for name in names):
            chosen = [runs[f"{name}{suffix}"] for name in names]
            data = chosen[0].experiment.data[0]
            yield data, bootstrap_block_size(data, len(chosen[0].errors["image"]["pose"])), chosen


def _errors(runs: list[Run], name: str, block_size: int) -> list[Tensor]:
    """The errors (N,) of what several runs read from the same images."""
    return [*drop_missing({i: run.errors["image"][name] for i, run in enumerate(runs)}, block_size).values()]


def _close_to_the_baseline(runs: Runs) -> Iterator[Measure]:
    for data, block_size, pair in _sets(runs, "dvae-pose", "cross-modal"):
        ours, theirs = _errors(pair, "pose", block_size)
        ratio = partial(bootstrap_ci, ours, block_size, theirs)
        yield Measure(f"{data}, error of the 3DPose, times the cross-modal VAE's", ratio, 1.1, digits=2)


def tail(values: np.ndarray, share: float = 0.2) -> np.ndarray:
    """The last of logged values; those of steps that did not log (NaN) are left out."""
    values = values[np.isfinite(values)]
    return values[-max(2, int(share * len(values))) :]


def bound_from_image(run: Run) -> np.ndarray:
    """Eq. 1 of a cross-modal VAE while it was trained; NaN at the steps that did not encode the image."""
    model, log = run.build(), {name: torch.from_numpy(values) for name, values in run.metrics.items()}
    likelihoods = {name: log[f"image→{name}"] for name in model.decoders}
    return elbo(likelihoods, log["image→kl"], model.lambdas, model.beta).numpy()


def _spread(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    return a.std(axis) / np.maximum(b.std(axis), 1e-12)  # two logged values may be drawn alike


def _spread_ci(ends: Sequence[np.ndarray], level: float) -> Interval:
    drawn = bootstrap(ends, _spread, confidence_level=level, method="percentile", random_state=0)
    return float(_spread(*ends)), *(float(end) for end in drawn.confidence_interval)


def _joint_is_steadier(runs: Runs) -> Iterator[Measure]:
    joint, other = runs["cross-modal"], runs["cross-modal-alternating"]
    logged = {"loss": [r.metrics["loss"] for r in (joint, other)]}
    logged["bound from the image"] = [bound_from_image(r) for r in (joint, other)]
    for name, both in logged.items():
        spread = partial(_spread_ci, [tail(values) for values in both])
        yield Measure(f"spread of the {name} at the end, times alternating's", spread, 1.0, digits=2)
    block_size = bootstrap_block_size(joint.experiment.data[0], joint.evaluation["samples"])
    for source in joint.experiment.encoded:
        both = drop_missing({r is joint: r.errors[source]["bound"] for r in (joint, other)}, block_size)
        above = partial(bootstrap_ci, both[True] - both[False], block_size)
        yield Measure(f"held-out bound from {source}, above alternating's", above, 0, at_most=False, digits=3)


def _one_latent_predicts_all(runs: Runs) -> Iterator[Measure]:
    for data, block_size, (run,) in _sets(runs, "dvae-pose"):
        own, guess = run.errors["image"], run.errors["mean pose"]
        for name, what in {"pose": "3DPose", "cpose": "CPose", "viewpoint": "viewpoint"}.items():
            both = drop_missing({"own": own[name], "guess": guess[name]}, block_size)
            ratio = partial(bootstrap_ci, both["own"], block_size, both["guess"])
            yield Measure(f"{data}, error of the {what}, times the mean answer's", ratio, 1.0, digits=2)
        both = drop_missing({"apart": own["disagreement_mm"], "error": own["pose"]}, block_size)
        ratio = partial(bootstrap_ci, both["apart"], block_size, both["error"])
        yield Measure(f"{data}, the two 3DPoses apart, times the error", ratio, 1.0, digits=2)


def _better_than_two_streams(runs: Runs) -> Iterator[Measure]:
    for data, block_size, pair in _sets(runs, "dvae-pose", "two-stream"):
        for name, what in {"cpose": "CPose", "pose": "3DPose"}.items():
            ours, theirs = _errors(pair, name, block_size)
            above = partial(bootstrap_ci, ours - theirs, block_size)
            yield Measure(f"{data}, error of the {what}, above the two streams'", above, 0.0, unit=" mm")


def _other_labels_help(runs: Runs) -> Iterator[Measure]:
    def pooled(kind: str) -> Tensor:  # a hand's errors after one another, so that they are redrawn as one
        columns = torch.stack([runs[f"{kind}-{m}"].errors["image"]["pose"] for m in LABELLED], 1)
        return columns[~columns.isnan().any(1)].flatten()  # without hands that show no joint

    for kind, other in (("semi", "labelled"), ("weak", "labelled"), ("weak", "semi")):
        below = partial(improvement, pooled(kind), pooled(other), len(LABELLED))
        yield Measure(f"{kind}, 3DPose's error below that of {other}", below, 0.0, False, " %")


def _rendered(run: Run) -> bool:
    return run.experiment.data[0].startswith("synth")


def _transfer(runs: Runs) -> Iterator[Measure]:
    run = runs["dvae-image"]
    if not _rendered(run):
        return
    model, estimator, pairs = run.load(), runs["cross-modal"].load(), counterfactuals.draw_pairs(run)
    drawn = counterfactuals.transfer(model, pairs.inputs)
    ours = counterfactuals.score(drawn, pairs.targets, estimator)
    others = counterfactuals.baselines(run, pairs, estimator)
    theirs = [counterfactuals.score(images, pairs.targets, estimator) for images in others.values()]
    for name, sign, unit, digits in (("psnr", 1, " dB", 2), ("ssim", 1, "", 3), ("epe", -1, " mm", 1)):
        best = max((scores[name] for scores in theirs), key=lambda values: sign * values.mean().item())
        above = partial(bootstrap_ci, ours[name] - best, pairs.contents_per_pose)
        title = {"epe": "the error of the pose read off"}.get(name, name.upper())
        yield Measure(f"{title}, above the best of {len(theirs)} baselines", above, 0.0, sign < 0, unit, digits)
    told, control = (
        counterfactuals.is_correct_content(images, pairs) for images in (drawn, others["nearest pose, right content"])
    )
    above = partial(bootstrap_ci, 100 * (told - control), pairs.contents_per_pose)
    yield Measure("the room recognised, above training images of the right one", above, 0.0, False, " %")


def _walks(runs: Runs) -> Iterator[Measure]:
    if not _rendered(runs["dvae-image"]):
        return
    estimator, pairs = runs["cross-modal"].load(), counterfactuals.draw_pairs(runs["dvae-image"])
    for name in ("dvae-image", "dvae-zu"):  # of Fig. 4 and of Fig. 5
        drifts = counterfactuals.drifts(runs[name].load(), pairs, estimator)
        for what, drift, true in (
            ("pose on walks in the content", "estimated pose", "estimated pose of true images"),
            ("content on walks in the pose", "content", "content of true images"),
        ):
            ratio = partial(bootstrap_ci, drifts[drift], pairs.contents_per_pose, drifts[true])
            yield Measure(f"{name}, drift of the {what}, times that of two true images", ratio, 1.0, digits=2)


def over_seeds(runs: Runs, name: str) -> dict[str, Tensor]:
    """Each sample's squared error (N,) of the image and KL of both factors, means over an experiment's seeds."""
    seeds = [runs[other].errors["factors"] for other in with_seeds(name, runs)]
    images, kls = ([errors[what] for errors in seeds] for what in ("image", "kl"))
    return {"image": torch.stack(images).square().mean(0), "kl": torch.stack(kls).mean(0)}


def _beta_and_d(runs: Runs) -> Iterator[Measure]:
    grid = {(b, d): over_seeds(runs, f"ablation-{b}-{d}") for b in BETAS for d in DIMENSIONS}
    block_size = bootstrap_block_size(runs["ablation-100-64"].experiment.data[0], len(grid[100, 64]["kl"]))

    lines = [("β", d, (BETAS[0], d), (BETAS[-1], d)) for d in DIMENSIONS]
    lines += [("d", b, (b, DIMENSIONS[0]), (b, DIMENSIONS[-1])) for b in BETAS]
    for name, title in {"image": "the image's error", "kl": "the KL"}.items():
        for what, other, least, most in lines:
            both = drop_missing({point: grid[point][name] for point in (least, most)}, block_size)
            growth = partial(bootstrap_ci, 100 * (both[most] - both[least]), block_size, both[least])
            at = f"d = {other}, β {least[0]} → {most[0]}" if what == "β" else f"β = {other}, d {least[1]} → {most[1]}"
            yield Measure(f"{at}, {title} grows by", growth, 0.0, (what, name) == ("β", "kl"), " %", 0)


def _beta_vae(runs: Runs) -> Iterator[Measure]:
    run = runs["dvae-image-8"]
    if not _rendered(run):
        return
    model, grid, tests = run.load(), probes.poses_and_contents(run), 500
    latents = {"labels": counterfactuals.encode(model, grid.batch), "images": probes.encode_images(model, grid.batch)}
    for name, z in latents.items():
        score = beta_vae_score(grid.as_array(z), samples=2 * tests)
        yield Measure(f"β-VAE score of codes from {name}", partial(_share_ci, score, tests), 95.0, False, " %")


def _share_ci(share: float, tests: int, level: float) -> Interval:
    """In per cent, with Wilson's interval."""
    ends = binomtest(round(share * tests), tests).proportion_ci(level, method="wilson")
    return 100 * share, 100 * float(ends.low), 100 * float(ends.high)


def _own_factor(runs: Runs) -> Iterator[Measure]:
    data, _, (run, cross_modal) = list(_sets(runs, "dvae-pose", "cross-modal"))[-1]
    errors = probes.table_4(run, cross_modal)
    block_size = bootstrap_block_size(data, len(errors["noise"]["cpose"]))
    columns = {name: {**column, "cpose": probes.area(column["cpose"])} for name, column in errors.items()}
    for source in ("labels", "image"):
        for factor, what in {"cpose": "CPose", "viewpoint": "viewpoint"}.items():
            text = f"{data}, from {source}: of what its own part tells of the {what}, the other's tells"
            leak = partial(probes.leak, columns, factor, source, block_size)
            yield Measure(text, leak, 50.0, unit=" %", digits=0)


CLAIMS = [
    Definition(
        1,
        "The dVAE's 3D error is at most 10 % above the cross-modal VAE's.",
        "19.95 against 19.73 mm on RHD, 8.66 against 8.56 mm on STB",
        ("dvae-pose", "cross-modal"),
        _close_to_the_baseline,
        also_on_rhd=True,
    ),
    Definition(
        2,
        "Joint training of the cross-modal VAE is steadier than alternating, and its bound is better at equal steps.",
        "“more stable and has better convergence properties” (Sec. 2.1), no numbers",
        ("cross-modal", "cross-modal-alternating"),
        _joint_is_steadier,
    ),
    Definition(
        3,
        "One latent predicts CPose, viewpoint and 3DPose, and viewpoint · CPose agrees with 3DPose.",
        "“we can predict viewpoint, CPose and 3DPose through one latent space” (Sec. 4.4), no numbers",
        ("dvae-pose",),
        _one_latent_predicts_all,
        also_on_rhd=True,
    ),
    Definition(
        4,
        "The dVAE beats the two-stream regressor of Zimmermann & Brox on CPose and 3DPose.",
        "“We outperform [Zimmermann & Brox] on both CPose and 3DPose” (Sec. 4.4); 3DPose on RHD 19.95 against 30.42 mm",
        ("dvae-pose", "two-stream"),
        _better_than_two_streams,
        also_on_rhd=True,
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
        ("dvae-image", "cross-modal"),
        _transfer,
    ),
    Definition(
        7,
        "Walking the content (a tag's part, or z_u) leaves the pose as it is, and walking the pose leaves the content.",
        "Figs. 4 and 5, no numbers",
        ("dvae-zu", "dvae-image", "cross-modal"),
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
        "supplement, Table 4",
        ("dvae-pose", "cross-modal"),
        _own_factor,
        also_on_rhd=True,
    ),
]
