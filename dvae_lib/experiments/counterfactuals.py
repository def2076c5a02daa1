"""Evaluates pose transfer where the true counterfactual image is known (chapters 04, 05, 12).

A model combines the pose of one image with the content of another. For rendered hands, the renderer produces the true
result: the scene of the second image with the pose and viewpoint of the first. For the digits it is a photograph: the
student of the second image also made the gesture of the first one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from dvae_lib.datasets import Part, tag_candidates
from dvae_lib.datasets.batches import PERSON, Batches, make_batch
from dvae_lib.datasets.rendered import SyntheticSource, protocol_window
from dvae_lib.datasets.tags import Tags
from dvae_lib.experiments.run import Run
from dvae_lib.metrics import joint_errors
from dvae_lib.models import DVAE, CrossModalVAE, Regressor
from dvae_lib.synthetic.scenes import Scene, replace

Batch = Mapping[str, Tensor]
Estimator = CrossModalVAE | DVAE | Regressor  # predicts poses from images
_FIELDS = ("image", "mask", "pose", "K", "visible", "right")
_MARGIN = 3  # pixels around a hand, at 64 pixels, that are excluded when content is compared


@dataclass(frozen=True)
class Pairs:
    """N pairs of held-out samples: i gives the pose, j the content. For rendered hands, each pose has one pair with
    every other content; for photographs, i is the target itself, another photograph of the student of j.

    index: (N, 2), i and j in the data set. content: (N,), the background of j, or its student.
    inputs: what a model is given: "pose" (N, 21, 3) of i; "image" and "tag" (N, 3, S, S), both the image of j; "place"
        (N, 3), the position of the target's crop.
    targets: a batch with the true counterfactual images; its "hand" (N, 1, S, S) marks the whole person, with the arm,
        or the `hand.silhouette` of a photograph's joints.
    partner: (N,), for each pair the pair at which its walks end.
    pose_swapped_targets: like targets, with the partner's pose, or gesture, in the content of j.
    contents_per_pose: the number of contents of each pose; the pairs of a pose follow one another.
    unit: (N,), the group of dependent pairs: those of one pose, or of one student.
    learnt: (N,), whether the content occurs in training.
    """

    index: np.ndarray
    content: Tensor
    inputs: Batch
    targets: Batch
    partner: Tensor
    pose_swapped_targets: Batch
    contents_per_pose: int
    unit: Tensor
    learnt: Tensor


def samples_at(run: Run, indices: np.ndarray, names: Sequence[str] = ("image",), part: Part = "validation") -> Batches:
    """Samples (N,) of the data set that contains a part of a run's first data set, without augmentation."""
    dataset, _ = run.subsets(part)[0]
    return Batches([(dataset, indices)], 256, names, root_joint=run.experiment.root_joint)


def images(run: Run, indices: np.ndarray, part: Part = "validation") -> Tensor:
    """The images (N, 3, S, S) of `samples_at`."""
    return torch.cat([batch["image"] for batch in samples_at(run, indices, part=part).in_order()])


def render(run: Run, source: SyntheticSource, scene: Scene) -> dict[str, Tensor]:
    """A batch of scenes, each cropped around its hand by the protocol."""
    raw = source.render(protocol_window(scene), run.experiment.crop)
    block = {name: torch.as_tensor(raw[name]) for name in _FIELDS}
    block["mask"] = (block["mask"] > 0) * (PERSON + 1)  # the arm is not part of the room
    return make_batch(block, run.experiment.crop, root_joint=run.experiment.root_joint)


