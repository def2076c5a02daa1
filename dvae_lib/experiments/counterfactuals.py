"""Pose transfer put to the test: drawn images against the true counterfactual ones (chapters 04, 05).

Which image is *right* for the pose of one photograph and the content of another, nobody knows. Of rendered hands the
renderer knows: it draws the content's scene once more, with the other's pose and viewpoint in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from dvae_lib.datasets import open_source
from dvae_lib.datasets.batches import PERSON, Batches, make_batch
from dvae_lib.datasets.rendered import SyntheticSource, protocol_window
from dvae_lib.experiments.run import Run
from dvae_lib.metrics import joint_errors
from dvae_lib.models import DVAE, CrossModalVAE
from dvae_lib.synthetic.scenes import Scene, replace

Batch = Mapping[str, Tensor]
_FIELDS = ("image", "mask", "pose", "K", "visible", "right")
_MARGIN = 3  # pixels around a hand, of 64, that count as the hand's where content is compared


@dataclass(frozen=True)
class Pairs:
    """Held-out samples i, whose pose is wanted, and j, whose content is: N = poses × contents of each.

    index: (N, 2) of i and j in the data set. content: (N,) which background that of j is.
    asked: what a model is given: the pose as "pose", the image of j as "image" and as "tag".
    truth: the counterfactual images with their poses, a batch; "hand" is all of the person, the arm too.
    far: (N,) for each pair another, where walks go; posed: as truth, with the pose of that one in the content of j.
    each: how many contents each pose has; a pose's pairs follow one another.
    """

    index: NDArray
    content: Tensor
    asked: Batch
    truth: Batch
    far: Tensor
    posed: Batch
    each: int


def samples_at(run: Run, indices: NDArray, names: Sequence[str] = ("image",)) -> Batches:
    """Samples of a run's first data set, as they are."""
    dataset, _ = run.subsets("test")[0]
    return Batches([(dataset, indices)], 256, names, root=run.experiment.root_joint)


def images(run: Run, chosen: NDArray) -> Tensor:
    """The images (N, 3, S, S) of samples (N,) of a run's first data set."""
    return torch.cat([batch["image"] for batch in samples_at(run, chosen).in_order()])


def render(run: Run, source: SyntheticSource, scene: Scene) -> dict[str, Tensor]:
    """A batch of scenes, the crop cut anew as the protocol does around any hand."""
    raw = source.render(protocol_window(scene), run.experiment.size)
    block = {name: torch.as_tensor(raw[name]) for name in _FIELDS}
    block["mask"] = (block["mask"] > 0) * (PERSON + 1)  # the arm is no room
    return make_batch(block, run.experiment.size, root=run.experiment.root_joint)


