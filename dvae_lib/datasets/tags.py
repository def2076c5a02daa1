"""Tag images: other frames with the same content, which serve as labels of an image's background (Sec. 3.3)."""

import numpy as np

from dvae_lib.datasets.dataset import Dataset
from dvae_lib.files import UserError


class Tags:
    """The possible tags of each sample: samples of the same content from other sequences, whose poses are unrelated.

    indices: the samples (N,) that require tags, such as those for training. candidates: the samples (M,) that may be
    tags; by default the same samples.
    Raises UserError if the data set has no content labels, or if a content occurs in one sequence only.
    """

    def __init__(self, dataset: Dataset, indices: np.ndarray, candidates: np.ndarray | None = None):
        if "content" not in dataset.arrays:
            raise UserError(f"{dataset.name} has no labels of the background: it has no tag images.")
        content, self.sequence = np.array(dataset["content"]), np.array(dataset["sequence"])
        pool = indices if candidates is None else candidates
        self.candidates = {}
        for sequence in np.unique(self.sequence[indices]):
            for background in np.unique(content[indices][self.sequence[indices] == sequence]):
                same = pool[(content[pool] == background) & (self.sequence[pool] != sequence)]
                if not len(same):
                    raise UserError(
                        f"In {dataset.name} only the sequence {dataset.sequences[sequence]} shows the background "
                        f"{background}: no other frame can be its tag image."
                    )
                self.candidates[sequence, background] = same
        self.content = content

    def draw(self, samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Samples a tag (n,) for each of the samples (n,)."""
        tags = np.empty_like(samples)
        keys = np.stack([self.sequence[samples], self.content[samples]], axis=1)
        for key in np.unique(keys, axis=0):
            chosen = (keys == key).all(axis=1)
            tags[chosen] = generator.choice(self.candidates[tuple(key)], chosen.sum())
        return tags