def draw_pairs(run: Run, poses: int = 96, seed: int = 0, part: Part = "validation") -> Pairs:
    """Pairs for poses spread evenly over a part of a run's rendered samples, each pose with a sample of every other
    content.

    A target is the scene of j (its room, person, light, camera and the hand's place) with the joint angles and the
    viewpoint of i.
    """
    dataset, held_out = run.subsets(part)[0]
    generator = np.random.default_rng(seed)
    content = np.asarray(dataset["content"])
    contents = np.unique(content[held_out])
    chosen = held_out[np.linspace(0, len(held_out) - 1, min(poses, len(held_out))).astype(int)]
    index = np.array(
        [(i, generator.choice(held_out[content[held_out] == c])) for i in chosen for c in contents if c != content[i]]
    )
    source = run.source(part)
    pose_scene, content_scene = (source.scene(indices) for indices in index.T)
    n = len(index)
    partner = np.roll(np.arange(n), -(n // 2 + 1))  # half the list plus one: half alone would keep the content
    targets, pose_swapped_targets = (
        render(run, source, replace(content_scene, scene, "pose", "viewpoint"))
        for scene in (pose_scene, pose_scene[partner])
    )
    image = images(run, index[:, 1], part)
    return Pairs(
        index,
        torch.from_numpy(content[index[:, 1]]),
        {"pose": targets["pose"], "place": targets["place"], "image": image, "tag": image},
        targets,
        torch.from_numpy(partner),
        pose_swapped_targets,
        len(contents) - 1,
        torch.arange(n) // (len(contents) - 1),
        torch.ones(n, dtype=torch.bool),
    )


def of_photographs(run: Run) -> bool:
    """Whether the true counterfactuals are photographs, not rendered images."""
    return run.experiment.data[0] == "digits"


def photographed_pairs(run: Run, seed: int = 0, part: Part = "validation") -> Pairs:
    """A pair for every photograph of a part of the digits: its pose and another photograph of its student.

    A walk ends at a photograph of another student and another gesture, such that the first student also made that
    gesture.
    """
    dataset, held_out = run.subsets(part)[0]
    student, gesture = np.asarray(dataset["content"]), np.asarray(dataset["sequence"])
    tags = Tags(dataset, held_out, tag_candidates(dataset, part, held_out))
    index = np.stack([held_out, tags.draw(held_out, np.random.default_rng(seed))], axis=1)
    photograph_of = {key: i for i, key in enumerate(zip(student.tolist(), gesture.tolist(), strict=True))}
    partner, swapped, n = [], [], len(held_out)
    for place, i in enumerate(held_out):
        others = (place + n // 2 + np.arange(n)) % n  # from half the list away onwards
        known = ((o, photograph_of.get((student[i], gesture[held_out[o]]))) for o in others.tolist())
        end, photograph = next(
            (o, p)
            for o, p in known
            if p is not None and student[held_out[o]] != student[i] and gesture[held_out[o]] != gesture[i]
        )
        partner.append(end)
        swapped.append(photograph)
    asked, shown, swapped_samples = (
        _one_batch(samples_at(run, samples, ("image", "hand"), part))
        for samples in (index[:, 0], index[:, 1], np.array(swapped))
    )
    ends = torch.tensor(partner)
    inputs = {"pose": asked["pose"], "place": asked["place"], "image": shown["image"], "tag": shown["image"]}
    # The walk ends at the partner's own pose; that of the pair's student in this gesture is only similar.
    reached = swapped_samples | {"pose": asked["pose"][ends]}
    content, unit = torch.from_numpy(student[held_out]), torch.from_numpy(run.units(part))
    learnt = torch.from_numpy(np.isin(student[held_out], student[run.subsets(run.learnt_from)[0][1]]))
    return Pairs(index, content, inputs, asked, ends, reached, 1, unit, learnt)


def _one_batch(batches: Batches) -> dict[str, Tensor]:
    blocks = list(batches.in_order())
    return {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}


@torch.inference_mode()
def encode(model: DVAE, batch: Batch) -> Tensor:
    """z (N, d), the mean of each slice's posterior: given its own factor, or the observation for z_u."""
    return model.latent_from_factors(batch)


@torch.inference_mode()
def transfer(model: DVAE, inputs: Batch) -> Tensor:
    """Images (N, 3, S, S) with the poses of `inputs` and the content of its images."""
    return model.decode(encode(model, inputs), ["image"])["image"]


@torch.inference_mode()
def baselines(
    run: Run, pairs: Pairs, cross_modal: CrossModalVAE | None, part: Part = "validation"
) -> dict[str, Tensor]:
    """The images (N, 3, S, S) of methods without disentanglement:

    the cross-modal VAE's image of a pose, if it is given; the training image with the nearest pose, with any content
    and with the correct one; the mean of all training images, and of those with the correct content. For the correct
    student of the digits, held-out photographs other than the target are included, as some students have no others.
    """
    dataset, train = run.subsets(run.learnt_from)[0]
    pool = np.union1d(train, tag_candidates(dataset, part, run.subsets(part)[0][1])) if of_photographs(run) else train
    content, learnt = torch.from_numpy(np.asarray(dataset["content"])[pool]), torch.from_numpy(np.isin(pool, train))
    poses = torch.cat([batch["pose"] for batch in samples_at(run, pool, (), "train").in_order()])
    distance = torch.stack([(poses - pose).norm(dim=-1).mean(-1) for pose in pairs.inputs["pose"]])
    asked = torch.from_numpy(pool == pairs.index[:, :1])
    right = (content == pairs.content[:, None]) & ~asked
    distances = {
        "nearest pose": distance.where(learnt, torch.inf),
        "nearest pose, right content": distance.where(right, torch.inf),
    }

    contents, of_pair = pairs.content.unique(return_inverse=True)
    total, totals = (torch.zeros(n, *pairs.inputs["image"].shape[1:]) for n in (1, len(contents)))
    batches = samples_at(run, pool, part="train").in_order()
    for batch, batch_content, counted in zip(batches, content.split(256), learnt.split(256), strict=True):
        total += batch["image"][counted].sum(0)
        for k, c in enumerate(contents):
            totals[k] += batch["image"][batch_content == c].sum(0)
    others = totals[of_pair] - pairs.targets["image"] * asked.any(1)[:, None, None, None]
    drawn = {"cross-modal VAE": cross_modal.translate("pose", pairs.inputs["pose"], "image")} if cross_modal else {}
    return {
        **drawn,
        **{name: images(run, pool[d.argmin(1).numpy()], "train") for name, d in distances.items()},
        "mean image": (total / learnt.sum()).expand_as(pairs.inputs["image"]),
        "mean image, right content": others / right.sum(1)[:, None, None, None],
    }


@torch.inference_mode()
def estimated_pose_error(images: Tensor, targets: Batch, estimator: Estimator) -> Tensor:
    """The error (N,) in mm of the poses that an estimator predicts from images (N, 3, S, S), against the targets.

    It is the mean over the visible joints; NaN where none is visible.
    """
    return joint_errors(estimator.translate("image", images, "pose"), targets).nanmean(-1)


@torch.inference_mode()
def score(images: Tensor, targets: Batch, estimator: Estimator) -> dict[str, Tensor]:
    """Compares images (N, 3, S, S) with the true ones; each score is (N,):

    psnr in dB and ssim of the whole image; epe in mm, the `estimated_pose_error`; background, the root mean square
    error outside the person, on [−1, 1].
    """
    truth = targets["image"]
    return {
        "psnr": peak_signal_noise_ratio(images, truth, data_range=2.0, reduction="none", dim=(1, 2, 3)),
        "ssim": cast(Tensor, structural_similarity_index_measure(images, truth, data_range=2.0, reduction="none")),
        "epe": estimated_pose_error(images, targets, estimator),
        "background": _rmse(images, truth, ~targets["hand"]),
    }


@torch.inference_mode()
def is_correct_student(images: Tensor, pairs: Pairs, estimator: Estimator) -> Tensor:
    """1 for each of images (N, 3, S, S) in which the estimator recognises the student of its pair, else 0: (N,).

    The estimator predicts the person; NaN for students who do not occur in training.
    """
    told = estimator.translate("image", images, "content").argmax(1)
    return torch.where(pairs.learnt, (told == pairs.content).float(), torch.nan)


@torch.inference_mode()
def is_correct_room(images: Tensor, pairs: Pairs) -> Tensor:
    """1 for each of images (N, 3, S, S) whose room is that of its pair, else 0: (N,).

    An image is compared, outside the person, with the true images of its pose in all rooms; the nearest one must be
    that of its pair.
    """
    k = pairs.contents_per_pose
    targets, person, images = (x.unflatten(0, (-1, k)) for x in (pairs.targets["image"], pairs.targets["hand"], images))
    distance = torch.stack([_rmse(images, targets[:, [i]], ~person[:, [i]]) for i in range(k)], -1)
    return (distance.argmin(-1) == torch.arange(k)).float().flatten()


def _rmse(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """The root mean square difference (…) of images (…, 3, S, S) over the pixels `where` (bool, broadcastable)."""
    where = where.expand_as(a)
    return (((a - b).square() * where).sum((-3, -2, -1)) / where.sum((-3, -2, -1))).sqrt()


@torch.inference_mode()
def drifts(model: DVAE, pairs: Pairs, estimator: Estimator) -> dict[str, Tensor]:
    """The changes on walks from the latent of each pair to that of its partner, in one part while the other is fixed.

    Each value is (N,), the distance between the end and the start of a walk; in the latent, the end is farthest away.
    A walk in the content should preserve the pose: "estimated pose", the drift in mm of the pose that the estimator
    predicts from the images; "decoded pose", that of the decoded pose; "content moved", the distance between the images
    outside the persons, RMSE on [−1, 1]. A walk in the pose should preserve the content: "content", the drift of the
    images outside the persons; "pose moved", the distance in mm between the estimated poses. For comparison, "pose
    distance" and "content distance" are those between the true poses and contents of the two ends, and "estimated pose
    of true images" and "content of true images" those between two true images that differ only in content or in pose.
    """
    z = encode(model, pairs.inputs)
    targets, pose_swapped, partner = pairs.targets, pairs.pose_swapped_targets, pairs.partner
    content_slices = [name for name in model.slices if name not in ("pose", "place")]

    def estimate(image: Tensor) -> Tensor:
        return estimator.translate("image", image, "pose")

    def pose_distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).norm(dim=-1).mean(-1) * targets["scale"]

    def room(*batches: Batch) -> Tensor:
        """The pixels (N, 1, S, S) that are farther than a margin from the persons in all batches."""
        person = torch.stack([batch["hand"] for batch in batches]).any(0).float()
        margin = max(1, _MARGIN * person.shape[-1] // 64)
        return max_pool2d(person, 2 * margin + 1, stride=1, padding=margin) == 0

    start = model.decode(z, ["image", "pose"])
    other_content = model.decode(model.swap(z, z[partner], content_slices), ["image", "pose"])
    other_pose = model.decode(model.swap(z, z[partner], ["pose"]), ["image"])["image"]
    ends = {name: targets[name][partner] for name in ("image", "hand")}
    true_image_poses = estimate(targets["image"]).unflatten(0, (-1, pairs.contents_per_pose))
    in_both_poses, in_both_contents = room(targets, pose_swapped), room(targets, ends)
    start_pose = estimate(start["image"])
    return {
        "estimated pose": pose_distance(estimate(other_content["image"]), start_pose),
        "decoded pose": pose_distance(other_content["pose"], start["pose"]),
        "estimated pose of true images": pose_distance(
            true_image_poses.flatten(0, 1), true_image_poses.roll(1, 1).flatten(0, 1)
        ),
        "pose moved": pose_distance(estimate(other_pose), start_pose),
        "pose distance": pose_distance(pose_swapped["pose"], targets["pose"]),
        "content": _rmse(other_pose, start["image"], in_both_poses),
        "content of true images": _rmse(pose_swapped["image"], targets["image"], in_both_poses),
        "content moved": _rmse(other_content["image"], start["image"], in_both_contents),
        "content distance": _rmse(ends["image"], targets["image"], in_both_contents),
    }
