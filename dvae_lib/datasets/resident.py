"""Complete fields of data sets on a device, so that batches are indexed there and no step waits for a copy."""

from collections.abc import Iterable
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from dvae_lib.datasets.dataset import Dataset

_CHUNK = 1024  # samples that are copied at a time
_tensors: WeakValueDictionary[tuple, Tensor] = WeakValueDictionary()  # one copy for all stages of a training run


def as_tensor(array: np.ndarray) -> Tensor:
    if array.dtype == np.uint16:  # torch has few operations on uint16
        array = array.astype(np.int32)
    return torch.from_numpy(array)


def on_device(dataset: Dataset, field: str, device: torch.device | str) -> Tensor:
    """A field (N, …) of all samples, copied to the device unless it is still stored there."""
    key = (dataset.folder, field, str(device))
    tensor = _tensors.get(key)
    if tensor is None:
        chunks = np.array_split(np.arange(len(dataset)), max(1, len(dataset) // _CHUNK))
        tensor = torch.cat([as_tensor(dataset.gather(field, chunk)).to(device) for chunk in chunks])
        _tensors[key] = tensor
    return tensor


def fits(stored: Iterable[tuple[Dataset, str]], device: torch.device | str) -> bool:
    """Whether the device is a GPU on which these fields of data sets take less than a third of the free memory.

    While they are copied, they take twice their size.
    """
    if torch.device(device).type != "cuda":
        return False
    missing = [pair for pair in stored if (pair[0].folder, pair[1], str(device)) not in _tensors]
    return 3 * sum(dataset[field].nbytes for dataset, field in missing) < torch.cuda.mem_get_info(device)[0]
