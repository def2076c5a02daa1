"""Tag images: another frame with the same content, which says what the background of an image is (Sec. 3.3)."""

import numpy as np

from dvae_lib.datasets.dataset import Dataset
from dvae_lib.files import UserError


class Tags:
    """For each sample others of the same content from other sequences, so that a tag says nothing of the pose.

    indices: the samples that may be tags: those of training, or those of the test.
    Raises UserError if the data set does not say what its contents are, or has one in a single sequence only.
    """

    def __init__(self, dataset: Dataset, indices: np.ndarray):
        if "content" not in dataset.arrays:
            raise UserError(f"{dataset.name} does not say which images share a background: it has no tag images.")
        content, self.sequence = np.array(dataset["content"]), np.array(dataset["sequence"])
        self.others = {}
        for sequence in np.unique(self.sequence[indices]):
            for shown in np.unique(content[indices][self.sequence[indices] == sequence]):
                same = indices[(content[indices] == shown) & (self.sequence[indices] != sequence)]
                if not len(same):
                    raise UserError(
                        f"In {dataset.name} only the sequence {dataset.sequences[sequence]} shows the background "
                        f"{shown}: no other frame can be its tag image."
                    )
                self.others[sequence, shown] = same
        self.content = content

    def draw(self, samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """A tag (n,) for each of the samples (n,)."""
        tags = np.empty_like(samples)
        keys = np.stack([self.sequence[samples], self.content[samples]], axis=1)
        for key in np.unique(keys, axis=0):
            mine = (keys == key).all(axis=1)
            tags[mine] = generator.choice(self.others[tuple(key)], mine.sum())
        return tags
