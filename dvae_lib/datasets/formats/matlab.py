"""Reads numeric arrays from MATLAB files; damaged data can only cause an error.

SciPy reads these files too, but does not validate them: a few changed bytes can crash the process. Labels are plain
numeric arrays, for which the format is simple: elements consist of a tag (type, size) and content. Each variable is one
element, possibly compressed, which contains one element each for flags, dimensions, name and numbers.
Source: MathWorks, “MAT-File Format” (Level 5, as MATLAB's versions 5 to 7 write it).
"""

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from dvae_lib.files import UserError

_HEADER = 128  # bytes: a text, the version, and “IM” or, from machines with the other byte order, “MI”
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
# Classes of arrays, by their NumPy names where these exist.
_CLASSES = dict(enumerate(("cell", "struct", "object", "<U1", "sparse", "float64", "float32", "int8", "uint8"), 1))
_CLASSES |= dict(enumerate(("int16", "uint16", "int32", "uint32", "int64", "uint64"), 10))
_LOGICAL, _COMPLEX = 0x200, 0x800  # flags


def read_mat(path: Path, key: str, shape: tuple[int, ...], advice: str, frame_axis: int = 0) -> np.ndarray:
    """The variable `key` of a MATLAB file as a float64 array of this shape.

    advice: a sentence that tells the user what to do about a bad file; it is appended to every error.
    frame_axis: the axis of the frames; the error for a value that is not a number names its frame.

    Raises UserError if the file is missing or damaged, or if it does not contain finite numbers of that shape.
    """
    try:
        found, dimensions, array = _find(path.read_bytes(), key, shape)
    except FileNotFoundError:
        raise UserError(f"{path} is missing. {advice}") from None
    except KeyError:
        raise UserError(f"{path} contains no “{key}”. {advice}") from None
    except (OSError, ValueError, struct.error, zlib.error) as error:
        raise UserError(f"{path} cannot be read as a MATLAB file ({error}). {advice}") from error
    if array is None:
        raise UserError(f"{path}: “{key}” is {found} {dimensions} instead of numbers {shape}. {advice}")
    bad = ~np.isfinite(np.moveaxis(array, frame_axis, 0)).reshape(shape[frame_axis], -1).all(axis=1)
    if bad.any():
        raise UserError(f"{path}: “{key}” of frame {bad.argmax()} contains a value that is not a number. {advice}")
    return array


def _find(raw: bytes, key: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...], np.ndarray | None]:
    """Class and dimensions of the variable, and its numbers if they are real and have this shape."""
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(raw[_HEADER - 4 : _HEADER])
    if order is None:
        raise ValueError("its first bytes are not those of version 5 to 7")
    at = _HEADER
    while at < len(raw):
        kind, content, at = _element(raw, at, order)
        whole = True
        if kind == _COMPRESSED:
            stream = zlib.decompressobj()
            content = stream.decompress(content, 8 * math.prod(shape) + 4096)  # sufficient, and bounded
            kind, content, whole = struct.unpack_from(order + "I", content)[0], content[8:], stream.eof
        if kind != _MATRIX:
            raise ValueError(f"it has an element of the unknown type {kind}")
        _, flag_bytes, inner = _element(content, 0, order)
        _, dimension_bytes, inner = _element(content, inner, order)
        _, name, inner = _element(content, inner, order)
        if name == key.encode():
            flags = struct.unpack_from(order + "I", flag_bytes)[0]
            found = _CLASSES.get(flags & 0xFF, "no array")
            found = "complex" if flags & _COMPLEX else "logical" if flags & _LOGICAL else found
            dimensions = tuple(np.frombuffer(dimension_bytes, order + "i4").tolist())
            if not found.startswith(("float", "int", "uint")) or dimensions != shape:
                return found, dimensions, None
            kind, numbers, _ = _element(content, inner, order)
            if kind not in _NUMBERS or not whole:
                raise ValueError("its numbers are cut short, or of an unknown type")
            with np.errstate(invalid="ignore"):  # the caller reports values that are not numbers
                array = np.frombuffer(numbers, order + _NUMBERS[kind]).astype(np.float64)
            return found, dimensions, array.reshape(shape, order="F")
    raise KeyError(key)


def _element(data: bytes, at: int, order: str) -> tuple[int, bytes, int]:
    """Type and content of the element at this offset, and the offset of the next one."""
    kind, size = struct.unpack_from(order + "II", data, at)
    if kind >> 16:  # four bytes or less are stored in the tag itself
        kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
    else:
        start = at + 8
        end = start + size + (0 if kind == _COMPRESSED else -size % 8)
    content = data[start : start + size]
    if len(content) < size:
        raise ValueError(f"it ends {size - len(content)} bytes too early")
    return kind, content, end
