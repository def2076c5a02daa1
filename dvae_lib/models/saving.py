"""Saves a model as one safetensors file: its weights and, as JSON in the metadata, its declaration.

Loading neither requires nor runs the code that declared the model. Your own networks are not in the file: they must be
passed again, and must be those that the model was declared with.
"""

import dataclasses
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

from dvae_lib.files import UserError, atomic_write
from dvae_lib.models.modalities import Modality, OwnNetworks

_KEY, _FORMAT = "dvae_lib", 1
_KINDS = ("DVAE", "CrossModalVAE", "Regressor")
Model = TypeVar("Model", bound="SavedModule")


class SavedModule(nn.Module, ABC):
    """A model that can be saved and loaded as a whole. `declaration`: its constructor's arguments, as JSON values."""

    declaration: dict[str, Any]

    @abstractmethod
    def needs(self, forward_arg: Any, /) -> list[Modality]:
        """The modalities that a batch must contain for training if `forward` is also given this argument."""

    def save(self, path: str | Path) -> None:
        """Writes weights and declaration to one file; after a failure, an existing file is unchanged."""
        save_weights(self, Path(path))

    @classmethod
    def load(cls: type[Model], path: str | Path, networks: OwnNetworks | None = None) -> Model:
        """The model in a file written by `save`, on the CPU, in evaluation mode.

        networks: your own networks by modality, (encoder, decoder), if the model was declared with any.

        Raises UserError if the file is missing or damaged, contains another kind of model or one of another version,
        or if networks are missing.
        """
        kind, declaration = _read_declaration(Path(path))
        if kind != cls.__name__:
            raise UserError(f"{path} contains a {kind}, not a {cls.__name__}: load it with {kind}.load.")
        try:
            arguments = {name: _revive(value) for name, value in declaration.items()}
            own = set(arguments.pop("networks", ()))
            if "pretrained" in arguments:  # a file must not cause a download
                raise ValueError("it requires pretrained weights")
            missing = sorted(own - set(networks or {}))
            # On “meta” nothing is allocated: a small file may declare a large model.
            with torch.device("cpu" if own else "meta"):
                model = None if missing else cls(**arguments, networks=networks)
        except (AttributeError, TypeError, ValueError, KeyError, RuntimeError, MemoryError) as error:
            raise UserError(f"{path} does not declare a valid model ({error}). Save or train it again.") from error
        if model is None:
            raise UserError(
                f"The model in {path} has its own networks for {', '.join(missing)}, which the file does not contain: "
                f'pass them, {kind}.load(path, networks={{"{missing[0]}": (encoder, decoder)}}).'
            )
        if not own:
            _check_shapes(model, Path(path))
            model.to_empty(device="cpu")
        load_weights(model, Path(path))
        return model.eval()


def _revive(value: Any) -> Any:
    """A constructor's argument from JSON, where modalities are dicts."""
    if isinstance(value, list):
        return tuple(_revive(item) for item in value)
    if isinstance(value, dict) and "shape" in value:
        return Modality(**value | {"shape": tuple(value["shape"])})
    return value


def describe(value: Any) -> Any:
    """A constructor's argument as a JSON value: modalities become dicts."""
    if isinstance(value, Modality):
        return dataclasses.asdict(value)
    return [describe(item) for item in value] if isinstance(value, list | tuple) else value


def load(path: str | Path, networks: OwnNetworks | None = None) -> SavedModule:
    """The model in a file, of whichever kind: see `SavedModule.load`."""
    from dvae_lib import models

    kind, _ = _read_declaration(Path(path))
    return getattr(models, kind).load(path, networks)


def _read_declaration(path: Path) -> tuple[str, dict[str, Any]]:
    """The kind of a file's model, and its declaration."""
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_KEY)
        content = json.loads(text) if text else {}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: no model was saved there, or its training did not finish.") from None
    except (OSError, RecursionError, SafetensorError, ValueError) as error:
        raise UserError(f"{path} is damaged, or not a model file ({first_line(error)}).") from error
    content = content if isinstance(content, dict) else {}
    kind, declaration = content.get("model"), content.get("declaration")
    if content.get("format") != _FORMAT or kind not in _KINDS or not isinstance(declaration, dict):
        raise UserError(
            f"{path} was not saved by this version of dvae_lib: its format is {content.get('format', 'unknown')}, but "
            f"this version reads format {_FORMAT}. Train the model again, or load it with the version that saved it."
        )
    return kind, declaration


def _check_shapes(model: nn.Module, path: Path) -> None:
    with safe_open(path, "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    if shapes != {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}:
        raise UserError(f"{path} declares a model that its weights do not match. Save or train it again.")


def save_weights(model: nn.Module, path: Path) -> None:
    """Writes a model's weights, with its declaration if it has one."""
    content = {"format": _FORMAT, "model": type(model).__name__, "declaration": getattr(model, "declaration", {})}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with atomic_write(path) as temporary:
        temporary.write_bytes(to_bytes(tensors, {_KEY: json.dumps(content)}))


def load_weights(model: nn.Module, path: Path) -> None:
    """Raises UserError if the file is missing, damaged, or contains another model's weights."""
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: the training run did not finish. Train it again.") from None
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{path} is damaged or contains another model's weights ({first_line(error)}). "
                        f"Delete the folder {path.parent} and train again.") from error  # fmt: skip


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
