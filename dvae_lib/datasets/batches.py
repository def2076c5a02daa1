r"""From prepared arrays to the batches that models see: mirrored to left hands, augmented, normalised.

A geometric augmentation is an affine map $A$ of the crop's pixels together with the orthogonal map $G$ of space that
it shows (a turn about the camera's axis, a mirror image). With $X' = GX$ and $K' = AKG^{-1}$ the joints project to
$A$ times where they projected before: image and labels stay together, exactly, wherever the principal point lies.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from dvae_lib.canonical import canonicalise
from dvae_lib.datasets.cache import Dataset
from dvae_lib.datasets.tags import Tags
from dvae_lib.hand import MIDDLE_MCP, Root, bone_scale, palm_centre, project, silhouette, with_root

# Half the depth that a normalised depth image spans around the root, in bone scales (about 16 cm).
DEPTH_RANGE = 4.0
PERSON = 1  # of RHD's part ids: what is above it is a hand


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes made to a training batch; all zero: none.

    The paper's (Sec. 4.4) are rotation=180 and flip=True.
    """

    rotation: float = 0.0  # degrees, uniform in ±, about the crop's centre
    flip: bool = False  # mirror image of every second sample
    zoom: float = 0.0  # the log of the magnification is uniform in ±
    shift: float = 0.0  # fraction of the crop's side, uniform in ±, along each axis
    colour: float = 0.0  # gain of each channel, contrast and brightness, uniform in ±
    background: float = 0.0  # share of the samples put before another background; needs the data set's masks


def _uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform in [−1, 1], drawn on the CPU so that a seed means the same on every device."""
    return (2 * torch.rand(shape, generator=generator) - 1).to(like.device)


def pixel_map(
    batch: Mapping[str, Tensor],
    size: int,
    augmentation: Augmentation,
    flip: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """The affine maps A (B, 3, 3) of pixels and G (B, 3, 3) of space of one random augmentation."""
    K = batch["K"]
    n = len(K)
    angle = torch.deg2rad(augmentation.rotation * _uniform((n,), K, generator))
    zoom = torch.exp(augmentation.zoom * _uniform((n,), K, generator))
    shift = size * augmentation.shift * _uniform((n, 2), K, generator)

    G = torch.eye(3, device=K.device).repeat(n, 1, 1)
    mirror = torch.where(flip, -1.0, 1.0)
    G[:, 0, 0], G[:, 0, 1] = angle.cos() * mirror, -angle.sin()
    G[:, 1, 0], G[:, 1, 1] = angle.sin() * mirror, angle.cos()

    A = G.clone()
    A[:, :2, :2] *= zoom[:, None, None]
    centre = torch.full((n, 2, 1), size / 2, device=K.device)
    A[:, :2, 2:] = centre - A[:, :2, :2] @ centre + shift[..., None]
    return A, G


def warp(images: Tensor, A: Tensor, outside: float = 0.0, mode: str = "bilinear") -> Tensor:
    """Images (B, C, S, S) with their pixels moved by A (B, 3, 3); `outside` fills what the image does not cover."""
    size = images.shape[-1]
    to_pixels = torch.tensor([[size / 2, 0, size / 2], [0, size / 2, size / 2], [0, 0, 1.0]], device=A.device)
    sampling = torch.linalg.inv(to_pixels) @ torch.linalg.inv(A) @ to_pixels
    grid = affine_grid(sampling[:, :2], list(images.shape), align_corners=False)
    return grid_sample(images - outside, grid, mode=mode, padding_mode="zeros", align_corners=False) + outside


def normalise_depth(depth: Tensor, root_depth: Tensor, scale: Tensor) -> Tensor:
    """Depth (B, S, S) mm → (B, 1, S, S) in [−1, 1] around the root's depth (B,); unknown and far are 1."""
    relative = (depth.float() - root_depth[:, None, None]) / (DEPTH_RANGE * scale[:, None, None])
    return torch.where(depth == 0, 1.0, relative.clamp(-1, 1))[:, None]


