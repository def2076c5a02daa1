"""Creates a data set from a video or a folder of photographs: detects the hand in each, and labels it (chapter 12).

The labels are pseudo-labels, predicted by a landmark network. Each hand is processed twice, as it is and mirrored: the
mean of the two predictions is slightly better than one, and their distance indicates the size of the error, which the
network itself does not (`dvae_lib.report.photographs.doubts` measures both; chapter 12 has the results).
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from dvae_lib import settings
from dvae_lib.datasets import RECIPES, pseudo_labels
from dvae_lib.datasets.own import LEAST, PHOTO, OwnSource, photograph
from dvae_lib.detect import Detector, Hand
from dvae_lib.files import PHOTOGRAPHS, UserError, atomic_write, explain_os_errors, read_image
from dvae_lib.predict import Box, around, cut

# Shares of the hand's size: from the first on, a label should be checked; above the second, it is rejected.
DOUBTFUL, MOST_DOUBT = 0.03, 0.1
_VIDEOS = {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm"}
_MARGIN = 1.25  # side of the stored square, relative to the protocol's


class Picture(NamedTuple):
    """A photograph, or a frame of a video. sequence: its folder, or the video. number: its number there."""

    sequence: str
    number: int
    image: np.ndarray


@dataclass(frozen=True)
class Labelled:
    """The result. looked: the number of pictures. left_out: the numbers of excluded pictures, by reason."""

    source: OwnSource
    looked: int
    left_out: dict[str, int]

    @property
    def doubtful(self) -> np.ndarray:
        """The photographs that should be checked, the most doubtful first."""
        doubt = self.source.labels["doubt"]
        order = np.argsort(-doubt, kind="stable")
        return order[doubt[order] >= DOUBTFUL]


def label(
    given: Path, name: str, rate: float = 5.0, most_doubt: float = MOST_DOUBT, root: Path | None = None
) -> Labelled:
    """Creates the data set DVAE_DATA_ROOT/name from a video or a folder of photographs and videos, with a progress bar.
    From each picture, the hand with the highest presence is used.

    rate: frames per second taken from a video. most_doubt: hands whose two predictions are farther apart, as a share of
    the hand's size, are excluded. root: a folder in place of DVAE_DATA_ROOT.

    Raises UserError if the name is invalid or taken, or if there are no pictures, or too few hands in them.
    """
    folder = _free_folder(name, root or settings.data_root())
    files = _files(given)
    detector = Detector()
    partial = folder.with_name(f"{folder.name}.partial")
    rmtree(partial, ignore_errors=True)
    kept: dict[str, list] = {key: [] for key in ("keypoints", "depth", "scale", "right", "doubt", "sequence", "frame")}
    left_out = dict.fromkeys(("unreadable", "without a hand", "too doubtful"), 0)
    sequences: list[str] = []
    with explain_os_errors(partial), tqdm(desc=f"Labelling {name}", unit="picture") as bar:
        photograph(partial, 0).parent.mkdir(parents=True)
        for picture in _pictures(given, files, rate):
            bar.update()
            if isinstance(picture, UserError):
                left_out["unreadable"] += 1
                tqdm.write(str(picture), file=sys.stderr)
                continue
            hands = detector.find(picture.image)
            if not hands:
                left_out["without a hand"] += 1
                continue
            square, hand, doubt = read_twice(detector, picture.image, hands[0])
            if doubt > most_doubt:
                left_out["too doubtful"] += 1
                continue
            if picture.sequence not in sequences:
                sequences.append(picture.sequence)
            Image.fromarray(square).save(photograph(partial, len(kept["doubt"])), quality=95)
            values = (
                hand.keypoints, hand.world[:, 2], pseudo_labels.scale(hand), hand.right, doubt,
                sequences.index(picture.sequence), picture.number,
            )  # fmt: skip
            for values_of, value in zip(kept.values(), values, strict=True):
                values_of.append(value)
        looked = bar.n
        if len(kept["doubt"]) < LEAST:
            rmtree(partial)
            raise UserError(
                f"{given} contains {len(kept['doubt'])} usable hands, but a data set needs {LEAST}; of {looked} "
                f"pictures: {said(left_out) or 'none excluded'}."
            )
        with atomic_write(partial / settings.LABELS) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, sequences=np.array(sequences), **{k: np.array(v) for k, v in kept.items()})
        partial.rename(folder)
    return Labelled(OwnSource(name, folder), looked, left_out)


def said(left_out: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)


def _free_folder(name: str, root: Path) -> Path:
    taken = {*RECIPES, *settings.DATASETS, *settings.DOWNLOAD, settings.downloaded("detector").name}
    if not re.fullmatch(r"[A-Za-z][\w-]{0,40}", name) or name in taken:
        raise UserError(f"A data set cannot be called “{name}”: choose a name that is not one of {', '.join(taken)}.")
    folder = root / name
    if folder.exists():
        raise UserError(f"{folder} already exists: choose another name, or delete that folder.")
    return folder


def _files(given: Path) -> list[Path]:
    """The given photographs and videos, folder by folder, in the order of their names."""
    if not given.exists():
        raise UserError(f"{given} does not exist: name a video, or a folder of photographs or videos.")
    files = [given] if given.is_file() else sorted(given.rglob("*"), key=lambda p: (p.parent, _natural(p.name)))
    chosen = [path for path in files if path.suffix.lower() in PHOTOGRAPHS | _VIDEOS]
    if not chosen:
        raise UserError(f"{given} contains no photographs or videos: {', '.join(sorted(PHOTOGRAPHS | _VIDEOS))}.")
    return chosen


def _natural(name: str) -> list[tuple[int, str]]:
    """For sorting: IMG_9 before IMG_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _pictures(given: Path, files: list[Path], rate: float) -> Iterator[Picture | UserError]:
    number = 0
    for before, path in zip([None, *files], files, strict=False):
        number = 0 if before is None or before.parent != path.parent else number
        sequence = str(path.relative_to(given.parent).with_suffix("") if path.is_file() else path)
        try:
            if path.suffix.lower() in _VIDEOS:
                for frame, image in _frames(path, rate):
                    yield Picture(sequence, frame, image)
            else:
                yield Picture(str(path.parent.name), number, read_image(path))
                number += 1
        except UserError as error:
            yield error


