r"""2062 photographs of the digits 0 to 9 in sign language, by students of a school in Ankara (Mavi, 2020).

On disk, in `DVAE_DATA_ROOT`/digits: Dataset/0 … Dataset/9 with IMG_<number>.JPG, 100 × 100 pixels, right hands whose
palm faces the camera, in front of a grey wall. The folder states which gesture a photograph shows, and the order of the
numbers which student: one student after another made the digits from 0 to 9. Both are therefore known, and there is a
photograph of nearly every pair of a student and a gesture.

Joints are not labelled. digits.npz contains *pseudo-labels*, which a landmark network predicted from the photographs:
the 2D keypoints and the relative depths of the joints. `python -m data_scripts.label_digits` recreates the file. The
Apache licence 2.0 allows any use; `dvae download digits` fetches the photographs.
"""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from dvae_lib import settings
from dvae_lib.datasets.crop import crop_photographs
from dvae_lib.datasets.dataset import Dataset, Fields, schema
from dvae_lib.datasets.pseudo_labels import lift
from dvae_lib.files import UserError, absent, read_image, sha256

RECIPE = 1  # of this module; increased when the same files give other samples
PHOTO = 100  # pixels of a photograph's side
GESTURES = 10
# Photographs that are in a wrong folder, and the digit that they show, which their student otherwise lacks.
MISFILED = {5108: 7, 5176: 3}
_APART = 10  # a larger gap in the numbers marks another student
# Groups of five consecutive students, whose photographs are similar, that are held out completely.
_TEST_GROUPS, _VALIDATION_GROUPS, _GROUP = (5, 15, 25, 35), (10, 30), 5
_ADVICE = f"Run `{settings.DOWNLOAD['digits']}` to fetch what is missing or damaged."
LABELS = Path(__file__).with_name("digits.npz")


class Photograph(NamedTuple):
    """number: that of the file. folder: where it is. gesture: the digit that it shows. student: counted from 0."""

    number: int
    folder: int
    gesture: int
    student: int

    def path(self, folder: Path) -> Path:
        return folder / "Dataset" / str(self.folder) / f"IMG_{self.number}.JPG"

    def read(self, folder: Path) -> np.ndarray:
        """(100, 100, 3) uint8; three of the files have the camera's full size and are scaled down."""
        image = read_image(self.path(folder), advice=_ADVICE)
        if image.shape[:2] == (PHOTO, PHOTO):
            return image
        return np.asarray(Image.fromarray(image).resize((PHOTO, PHOTO), Image.Resampling.LANCZOS))


def students(digits: dict[int, int]) -> list[list[int]]:
    """The numbers of each student's photographs. digits: the digit that each number shows.

    In the order of the numbers, a new run begins where the digit does not increase, or after a gap. Most runs are one
    student. Some students are split into two runs, because they made a digit late or twice. Neighbouring runs are
    therefore merged if they are close and have no digit in common and, in a second pass, if they have one digit in
    common and eleven photographs at most.
    """
    runs: list[list[int]] = []
    for number in sorted(digits):
        last = runs[-1][-1] if runs else None
        if last is None or digits[number] <= digits[last] or number - last > _APART:
            runs.append([])
        runs[-1].append(number)
    for shared in (0, 1):
        joined: list[list[int]] = []
        for run in runs:
            before = joined[-1] if joined else []
            common = {digits[n] for n in before} & {digits[n] for n in run}
            near = before and run[0] - before[-1] <= _APART
            if near and len(common) <= shared and len(before) + len(run) <= GESTURES + shared:
                before += run
            else:
                joined.append(run)
        runs = joined
    return runs


def photographs(labelled: list[tuple[int, int]]) -> list[Photograph]:
    """All photographs, in the order of their numbers. labelled: number and folder of each."""
    folders = dict(labelled)
    digits = {number: MISFILED.get(number, folder) for number, folder in labelled}
    who = {number: k for k, numbers in enumerate(students(digits)) for number in numbers}
    return [Photograph(n, folders[n], digits[n], who[n]) for n in sorted(digits)]


def listed() -> list[Photograph]:
    """All photographs of the published data set, in the order of their numbers."""
    with np.load(LABELS, allow_pickle=False) as labels:
        return photographs(list(zip(labels["number"].tolist(), labels["folder"].tolist(), strict=True)))


