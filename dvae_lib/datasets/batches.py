"""From prepared arrays to the batches that models see: mirrored to left hands, augmented, normalised."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dvae_lib.datasets.augmentation import (
    Augmentation,
    Draws,
    jitter_colour,
    pixel_map,
    replace_background,
    warp,
)
from dvae_lib.datasets.dataset import Dataset
from dvae_lib.datasets.tags import Tags
from dvae_lib.files import UserError
from dvae_lib.hand import MIDDLE_MCP, Root, bone_scale, palm_centre, project, silhouette, with_root
from dvae_lib.hand.canonical import canonicalise

# Half the depth that a normalised depth image spans around the root, in bone scales (about 16 cm).
DEPTH_RANGE = 4.0
PERSON = 1  # of RHD's part ids: what is above it is a hand


def normalise_depth(depth: Tensor, root_depth: Tensor, scale: Tensor) -> Tensor:
    """Depth (B, S, S) mm → (B, 1, S, S) in [−1, 1] around the root's depth (B,); unknown and far are 1."""
    relative = (depth.float() - root_depth[:, None, None]) / (DEPTH_RANGE * scale[:, None, None])
    return torch.where(depth == 0, 1.0, relative.clamp(-1, 1))[:, None]


def make_batch(
    raw: Mapping[str, Tensor],
    size: int,
    augmentation: Augmentation | None = None,
    draws: Draws | None = None,
    root: Root = "palm",
    hand: bool = True,
) -> dict[str, Tensor]:
    """Turns a block of stored samples (the schema of `dvae_lib.datasets`), crops of `size` pixels, into a batch.

    Returns what the schema has, as floats, and for the model:
    image (B, 3, S, S) and depth (B, 1, S, S) in [−1, 1], mid-grey and far outside the crop; hand (B, 1, S, S), true
    where the mask shows a hand, unless `hand` is false;
    pose (B, 21, 3) relative to the root, in bone scales, and what it is composed of, cpose (B, 21, 3) and viewpoint
    (B, 3, 3); keypoints (B, 21, 2), the crop spanning [−1, 1];
    and for evaluation root (B, 3) mm, scale (B,) mm, K (B, 3, 3), visible (B, 21); the palm counts as visible if the
    wrist or the middle MCP is, as in the protocol of Zimmermann & Brox.
    """
    augmentation, flip = augmentation or Augmentation(), raw["right"].bool()
    draws = draws or Draws(0)
    if augmentation.flip:
        flip = flip ^ (draws.uniform(flip.shape, flip) > 0)
    A, G = pixel_map(raw, size, augmentation, flip, draws)

    palm = raw["palm"] if "palm" in raw else palm_centre(raw["pose"])
    pose = with_root(raw["pose"], root, palm) @ G.mT
    visible = raw["visible"].clone()
    if root == "palm":
        visible[:, 0] |= visible[:, MIDDLE_MCP]
    K = A @ raw["K"] @ G.mT
    scale, origin = bone_scale(pose), pose[:, 0]
    normalised = (pose - origin[:, None]) / scale[:, None, None]
    cpose, viewpoint = canonicalise(normalised)  # of left hands, and of right ones where augmentation flips
    batch = {
        "pose": normalised,
        "cpose": cpose,
        "viewpoint": viewpoint,
        "keypoints": 2 * project(pose, K) / size - 1,
        "root": origin,
        "scale": scale,
        "K": K,
        "visible": visible,
    }
    moved = not torch.equal(A, torch.eye(3, device=A.device).expand_as(A))
    if "image" in raw:
        image = (raw["image"] / 127.5).sub_(1)
        if augmentation.background and "mask" in raw:
            image = replace_background(image, raw["mask"], augmentation.background, draws)
        if augmentation.colour:
            image = jitter_colour(image, augmentation.colour, draws)
        batch["image"] = warp(image, A) if moved else image
    if hand and "mask" in raw:
        shown = (raw["mask"] > PERSON).float()[:, None]
        batch["hand"] = (warp(shown, A, mode="nearest") if moved else shown) > 0.5
    if "depth" in raw:
        depth = normalise_depth(raw["depth"], origin[:, 2], scale)
        batch["depth"] = warp(depth, A, outside=1.0, mode="nearest") if moved else depth
    return batch


@lru_cache(maxsize=8)
def _shuffled(count: int, *seed: int) -> np.ndarray:
    """An order of `count` samples. Kept: each batch of an epoch asks for it, and to shuffle many takes a while."""
    return np.random.default_rng(seed).permutation(count)


LABELS = ("pose", "cpose", "viewpoint")


class Part(NamedTuple):
    """Samples of a data set, and which of the `LABELS` a model may see of them: all, or those of weak supervision."""

    dataset: Dataset
    indices: np.ndarray
    known: Sequence[str] = LABELS


