"""The 3D poses predicted from photographs whose hands are detected automatically: by the landmark network itself,
and by models that receive its detections (chapter 12).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from tqdm import tqdm

from dvae_lib.datasets import Part
from dvae_lib.datasets.own import PHOTO
from dvae_lib.datasets.realhand import RealHandSource
from dvae_lib.detect import Detector, Hand
from dvae_lib.experiments.run import Run
from dvae_lib.files import UserError, read_image
from dvae_lib.hand import Root, bone_scale, project, with_root
from dvae_lib.label import kept_square, read_twice
from dvae_lib.metrics import joint_errors, procrustes_errors, scaled_errors
from dvae_lib.metrics.intervals import Interval, bootstrap_block_size, bootstrap_ci
from dvae_lib.predict import Sight, Via, look, predict

LANDMARK_NETWORK = "MediaPipe"
_SIZE = 64  # pixels of the crops for a model whose only input is keypoints; it does not use the image
_BONE = 40.0  # mm: the bone length passed to `predict`; its poses are divided by it again


@dataclass(frozen=True)
class Reading:
    """The results of one method on N photographs, in order. errors: (N,) in mm, NaN where no hand was found, by the
    alignment with the truth: “protocol”, the true length of one bone; “size”, the true overall size; “Procrustes”, the
    best size and rotation; for the landmark network also “metres”, its own scale.
    seconds: the time per photograph.
    """

    errors: Mapping[str, Tensor]
    seconds: float

    @property
    def found(self) -> int:
        return int((~self.errors["protocol"].isnan()).sum())

    def interval(self, kind: str) -> Interval:
        """The mean over the photographs, with its bootstrap interval over blocks of the video."""
        values = self.errors[kind].nan_to_num(nan=self.errors[kind].nanmean().item())
        block = bootstrap_block_size("realhand", len(values))
        return bootstrap_ci(values[: len(values) // block * block], block)


def _compared(poses: Sequence[Tensor | None], truth: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The errors of poses (21, 3) in bone scales, or None, compared with a batch in the same order."""
    seen = torch.tensor([pose is not None for pose in poses])
    given = torch.stack([torch.zeros(21, 3) if pose is None else pose.float() for pose in poses])
    kinds = {"protocol": joint_errors, "size": scaled_errors, "Procrustes": procrustes_errors}
    return {
        name: torch.where(seen, measure(given + 1e-6, truth).nanmean(1), torch.nan) for name, measure in kinds.items()
    }


def _metres(hand: Hand, root_joint: Root) -> Tensor:
    """The joints (21, 3) that the landmark network predicts, in mm, relative to the root."""
    pose = with_root(torch.from_numpy(hand.world)[None], root_joint)[0]
    return pose - pose[0]


def readings(runs: Mapping[str, tuple[Run, Via]], detector: Detector, part: Part = "validation") -> dict[str, Reading]:
    """The results of the landmark network and of runs, each with its given input, on a part of realhand."""
    source = RealHandSource()
    run = next(iter(runs.values()))[0]
    (dataset, indices), root_joint = run.subsets(part)[0], run.experiment.root_joint
    truth = next(run.batches(part, len(indices)).in_order())
    paths = [source.photograph(int(frame)) for frame in np.asarray(dataset["frame"])[indices]]

    begun = time.perf_counter()
    hands = [detector.find(read_image(path)) for path in tqdm(paths, desc="Finding hands", unit="photograph")]
    seconds = (time.perf_counter() - begun) / len(paths)
    world = [_metres(found[0], root_joint) if found else None for found in hands]
    scaled = [None if pose is None else pose / bone_scale(pose[None])[0] for pose in world]
    own = torch.stack([torch.full((21, 3), torch.nan) if pose is None else pose.float() for pose in world])
    metres = (own - truth["pose"] * truth["scale"][:, None, None]).norm(dim=-1).mean(1)
    made = {LANDMARK_NETWORK: Reading(_compared(scaled, truth) | {"metres": metres}, seconds)}

    for name, (run, via) in runs.items():
        model, begun = run.load(), time.perf_counter()
        sights = [_surest(path, run.experiment.size or _SIZE, detector) for path in paths]
        here = [sight for sight in sights if sight]
        answers = iter(predict(model, here, via, _BONE, root_joint=root_joint))
        poses = [next(answers).pose / _BONE if sight else None for sight in sights]
        made[name] = Reading(_compared(poses, truth), (time.perf_counter() - begun) / len(paths))
    return made


@dataclass(frozen=True)
class Doubts:
    """The accuracy of the labels of `dvae label`, on photographs with true keypoints. once, twice: the mean 2D error of
    one prediction and of the mean of two, as a share of the hand's size. correlation: the rank correlation between the
    distance of the two predictions and the error of their mean. presence: the same correlation for the network's score
    for the presence of a hand.
    """

    once: float
    twice: float
    correlation: float
    presence: float


def doubts(detector: Detector, source: RealHandSource, frames: np.ndarray) -> Doubts:
    """The `Doubts` on photographs of realhand in which a hand is found both times."""
    rows = []
    truth = project(torch.from_numpy(source.pose[frames]), torch.from_numpy(source.K[frames])).numpy()
    for frame, true in zip(frames.tolist(), truth, strict=True):
        image = read_image(source.photograph(frame))
        if not (found := detector.find(image)):
            continue
        first = found[0]
        _, both, apart = read_twice(detector, image, first)
        box = kept_square(first)
        mean = both.keypoints * box.side / PHOTO + [box.left, box.top]
        size = np.ptp(true, axis=0).max()
        errors = [np.linalg.norm(read - true, axis=1).mean() / size for read in (first.keypoints, mean)]
        if apart < 1:
            rows.append((*errors, apart, first.presence))
    once, twice, apart_all, presence = np.array(rows).T
    return Doubts(
        float(once.mean()),
        float(twice.mean()),
        float(spearmanr(apart_all, twice).statistic),
        float(spearmanr(presence, twice).statistic),
    )


def _surest(path: Path, size: int, detector: Detector) -> Sight | None:
    try:
        return look(path, size, detector)[0]
    except UserError:
        return None


@dataclass(frozen=True)
class Count:
    """For some pictures: their number, and the numbers of hands in them, of hands found, and of false detections."""

    pictures: int
    hands: int
    found: int
    invented: int


def count_hands(pictures: Sequence[tuple[np.ndarray, int]], detector: Detector) -> Count:
    """pictures: (H, W, 3) uint8, each with its number of hands. Detections beyond this number count as invented."""
    seen = [(len(detector.find(image)), hands) for image, hands in pictures]
    return Count(
        len(seen),
        sum(hands for _, hands in seen),
        sum(min(number, hands) for number, hands in seen),
        sum(max(0, number - hands) for number, hands in seen),
    )