def draw_pairs(run: Run, poses: int = 96, seed: int = 0) -> Pairs:
    """Poses spread evenly over the test samples of a run on rendered hands, each with a sample of every other content.

    The truth is the scene of j, with its room, person, light, camera and the hand's place, and in it the angles and
    the viewpoint of i.
    """
    dataset, test = run.subsets("test")[0]
    generator = np.random.default_rng(seed)
    content = np.asarray(dataset["content"])
    kinds = np.unique(content[test])
    chosen = test[np.linspace(0, len(test) - 1, min(poses, len(test))).astype(int)]
    index = np.array(
        [(i, generator.choice(test[content[test] == kind])) for i in chosen for kind in kinds if kind != content[i]]
    )
    source = open_source(dataset.name, **run.experiment.options.get(dataset.name, {}))
    of_pose, of_content = (source.scene(indices) for indices in index.T)
    n = len(index)
    far = np.roll(np.arange(n), -(n // 2 + 1))  # half the list away, and one more: those have the same contents
    truth, posed = (
        render(run, source, replace(of_content, pose, "pose", "viewpoint")) for pose in (of_pose, of_pose[far])
    )
    image = images(run, index[:, 1])
    asked = {"pose": truth["pose"], "image": image, "tag": image}
    content_of_j = torch.from_numpy(content[index[:, 1]])
    return Pairs(index, content_of_j, asked, truth, torch.from_numpy(far), posed, len(kinds) - 1)


@torch.inference_mode()
def encode(model: DVAE, asked: Batch) -> Tensor:
    """z (N, d), each part the mean of its posterior: the pose's from the pose, the content's from the image."""
    return model.join({name: q.mean for name, q in model.encode(asked).items()})


@torch.inference_mode()
def transfer(model: DVAE, asked: Batch) -> Tensor:
    """Images (N, 3, S, S) with the poses of `asked` and the content of its images."""
    return model.decode(encode(model, asked), ["image"])["image"]


@torch.inference_mode()
def baselines(run: Run, pairs: Pairs, cross_modal: CrossModalVAE) -> dict[str, Tensor]:
    """What can be shown without taking images apart, each (N, 3, S, S):

    the cross-modal VAE's one image of a pose; the training image of the nearest pose, of any content and of the right
    one; the mean of all training images, and of those with the right content.
    """
    dataset, train = run.subsets("train")[0]
    content = torch.from_numpy(np.asarray(dataset["content"])[train])
    poses = torch.cat([batch["pose"] for batch in samples_at(run, train, ()).in_order()])
    distance = torch.stack([(poses - pose).norm(dim=-1).mean(-1) for pose in pairs.asked["pose"]])
    right = content == pairs.content[:, None]
    nearest = {"nearest pose": distance, "nearest pose, right content": distance.where(right, torch.inf)}

    kinds = pairs.content.unique()
    totals = torch.zeros(len(kinds), *pairs.asked["image"].shape[1:])
    for batch, own in zip(samples_at(run, train).in_order(), content.split(256), strict=True):
        for k, kind in enumerate(kinds):
            totals[k] += batch["image"][own == kind].sum(0)
    counts = (content == kinds[:, None]).sum(1)
    mean = totals.sum(0) / counts.sum()
    means = totals / counts[:, None, None, None]
    return {
        "cross-modal VAE": cross_modal.translate("pose", pairs.asked["pose"], "image"),
        **{name: images(run, train[d.argmin(1).numpy()]) for name, d in nearest.items()},
        "mean image": mean.expand_as(pairs.asked["image"]),
        "mean image, right content": means[torch.searchsorted(kinds, pairs.content)],
    }


@torch.inference_mode()
def read_off(images: Tensor, truth: Batch, estimator: CrossModalVAE) -> Tensor:
    """The error (N,) in mm of the pose that an estimator reads off images (N, 3, S, S), against that of the truth."""
    return joint_errors(estimator.translate("image", images, "pose"), truth).nanmean(-1)


@torch.inference_mode()
def score(images: Tensor, truth: Batch, estimator: CrossModalVAE) -> dict[str, Tensor]:
    """Images (N, 3, S, S) against the true ones, a value (N,) for each of:

    psnr in dB and ssim, of the whole image; epe in mm, of the pose that an estimator reads off the image; background,
    the root mean square error outside the hand, on [−1, 1].
    """
    whole = {"data_range": 2.0, "reduction": "none"}
    return {
        "psnr": peak_signal_noise_ratio(images, truth["image"], dim=(1, 2, 3), **whole),
        "ssim": structural_similarity_index_measure(images, truth["image"], **whole),
        "epe": read_off(images, truth, estimator),
        "background": _rmse(images, truth["image"], ~truth["hand"]),
    }


@torch.inference_mode()
def recognised(images: Tensor, pairs: Pairs) -> Tensor:
    """1 for each of images (N, 3, S, S) that shows the room asked for, else 0 (N,): where nobody is, the nearest of the
    true images of its pose in all contents is the right one.
    """
    truth, hand, drawn = (x.unflatten(0, (-1, pairs.each)) for x in (pairs.truth["image"], pairs.truth["hand"], images))
    apart = torch.stack([_rmse(drawn, truth[:, [k]], ~hand[:, [k]]) for k in range(pairs.each)], -1)
    return (apart.argmin(-1) == torch.arange(pairs.each)).float().flatten()


def _rmse(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """Of images (…, 3, S, S) over the pixels `where` (bool, broadcastable): (…)."""
    where = where.expand_as(a)
    return (((a - b).square() * where).sum((-3, -2, -1)) / where.sum((-3, -2, -1))).sqrt()


@torch.inference_mode()
def drifts(model: DVAE, pairs: Pairs, estimator: CrossModalVAE, steps: int = 7) -> dict[str, Tensor]:
    """What moves on a walk and should not, for each pair; the walks go from its pose and content to those of another.

    A value (N,) each, means over the steps after the first:
    pose, read and pose, decoded: on a walk in the content, how far the pose is from where it started, in mm, as the
    estimator reads it off the images and as the model decodes it. poses: how far the ends' true poses are apart.
    content: on a walk in the pose, how far the room is from where it started, where nobody is at either end, RMSE on
    [−1, 1]. contents: how far the two ends' contents are apart, for the same pose, over the same pixels.
    pose, true images and content, true images: the same of two true images, with another content and another pose.
    """
    z, truth, posed = encode(model, pairs.asked), pairs.truth, pairs.posed
    others = [name for name in model.parts if name != "pose"]

    def read(image: Tensor) -> Tensor:
        return estimator.translate("image", image, "pose")

    def apart(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).norm(dim=-1).mean(-1) * truth["scale"]

    in_content = [model.decode(step, ["image", "pose"]) for step in model.walk(z, z[pairs.far], steps, others)]
    in_pose = [model.decode(step, ["image"])["image"] for step in model.walk(z, z[pairs.far], steps, ["pose"])]
    first, *images = (means["image"] for means in in_content)
    own, *poses = (means["pose"] for means in in_content)
    by_pose = read(truth["image"]).unflatten(0, (-1, pairs.each))
    person = (truth["hand"] | posed["hand"]).float()
    margin = max(1, _MARGIN * person.shape[-1] // 64)
    room = max_pool2d(person, 2 * margin + 1, stride=1, padding=margin) == 0
    return {
        "pose, read": torch.stack([apart(read(image), read(first)) for image in images]).mean(0),
        "pose, decoded": torch.stack([apart(pose, own) for pose in poses]).mean(0),
        "pose, true images": apart(by_pose.flatten(0, 1), by_pose.roll(1, 1).flatten(0, 1)),
        "poses": apart(posed["pose"], truth["pose"]),
        "content": torch.stack([_rmse(image, in_pose[0], room) for image in in_pose[1:]]).mean(0),
        "content, true images": _rmse(posed["image"], truth["image"], room),
        "contents": _rmse(images[-1], first, room),
    }
