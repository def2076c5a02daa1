"""Pickles of numbers, read without trusting them: dicts, lists, text, numbers and NumPy arrays, and nothing else.

A pickle is a program: it names functions of any module, and calls them while it is opened. A downloaded one could
delete files. Here only the few names that describe an array are known, and what stands behind them is not NumPy but
the classes of this module, which check what they are given. Any other name is refused when it is met; until then
nothing but these classes has run.
"""

import contextlib
import gc
import io
import math
import pickle
import pickletools
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from dvae_lib.files import UserError


class _Refused(Exception):
    """The pickle asks for something other than numbers."""


def load(path: Path, advice: str) -> Any:
    """What a pickle holds: dict, list, tuple, str, bytes, bool, int, float and arrays of numbers, nested.

    Protocols 0 to 5, of Python 2 as well, whose byte strings are read as latin-1. NumPy's scalars become numbers.
    advice: what the user can do about a bad file, as a sentence; it ends every error.

    Raises UserError, and has run nothing, if the file is missing, is damaged, or asks for anything else.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing. {advice}") from None
    except OSError as error:
        raise UserError(f"{path} was not opened ({error.strerror}). {advice}") from error
    try:
        _scan(data)
        with _no_garbage_collection():
            return _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except _Refused as error:
        raise UserError(
            f"{path} was not opened: it asks for {error}, and labels are numbers and arrays alone. A file made to do "
            f"harm looks like this. {advice}"
        ) from error
    except Exception as error:  # damaged bytes raise whatever they happen to lead to
        raise UserError(f"{path} was not opened: it is damaged or cut short ({error}). {advice}") from error


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """None of the many new objects is garbage, and to look for some takes longer than to make them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


# Instructions of a pickle that make objects other than by a known name, or sets.
_NOT_NUMBERS = {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}
_NOT_NUMBERS |= {"NEXT_BUFFER", "READONLY_BUFFER", "EMPTY_SET", "FROZENSET", "ADDITEMS"}
_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
_SIZES = {ord(opcode.code): opcode.arg.n if opcode.arg else 0 for opcode in pickletools.opcodes}
_LINES = {ord("c"): 2, ord("i"): 2}  # GLOBAL and INST take two lines, others that take lines take one
_COUNTED = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_STOP, _PUT, _LONG_BINPUT, _FRAME = b".pr\x95"


def _scan(data: bytes) -> None:
    """Walks over the instructions without following them.

    Raises ValueError if one reaches beyond the end, or claims more memory than the bytes before it can account for:
    Python makes room for as many places as the highest that is named, and a single wrong bit asks for 64 GB. Frames
    have to end where an instruction does, for else Python goes on elsewhere than here.
    """
    position, frame_end = 0, math.inf
    for instructions in count():
        if position >= len(data):
            raise ValueError("it ends too early")
        if position >= frame_end:
            if position > frame_end:
                raise ValueError(f"an instruction before byte {position} is cut in two")
            frame_end = math.inf
        code = data[position]
        position += 1
        start, size = position, _SIZES.get(code)
        if size is None:
            raise ValueError(f"byte {start - 1} is no instruction of a pickle")
        if _NAMES[code] in _NOT_NUMBERS:
            raise _Refused(f"an object by the instruction {_NAMES[code]}")
        if size >= 0:
            position += size
        elif size == pickletools.UP_TO_NEWLINE:
            for _ in range(_LINES.get(code, 1)):
                position = data.find(b"\n", position) + 1 or len(data) + 1
        else:
            position += _COUNTED[size]
            position += int.from_bytes(data[start:position], "little")
        if code == _STOP:
            return
        if code == _FRAME:
            if frame_end < math.inf:
                raise ValueError(f"a frame begins within another at byte {start}")
            frame_end = position + int.from_bytes(data[start:position], "little")
        if code in (_LONG_BINPUT, _PUT):
            argument = data[start:position]
            place = int(argument) if code == _PUT else int.from_bytes(argument, "little")
            if place > instructions:
                raise ValueError(f"byte {start} names a place that cannot be")


def _shown(name: Any) -> str:
    """A name out of a pickle, in quotes, unless it would play tricks with the terminal or fill it."""
    return f"“{name}”" if isinstance(name, str) and name.isprintable() and len(name) < 80 else "something unnamed"


class _Known:
    """A class that a pickle may name. It can call it, which each class checks, but not change it.

    A pickle changes what it has made, or named, with the instruction BUILD, which looks for `__setstate__` first. On
    the class itself that lacks an argument, so it fails.
    """

    def __setstate__(self, state):
        raise ValueError("it changes what cannot be changed")


class _Encode(_Known):
    """`_codecs.encode`: how the older protocols write bytes."""

    def __new__(cls, text, encoding):
        if encoding != "latin1":
            raise ValueError("its bytes are in another encoding than latin1")
        return text.encode("latin1")


class _NoBytes(_Known):
    """`bytes`: how they write none."""

    def __new__(cls):
        return b""


class _Dtype(_Known):
    """`numpy.dtype`, of numbers."""

    def __init__(self, code, align=False, copy=False):
        if not isinstance(code, str) or not re.fullmatch("b1|[iu][1248]|f[248]", code):
            raise _Refused(f"an array of {_shown(code)}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state):
        _, order, *rest = state
        if rest[:3] != [None, None, None]:
            raise _Refused("an array of records")
        self.dtype = self.dtype.newbyteorder(order)


def _checked(data, dtype, shape) -> bytes:
    """The bytes of an array, if they are as many as it takes."""
    if isinstance(data, str):  # Python 2's byte string
        data = data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)) or not isinstance(dtype, _Dtype):
        raise ValueError("an array is not made of bytes")
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError("an array has a shape that cannot be")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise ValueError(f"an array {shape} has {len(data)} bytes")
    return bytes(data)


class _Array(np.ndarray):
    """`numpy.ndarray`, and the function of NumPy's that makes an empty one for BUILD to fill."""

    __slots__ = ()

    def __new__(cls, *_):
        return super().__new__(cls, 0)

    def __setstate__(self, state):
        _, shape, dtype, fortran, data = state
        data = _checked(data, dtype, shape)
        super().__setstate__((1, shape, dtype.dtype, fortran is True, data))


class _FromBuffer(_Known):
    """`_frombuffer`: how protocol 5 writes an array."""

    def __new__(cls, data, dtype, shape, order, axes=None):
        array = np.frombuffer(_checked(data, dtype, shape), dtype.dtype)
        return array.reshape(shape, order=order) if axes is None else array.reshape(shape).transpose(axes)


class _Scalar(_Known):
    """`scalar`: a number of NumPy's."""

    def __new__(cls, dtype, data):
        return np.frombuffer(_checked(data, dtype, ()), dtype.dtype)[0].item()


_KNOWN = {
    ("_codecs", "encode"): _Encode,
    ("__builtin__", "bytes"): _NoBytes,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}
for _core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    _KNOWN[f"{_core}.multiarray", "_reconstruct"] = _Array
    _KNOWN[f"{_core}.multiarray", "scalar"] = _Scalar
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = _FromBuffer


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise _Refused(_shown(f"{module}.{name}")) from None