def _frames(path: Path, rate: float) -> Iterator[tuple[int, np.ndarray]]:
    """Frames of a video at a rate per second, upright, with their numbers."""
    try:
        import av
    except ImportError as error:
        raise UserError('Reading videos requires the package av: run `pip install "dvae-lib[detect]"`.') from error
    due = 0.0
    try:
        with av.open(str(path)) as video:
            for number, frame in enumerate(video.decode(video=0)):
                if frame.time is not None and frame.time + 1e-6 < due:
                    continue
                due += 1 / rate
                yield number, np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
    except (av.FFmpegError, IndexError) as error:
        raise UserError(f"{path} cannot be read as a video: it is damaged, or of an unknown format.") from error


def kept_square(hand: Hand) -> Box:
    """The square around a hand that is stored."""
    near = around(hand)
    side = _MARGIN * near.side
    return Box(near.left - (side - near.side) / 2, near.top - (side - near.side) / 2, side)


def read_twice(detector: Detector, image: np.ndarray, hand: Hand) -> tuple[np.ndarray, Hand, float]:
    """The square (PHOTO, PHOTO, 3) around a hand; the hand in its pixel coordinates, as the mean of two predictions;
    and their distance, as a share of the hand's size: 1 if the second finds no hand, or one of the other side.
    """
    box = kept_square(hand)
    side = box.side
    square = ((cut(image, box, PHOTO) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    first = hand._replace(keypoints=(hand.keypoints - np.array([box.left, box.top])) * PHOTO / side)
    seen = detector.find(np.ascontiguousarray(square[:, ::-1]))
    if not seen or seen[0].right == hand.right:
        return square, first, 1.0
    keypoints, world = seen[0].keypoints * [-1, 1] + [PHOTO, 0], seen[0].world * [-1, 1, 1]
    apart = np.linalg.norm(first.keypoints - keypoints, axis=1).mean() / np.ptp(first.keypoints, axis=0).max()
    mean = first._replace(keypoints=(first.keypoints + keypoints) / 2, world=(first.world + world) / 2)
    return square, mean, float(apart)