def _jitter_colour(image: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    n = len(image)
    gain = 1 + amount * _uniform((n, 3, 1, 1), image, generator)
    contrast = 1 + amount * _uniform((n, 1, 1, 1), image, generator)
    brightness = amount * _uniform((n, 1, 1, 1), image, generator)
    grey = image.mean((1, 2, 3), keepdim=True)
    return (((image - grey) * contrast + grey + 1) * gain - 1 + brightness).clamp(-1, 1)


def _replace_background(image: Tensor, mask: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Puts a share of the hands before something else, so that no room can be learnt by heart.

    That is a blend of random colours, coarse and fine, and of the next image, its hand moved to the corners and its
    colours exchanged.
    """
    n, _, size, _ = image.shape
    coarse, fine = (
        interpolate(_uniform((n, 3, cells, cells), image, generator), size, mode="bilinear") for cells in (3, 16)
    )
    colours = coarse + _uniform((n, 1, 1, 1), image, generator) * fine
    elsewhere = image.roll((1, size // 2, size // 2), dims=(0, 2, 3))[:, torch.randperm(3, generator=generator)]
    amount = (_uniform((n, 1, 1, 1), image, generator) + 1) / 2
    behind = torch.lerp(colours, elsewhere, amount).clamp(-1, 1)
    replaced = _uniform((n, 1, 1, 1), image, generator) < 2 * share - 1
    return torch.where(replaced & (mask == 0)[:, None], behind, image)


def make_batch(
    raw: Mapping[str, Tensor],
    size: int,
    augmentation: Augmentation | None = None,
    generator: torch.Generator | None = None,
    root: Root = "palm",
) -> dict[str, Tensor]:
    """Turns a block of stored samples (the schema of `dvae_lib.datasets`), crops of `size` pixels, into a batch.

    Returns what the schema has, as floats, and for the model:
    image (B, 3, S, S) and depth (B, 1, S, S) in [−1, 1], mid-grey and far outside the crop; hand (B, 1, S, S), true
    where the mask shows a hand;
    pose (B, 21, 3) relative to the root, in bone scales, and what it is composed of, cpose (B, 21, 3) and viewpoint
    (B, 3, 3); keypoints (B, 21, 2), the crop spanning [−1, 1];
    and for evaluation root (B, 3) mm, scale (B,) mm, K (B, 3, 3), visible (B, 21); the palm counts as visible if the
    wrist or the middle MCP is, as in the protocol of Zimmermann & Brox.
    """
    augmentation, flip = augmentation or Augmentation(), raw["right"].bool()
    generator = generator or torch.Generator().manual_seed(0)
    if augmentation.flip:
        flip = flip ^ (_uniform(flip.shape, flip, generator) > 0)
    A, G = pixel_map(raw, size, augmentation, flip, generator)

    palm = raw["palm"] if "palm" in raw else palm_centre(raw["pose"])
    pose = with_root(raw["pose"], root, palm) @ G.mT
    visible = raw["visible"].clone()
    if root == "palm":
        visible[:, 0] |= visible[:, MIDDLE_MCP]
    K = A @ raw["K"] @ G.mT
    scale, origin = bone_scale(pose), pose[:, 0]
    normalised = (pose - origin[:, None]) / scale[:, None, None]
    cpose, viewpoint = canonicalise(normalised)  # all are left hands by now
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
        image = raw["image"].float() / 127.5 - 1
        if augmentation.background and "mask" in raw:
            image = _replace_background(image, raw["mask"], augmentation.background, generator)
        if augmentation.colour:
            image = _jitter_colour(image, augmentation.colour, generator)
        batch["image"] = warp(image, A) if moved else image
    if "mask" in raw:
        hand = (raw["mask"] > PERSON).float()[:, None]
        batch["hand"] = (warp(hand, A, mode="nearest") if moved else hand) > 0.5
    if "depth" in raw:
        depth = normalise_depth(raw["depth"], origin[:, 2], scale)
        batch["depth"] = warp(depth, A, outside=1.0, mode="nearest") if moved else depth
    return batch


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
        self.root, self.seed, self.device, self.rank, self.world = root, seed, device, rank, world

    def indices(self, step: int) -> list[np.ndarray]:
        """The samples of the global batch of this step, one array a part: epochs of shuffled passes."""
        share = self.batch_size // len(self.parts)
        chosen = []
        for part, (_, indices, _) in enumerate(self.parts):
            positions = np.arange(step * share, (step + 1) * share)
            epochs, places = positions // len(indices), positions % len(indices)
            orders = {
                epoch: np.random.default_rng([self.seed, part, epoch]).permutation(len(indices))
                for epoch in np.unique(epochs)
            }
            chosen.append(indices[[orders[e][p] for e, p in zip(epochs, places, strict=True)]])
        return chosen

    def at(self, step: int) -> dict[str, Tensor]:
        """The training batch of this step."""
        mine = [indices[self.rank :: self.world] for indices in self.indices(step)]
        blocks = [self._load(part.dataset, own) for part, own in zip(self.parts, mine, strict=True)]
        raw = {field: torch.cat([block[field] for block in blocks]) for field in blocks[0]}
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) * self.world + self.rank)
        batch = self._make(raw, self.augmentation, generator)
        if self.tags:
            batch["tag"] = torch.cat([self._tag(part, own, step) for part, own in enumerate(mine)])
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

    def _make(self, raw: Mapping[str, Tensor], *augmented) -> dict[str, Tensor]:
        size = self.parts[0].dataset.size
        batch = make_batch(raw, size, *augmented, root=self.root)
        if self.hand and "hand" not in batch:
            joints = batch["pose"] * batch["scale"][:, None, None] + batch["root"][:, None]
            batch["hand"] = silhouette(joints, batch["K"], size)
        return batch

    def _tag(self, part: int, samples: np.ndarray, step: int) -> Tensor:
        generator = np.random.default_rng([self.seed, part, step, self.rank])
        dataset = self.parts[part].dataset
        raw = self._load(dataset, self.tags[part].draw(samples, generator))
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
