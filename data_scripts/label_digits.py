"""Recreates dvae_lib/datasets/digits.npz, the pseudo-labels of the digits: python -m data_scripts.label_digits

It requires the photographs (`dvae download digits`), the networks (`dvae download detector`) and the extra `detect`.
"""

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dvae_lib import settings
from dvae_lib.datasets import digits, pseudo_labels
from dvae_lib.detect import Detector
from dvae_lib.files import UserError, atomic_write

LEAST_SCALE = 0.25  # pixels per millimetre: smaller detections are not hands here


def main(folder: Path) -> None:
    files = sorted(folder.glob("Dataset/[0-9]/IMG_*.JPG"))
    labelled = [(int(path.stem.removeprefix("IMG_")), int(path.parent.name)) for path in files]
    if not labelled:
        raise UserError(f"{folder} contains no photographs of the digits: run `{settings.DOWNLOAD['digits']}`.")
    known, detector = digits.photographs(labelled), Detector()
    seen, keypoints = np.zeros(len(known), bool), np.zeros((len(known), 21, 2))
    depth, scale = np.zeros((len(known), 21)), np.ones(len(known))
    for i, photograph in enumerate(tqdm(known, unit="photograph")):
        hands = detector.find(photograph.read(folder), palm=0.1)
        for hand in hands[:1]:
            keypoints[i] = hand.keypoints
            scale[i] = pseudo_labels.scale(hand)
            depth[i] = hand.world[:, 2]
            seen[i] = scale[i] > LEAST_SCALE
    with atomic_write(digits.LABELS) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            number=np.array([photograph.number for photograph in known], np.int16),
            folder=np.array([photograph.folder for photograph in known], np.int8),
            seen=seen,
            keypoints=np.round(100 * keypoints).astype(np.int16),
            depth=np.round(100 * depth).astype(np.int16),
            scale=scale.astype(np.float32),
        )
    print(f"{digits.LABELS}: {seen.sum()} of {len(known)} photographs show a hand")


if __name__ == "__main__":
    try:
        main(settings.downloaded("digits"))
    except UserError as error:
        sys.exit(str(error))
