"""Makes batches for models from prepared arrays: mirrored to left hands, augmented and normalised."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from dvae_lib.datasets.augmentation import (
    Augmentation,
    BatchRng,
    jitter_colour,
    pixel_map,
    replace_background,
    to_device,
    warp,
)
from dvae_lib.datasets.crop import place
from dvae_lib.datasets.dataset import Dataset
from dvae_lib.datasets.resident import as_tensor, fits, on_device
from dvae_lib.datasets.tags import Tags
from dvae_lib.files import UserError
from dvae_lib.hand import MIDDLE_MCP, Root, bone_scale, palm_centre, project, silhouette, with_root
from dvae_lib.hand.canonical import canonicalise

# Half the depth that a normalised depth image spans around the root, in bone scales (about 16 cm).
DEPTH_RANGE = 4.0
PERSON = 1  # a part id of RHD: larger ids are parts of a hand


def normalise_depth(
    depth: Num[Tensor, "B S S"], root_depth: Float[Tensor, " B"], scale: Float[Tensor, " B"]
) -> Float[Tensor, "B 1 S S"]:
    """Depth in mm, mapped to [−1, 1] around the root joint's depth; unknown (0) and far are 1. scale: in mm."""
    relative = (depth.float() - root_depth[:, None, None]) / (DEPTH_RANGE * scale[:, None, None])
    return torch.where(depth == 0, 1.0, relative.clamp(-1, 1))[:, None]


def make_batch(
    raw: Mapping[str, Tensor],
    size: int,
    augmentation: Augmentation | None = None,
    rng: BatchRng | None = None,
    root_joint: Root = "palm",
    hand: bool = True,
    data: str = "synth-stb",
) -> dict[str, Tensor]:
    """Turns a block of B stored samples (the schema of `dataset`), crops of `size` pixels, into a batch.

    raw: "pose" (B, 21, 3) mm with the wrist as joint 0, "K" (B, 3, 3), "visible" (B, 21) and "right" (B,); and, where
        the data set has them, "palm" (B, 3) mm, "image" (B, 3, S, S), "depth" (B, S, S) mm, "mask" (B, S, S) and
        "content" (B,).
        "right" should stay on the CPU: the control flow depends on it, and would have to wait for a GPU.
    root_joint: the joint that "pose" is relative to in the batch.
    hand: whether to make "hand" from "mask".
    data: the data set's name, see `crop.place`.

    Returns a dictionary of
    image (B, 3, S, S) and depth (B, 1, S, S) in [−1, 1], which are mid-grey and far outside the stored crop;
    hand (B, 1, S, S), true where the mask shows a hand;
    pose (B, 21, 3) relative to the root joint, in bone scales, and its factors, cpose (B, 21, 3) and viewpoint
    (B, 3, 3); keypoints (B, 21, 2), where the crop spans [−1, 1]; place (B, 3), see `crop.place`; content (B,);
    and for evaluation root (B, 3) mm, scale (B,) mm, K (B, 3, 3) and visible (B, 21). The palm counts as visible if the
    wrist or the middle MCP is, as in the protocol of Zimmermann & Brox.
    """
    augmentation, flip = augmentation or Augmentation(), raw["right"].bool()
    rng = rng or BatchRng(0)
    if augmentation.flip:
        flip = flip ^ (rng.uniform(flip.shape, flip.device) > 0)
    moved = augmentation.moves or bool(flip.any())
    A, G = pixel_map(raw, size, augmentation, to_device(flip, raw["K"].device), rng)

    palm = raw["palm"] if "palm" in raw else palm_centre(raw["pose"])
    pose = with_root(raw["pose"], root_joint, palm) @ G.mT
    visible = raw["visible"].clone()
    if root_joint == "palm":
        visible[:, 0] |= visible[:, MIDDLE_MCP]
    K = A @ raw["K"] @ G.mT
    scale, origin = bone_scale(pose), pose[:, 0]
    normalised = (pose - origin[:, None]) / scale[:, None, None]
    cpose, viewpoint = canonicalise(normalised)  # of left hands, and of right ones where augmentation mirrors them
    batch = {
        "pose": normalised,
        "cpose": cpose,
        "viewpoint": viewpoint,
        "keypoints": 2 * project(pose, K) / size - 1,
        "place": place(K, size, data),
        "root": origin,
        "scale": scale,
        "K": K,
        "visible": visible,
    }
    if augmentation.noise:
        batch["keypoints"] += 2 * augmentation.noise * rng.normal(batch["keypoints"].shape, K.device)
    if "content" in raw:
        batch["content"] = raw["content"].long()
    if "image" in raw:
        image = (raw["image"] / 127.5).sub_(1)
        if augmentation.background and "mask" in raw:
            image = replace_background(image, raw["mask"], augmentation.background, rng)
        if augmentation.colour:
            image = jitter_colour(image, augmentation.colour, rng)
        batch["image"] = warp(image, A) if moved else image
    if hand and "mask" in raw:
        mask = (raw["mask"] > PERSON).float()[:, None]
        batch["hand"] = (warp(mask, A, mode="nearest") if moved else mask) > 0.5
    if "depth" in raw:
        depth = normalise_depth(raw["depth"], origin[:, 2], scale)
        batch["depth"] = warp(depth, A, outside=1.0, mode="nearest") if moved else depth
    return batch