def doubts(known: list[Photograph]) -> list[str]:
    """The students who do not have exactly one photograph of each digit, and the reasons (`dvae check digits`)."""
    found = []
    for k in range(1 + max(p.student for p in known)):
        own = [p for p in known if p.student == k]
        gestures = [p.gesture for p in own]
        lacking = sorted(set(range(GESTURES)) - set(gestures))
        twice = sorted({g for g in gestures if gestures.count(g) > 1})
        reasons = [f"lacks {', '.join(map(str, lacking))}"] if lacking else []
        reasons += [f"made {', '.join(map(str, twice))} twice"] if twice else []
        reasons += [f"IMG_{p.number} is in {p.folder} but shows {p.gesture}" for p in own if p.folder != p.gesture]
        if reasons:
            found.append(f"student {k}, IMG_{own[0].number} to IMG_{own[-1].number}: {'; '.join(reasons)}")
    return found


class DigitsSource:
    """The photographs as a `Source` (see `dvae_lib.datasets.dataset`), cropped by the protocol around the keypoints.

    `content` is the student, `sequence` the gesture, `frame` the number of the file. Photographs in which the landmark
    network detected no hand are left out.

    folder: the one that contains Dataset/; by default DVAE_DATA_ROOT/digits.
    Raises UserError, naming the file and what to do, if the folder is not the data set, or if a photograph is missing
    or damaged.
    """

    name = "digits"
    sequences = [str(gesture) for gesture in range(GESTURES)]

    def __init__(self, folder: Path | None = None):
        self.folder = Path(folder or settings.downloaded("digits"))
        if not (self.folder / "Dataset").is_dir():
            raise UserError(f"{self.folder} is not the digits data set: it has no folder “Dataset”. {_ADVICE}")
        labels, known = np.load(LABELS, allow_pickle=False), listed()
        missing = absent([photograph.path(self.folder) for photograph in known])
        if missing:
            raise UserError(f"{missing[0]} is missing, one of {len(missing)} photographs. {_ADVICE}")
        seen = labels["seen"]
        self.photographs = [photograph for photograph, here in zip(known, seen, strict=True) if here]
        # Stored in hundredths of a pixel and of a millimetre.
        self.keypoints = labels["keypoints"][seen].astype(np.float64) / 100  # (N, 21, 2) pixels
        self.depth = labels["depth"][seen].astype(np.float64) / 100  # (N, 21) mm
        self.scale = labels["scale"][seen].astype(np.float64)  # (N,) pixels per mm

    def __len__(self) -> int:
        return len(self.photographs)

    @cached_property
    def fingerprint(self) -> dict:
        hashes = [sha256(photograph.path(self.folder)) for photograph in self.photographs]
        labels = np.concatenate([self.keypoints.reshape(len(self), -1), self.depth, self.scale[:, None]], axis=1)
        return {"recipe": RECIPE, "files": _digest("".join(hashes).encode()), "labels": _digest(labels.tobytes())}

    def fields(self, size: int) -> Fields:
        return schema(size, "image", "pose", "K", "visible", "right", "sequence", "frame", "content")

    def read(self, indices: np.ndarray, size: int) -> dict[str, np.ndarray]:
        chosen = [self.photographs[i] for i in indices.tolist()]
        pose, K = lift(self.keypoints[indices], self.depth[indices], self.scale[indices], PHOTO)
        return crop_photographs([photograph.read(self.folder) for photograph in chosen], pose, K, size) | {
            "right": np.ones(len(indices), dtype=np.bool_),
            "sequence": np.array([photograph.gesture for photograph in chosen], np.int32),
            "frame": np.array([photograph.number for photograph in chosen], np.int32),
            "content": np.array([photograph.student for photograph in chosen], np.int32),
        }


def split(dataset: Dataset) -> dict[str, np.ndarray]:
    """The indices of the photographs of each part.

    Some students are held out completely. Of each other student with all ten digits, one gesture is held out for the
    test and another for validation, so that the photograph that a model has to generate, of this student with this
    gesture, exists. "train" is the rest; "final" also contains the validation's gestures and students.
    """
    student, gesture = np.asarray(dataset["content"]), np.asarray(dataset["sequence"])
    group = student // _GROUP
    whole = np.isin(group, _TEST_GROUPS), np.isin(group, _VALIDATION_GROUPS)
    complete = [k for k in np.unique(student) if len(set(gesture[student == k].tolist())) == GESTURES]
    order = {k: place for place, k in enumerate(complete)}
    place = np.array([order.get(k, -1) for k in student.tolist()])
    asked = (gesture == place % GESTURES) & (place >= 0), (gesture == (place + 5) % GESTURES) & (place >= 0)
    elsewhere = whole[0] | whole[1]
    test = whole[0] | (asked[0] & ~elsewhere)
    validation = whole[1] | (asked[1] & ~elsewhere)
    parts = {"train": ~(test | validation), "final": ~test, "validation": validation, "test": test}
    return {name: np.flatnonzero(chosen) for name, chosen in parts.items()}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