class Batches:
    """The batches of one or several data sets, each a pure function of (seed, step): a resumed run sees the same.

    parts: `Part`s, or (data set, indices) where all labels are known; every batch draws an equal share from each.
        Where a label is known in some parts only, training batches have a mask (B,) for it, as "pose known".
    names: which of "image", "depth", "hand" (by the data sets' masks, or by `hand.silhouette` where one has none) and
        "tag" (another image of the same content, unchanged by augmentation: see `tags`) to load; poses and cameras
        always are.
    rank, world: this process's share of the global batch when several train together.
    """

    def __init__(
        self,
        parts: Sequence[Part | tuple[Dataset, np.ndarray]],
        batch_size: int,
        names: Sequence[str] = ("image",),
        augmentation: Augmentation | None = None,
        root: Root = "palm",
        seed: int = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ):
        self.parts, self.batch_size, self.augmentation = [Part(*part) for part in parts], batch_size, augmentation
        self.fields = [
            *(name for name in ("image", "depth") if name in names),
            "pose",
            "K",
            "visible",
            "right",
        ]
        self.hand = "hand" in names
        masked = self.hand or (augmentation and augmentation.background)
        if masked and all("mask" in part.dataset.arrays for part in self.parts):
            self.fields.append("mask")
        self.tags = [Tags(part.dataset, part.indices) for part in self.parts] if "tag" in names else []
        if batch_size // len(self.parts) % world:
            raise UserError(
                f"{world} processes cannot share batches of {batch_size}, an equal share from each of "
                f"{len(self.parts)} sets: choose as many devices as divide {batch_size // len(self.parts)}."
            )
        self.root, self.seed, self.device, self.rank, self.world = root, seed, device, rank, world

    def indices(self, step: int) -> list[np.ndarray]:
        """The samples of the global batch of this step, one array a part: epochs of shuffled passes."""
        share = self.batch_size // len(self.parts)
        chosen = []
        for part, (_, indices, _) in enumerate(self.parts):
            positions = np.arange(step * share, (step + 1) * share)
            places = zip((positions // len(indices)).tolist(), positions % len(indices), strict=True)
            order = [_shuffled(len(indices), self.seed, part, epoch)[place] for epoch, place in places]
            chosen.append(indices[order])
        return chosen

    def at(self, step: int) -> dict[str, Tensor]:
        """The training batch of this step."""
        chosen = self.indices(step)
        mine = [self._share(indices) for indices in chosen]
        blocks = [self._load(part.dataset, own) for part, own in zip(self.parts, mine, strict=True)]
        raw = {field: torch.cat([block[field] for block in blocks]) for field in blocks[0]}
        draws = Draws(self.seed * 1_000_003 + step, self.rank, self.world)
        batch = self._make(raw, self.augmentation, draws)
        if self.tags:
            batch["tag"] = torch.cat([self._tag(part, whole, step) for part, whole in enumerate(chosen)])
        for name in LABELS:
            known = [torch.full((len(own),), name in part.known) for part, own in zip(self.parts, mine, strict=True)]
            if not all(name in part.known for part in self.parts):
                batch[f"{name} known"] = torch.cat(known).to(self.device)
        return batch

    def in_order(self) -> Iterator[dict[str, Tensor]]:
        """All samples once, in their order, without augmentation."""
        for part, (dataset, indices, _) in enumerate(self.parts):
            for start in range(0, len(indices), self.batch_size):
                chosen = indices[start : start + self.batch_size]
                batch = self._make(self._load(dataset, chosen))
                if self.tags:
                    batch["tag"] = self._tag(part, chosen, start)
                yield batch

    def _share(self, samples: np.ndarray) -> np.ndarray:
        return samples[self.rank :: self.world]

    def _make(self, raw: Mapping[str, Tensor], *augmented) -> dict[str, Tensor]:
        size = self.parts[0].dataset.size
        batch = make_batch(raw, size, *augmented, root=self.root, hand=self.hand)
        if self.hand and "hand" not in batch:
            joints = batch["pose"] * batch["scale"][:, None, None] + batch["root"][:, None]
            batch["hand"] = silhouette(joints, batch["K"], size)
        return batch

    def _tag(self, part: int, samples: np.ndarray, step: int) -> Tensor:
        dataset, generator = self.parts[part].dataset, np.random.default_rng([self.seed, part, step, 0])
        raw = self._load(dataset, self._share(self.tags[part].draw(samples, generator)))
        return make_batch(raw, dataset.size)["image"]

    def _load(self, dataset: Dataset, indices: np.ndarray) -> dict[str, Tensor]:
        fields = [*self.fields, *(["palm"] if "palm" in dataset.arrays else [])]
        raw = {field: self._tensor(dataset.gather(field, indices)) for field in fields}
        raw.setdefault("palm", palm_centre(raw["pose"]))  # data sets that label it and others make one batch
        return raw

    def _tensor(self, array: np.ndarray) -> Tensor:
        if array.dtype == np.uint16:  # torch has few operations on uint16
            array = array.astype(np.int32)
        return torch.from_numpy(array).to(self.device, non_blocking=True)