@lru_cache(maxsize=8)
def _shuffled(count: int, *seed: int) -> np.ndarray:
    """A random order of `count` samples. It is cached, because every batch of an epoch needs it."""
    return np.random.default_rng(seed).permutation(count)


LABELS = ("pose", "cpose", "viewpoint")


class Subset(NamedTuple):
    """Samples of a data set. known: which of their `LABELS` a model may use: all, or those of weak supervision. tags:
    the samples that may be their tags; by default the samples themselves.
    """

    dataset: Dataset
    indices: np.ndarray
    known: Sequence[str] = LABELS
    tags: np.ndarray | None = None


class Batches:
    """The batches of one or several data sets. Each is a function of (seed, step) only: a resumed run uses the same.

    subsets: `Subset`s, or (data set, indices) where all labels are known.
    shares: the number of samples of each subset in a batch; equally many by default.
        If a label is known in some subsets only, training batches have a mask (B,) for it, such as "pose known".
    names: what to load: "image", "depth", "hand" (from the data sets' masks, or from `hand.silhouette` if one of them
        has no masks), "tag" (another image of the same content, not augmented: see `tags`) and "content", its label.
        Poses and cameras are always loaded.
    root_joint: the joint that poses are relative to.
    rank, world: this process's rank and the number of processes that share the global batch.
    resident: whether all samples are stored on the device and batches are indexed there; by default, on a GPU with
        enough memory.
    """

    def __init__(
        self,
        subsets: Sequence[Subset | tuple[Dataset, np.ndarray]],
        batch_size: int,
        names: Sequence[str] = ("image",),
        augmentation: Augmentation | None = None,
        root_joint: Root = "palm",
        seed: int = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
        resident: bool | None = None,
        shares: Sequence[int] | None = None,
    ):
        self.subsets = [Subset(*subset) for subset in subsets]
        self.batch_size, self.augmentation = batch_size, augmentation
        loaded = [name for name in ("image", "depth", "content") if name in names]
        self.fields = [*loaded, "pose", "K", "visible", "right"]
        self.hand = "hand" in names
        masked = self.hand or (augmentation and augmentation.background)
        if masked and all("mask" in subset.dataset.arrays for subset in self.subsets):
            self.fields.append("mask")
        for dataset in {subset.dataset.folder: subset.dataset for subset in self.subsets}.values():
            if "content" in names and "content" not in dataset.arrays:
                raise UserError(f"{dataset.name} has no labels of the person or the background of an image.")
        self.tags = [Tags(s.dataset, s.indices, s.tags) for s in self.subsets] if "tag" in names else []
        self.shares = list(shares or [batch_size // len(self.subsets)] * len(self.subsets))
        if uneven := [share for share in self.shares if share % world]:
            raise UserError(
                f"{world} processes cannot share batches of {batch_size}, of which {', '.join(map(str, self.shares))} "
                f"are from one data set each: choose a number of devices that divides {uneven[0]}."
            )
        self.root_joint, self.seed, self.device, self.rank, self.world = root_joint, seed, device, rank, world
        if fits(self._stored(), device) if resident is None else resident:
            self._resident = {(d.folder, field): on_device(d, field, device) for d, field in self._stored()}
        else:
            self._resident = {}

    def _stored(self) -> list[tuple[Dataset, str]]:
        """The arrays that batches are made of. `right` stays on the CPU, as `make_batch` recommends."""
        datasets = {subset.dataset.folder: subset.dataset for subset in self.subsets}.values()
        return [(dataset, field) for dataset in datasets for field in self._fields(dataset) if field != "right"]

    def _fields(self, dataset: Dataset) -> list[str]:
        return [*self.fields, *(["palm"] if "palm" in dataset.arrays else [])]

    def indices(self, step: int) -> list[np.ndarray]:
        """The samples of the global batch of this step, one array per subset, from epochs that are shuffled passes."""
        chosen = []
        for i, ((_, indices, *_), share) in enumerate(zip(self.subsets, self.shares, strict=True)):
            positions = np.arange(step * share, (step + 1) * share)
            places = zip((positions // len(indices)).tolist(), positions % len(indices), strict=True)
            order = [_shuffled(len(indices), self.seed, i, epoch)[place] for epoch, place in places]
            chosen.append(indices[order])
        return chosen

    def batch(self, step: int) -> dict[str, Tensor]:
        """The training batch of this step."""
        chosen = self.indices(step)
        shares = [self._share(indices) for indices in chosen]
        blocks = [self._load(subset.dataset, share) for subset, share in zip(self.subsets, shares, strict=True)]
        raw = {field: torch.cat([block[field] for block in blocks]) for field in blocks[0]}
        rng = BatchRng(self.seed * 1_000_003 + step, self.rank, self.world)
        batch = self._make(raw, self.augmentation, rng)
        if self.tags:
            batch["tag"] = torch.cat([self._tag(i, indices, step) for i, indices in enumerate(chosen)])
        for name in LABELS:
            known = [name in subset.known for subset in self.subsets]
            if not all(known):
                masks = [torch.full((len(share),), value) for share, value in zip(shares, known, strict=True)]
                batch[f"{name} known"] = to_device(torch.cat(masks), self.device)
        return batch

    def in_order(self) -> Iterator[dict[str, Tensor]]:
        """All samples once, in order, without augmentation."""
        for i, (dataset, indices, *_) in enumerate(self.subsets):
            for start in range(0, len(indices), self.batch_size):
                chosen = indices[start : start + self.batch_size]
                batch = self._make(self._load(dataset, chosen))
                if self.tags:
                    batch["tag"] = self._tag(i, chosen, start)
                yield batch

    def _share(self, samples: np.ndarray) -> np.ndarray:
        """This process's samples of a global batch."""
        return samples[self.rank :: self.world]

    def _make(
        self, raw: Mapping[str, Tensor], augmentation: Augmentation | None = None, rng: BatchRng | None = None
    ) -> dict[str, Tensor]:
        size, name = self.subsets[0].dataset.size, self.subsets[0].dataset.name
        batch = make_batch(raw, size, augmentation, rng, self.root_joint, self.hand, name)
        if self.hand and "hand" not in batch:
            joints = batch["pose"] * batch["scale"][:, None, None] + batch["root"][:, None]
            batch["hand"] = silhouette(joints, batch["K"], size)
        return batch

    def _tag(self, subset: int, samples: np.ndarray, step: int) -> Tensor:
        dataset, generator = self.subsets[subset].dataset, np.random.default_rng([self.seed, subset, step, 0])
        raw = self._load(dataset, self._share(self.tags[subset].draw(samples, generator)))
        return make_batch(raw, dataset.size)["image"]

    def _load(self, dataset: Dataset, indices: np.ndarray) -> dict[str, Tensor]:
        raw, places = {}, to_device(torch.from_numpy(indices), self.device)
        for field in self._fields(dataset):
            stored = self._resident.get((dataset.folder, field))
            raw[field] = as_tensor(dataset.gather(field, indices)) if stored is None else stored[places]
            if field != "right":
                raw[field] = to_device(raw[field], self.device)
        raw.setdefault("palm", palm_centre(raw["pose"]))  # so that data sets with and without it share a batch
        return raw
