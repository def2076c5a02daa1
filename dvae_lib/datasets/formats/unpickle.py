"""Reads pickles of numbers without executing their code: dicts, lists, text, numbers and NumPy arrays only.

A pickle is a program for a stack machine: it can call functions of any module while it is opened, so that a downloaded
one could delete files. The machine here has only the instructions that create the values above, and the few names that
describe an array. Python's own `pickle` is not sufficient, whatever names it is allowed: it hashes the keys of a
file's dicts, and 128 bytes can describe a tuple that takes years to hash.
"""

import codecs
import functools
import gc
import io
import math
import pickletools
import re
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from dvae_lib.files import UserError, explain_os_errors

KEYS = 100_000  # integer keys must be below this: larger ones can be chosen to have equal hashes
LEVELS = 8  # of nested containers, at most
ARGUMENTS = 9  # of a call, at most: a dtype's state has 8 or 9
LARGEST = 1 << 30  # bytes; RHD's annotations have less than a tenth of it


class _Refused(Exception):
    """The pickle requires something other than numbers."""


def load(path: Path, advice: str) -> Any:
    """The content of a pickle: dict, list, tuple, str, bytes, bool, int, float and arrays of numbers, nested.

    Supports protocols 0 to 5, also of Python 2, whose byte strings are decoded as latin-1. NumPy's scalars become
    numbers. Keys are text, or integers from 0 to below `KEYS`. Time and memory are bounded by multiples of the file's
    size. advice: a sentence that tells the user what to do about a bad file; it is appended to every error.

    Raises UserError, without executing anything, if the file is missing, is damaged, or requires anything else.
    """
    with explain_os_errors(path, advice), open(path, "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UserError(f"{path} is larger than any label file. {advice}")
    collecting = gc.isenabled()
    gc.disable()  # none of the many new objects is garbage, and looking for it would take longer than creating them
    try:
        return _check(_run(data), len(data))
    except _Refused as error:
        asked = str(error) if str(error).isprintable() and len(str(error)) < 100 else "something unnamed"
        raise UserError(
            f"{path} was not opened: it requires {asked}, but labels are only numbers and arrays. The file may be "
            f"malicious. {advice}"
        ) from error
    except Exception as error:  # damaged data can raise any exception, and some contain the data
        raise UserError(f"{path} was not opened: it is damaged or cut short ({str(error)[:200]}). {advice}") from error
    finally:
        if collecting:
            gc.enable()


def _run(data: bytes) -> Any:
    """Executes the instructions until STOP. Python's `pickletools` names them and decodes their arguments."""
    stream, stack, table = io.BytesIO(data), list[Any](), {}
    steps = _steps(stack, len(data))
    for opcode in pickletools.opcodes:
        read = opcode.arg and _READERS.get(opcode.name, opcode.arg.reader)
        table[opcode.code.encode("latin1")] = read, steps.get(opcode.name) or functools.partial(_refuse, opcode.name)
    for code in iter(functools.partial(stream.read, 1), b"."):
        if not code:
            raise ValueError("it ends too early")
        read, step = table[code]
        step(read(stream) if read else None)
    return stack.pop()


def _refuse(name: str, _) -> None:
    raise _Refused(f"an object created by the instruction {name}")


def _steps(stack: list, size: int) -> dict[str, Callable[[Any], object]]:
    """The effect of each instruction on the stack, given its argument, in a pickle of `size` bytes."""
    push, marks, memo = stack.append, list[int](), list[Any]()
    room = 2 * size  # bytes that calls may create: those of an array may be decoded from text, and are then copied

    def take(count: int | None = None) -> list:
        """The last `count` values of the stack, or those since the last mark."""
        start = marks.pop() if count is None else -count
        taken = stack[start:]
        del stack[start:]
        return taken

    def put(place: int) -> None:
        if place > size:
            raise ValueError("it refers to an impossible place in its memo")
        if place >= len(memo):
            memo.extend([None] * (place + 1 - len(memo)))
        memo[place] = stack[-1]

    def make(function: Callable[[Any, Any], Any]) -> None:
        nonlocal room
        made, given = take(2)
        if type(given) is not tuple or len(given) > ARGUMENTS:  # every call copies them
            raise ValueError("a call has invalid arguments")
        push(value := function(made, given))
        room -= len(value) if type(value) is bytes else getattr(value, "nbytes", 0)
        if room < 0:
            raise _Refused("more bytes than its size allows")

    return {
        **dict.fromkeys(_LITERALS, push),
        **dict.fromkeys(("PROTO", "FRAME"), lambda _: None),
        **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), put),
        **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda place: push(memo[place])),
        "MEMOIZE": lambda _: memo.append(stack[-1]),
        "MARK": lambda _: marks.append(len(stack)),
        "NONE": lambda _: push(None),
        "NEWTRUE": lambda _: push(True),
        "NEWFALSE": lambda _: push(False),
        "EMPTY_TUPLE": lambda _: push(()),
        "TUPLE1": lambda _: push(tuple(take(1))),
        "TUPLE2": lambda _: push(tuple(take(2))),
        "TUPLE3": lambda _: push(tuple(take(3))),
        "TUPLE": lambda _: push(tuple(take())),
        "EMPTY_LIST": lambda _: push([]),
        "LIST": lambda _: push(take()),
        "EMPTY_DICT": lambda _: push({}),
        "DICT": lambda _: push(_add(take(), {})),
        "APPEND": lambda _: _add(take(1), stack[-1]),
        "SETITEM": lambda _: _add(take(2), stack[-1]),
        **dict.fromkeys(("APPENDS", "SETITEMS"), lambda _: _add(take(), stack[-1])),
        "GLOBAL": lambda names: push(_find(*names.split(" "))),
        "STACK_GLOBAL": lambda _: push(_find(*take(2))),
        "REDUCE": lambda _: make(lambda known, arguments: known(*arguments)),  # nothing else there can be called
        "BUILD": lambda _: make(_build),
    }


def _add(items: list, target: Any) -> list | dict:
    """The list with these items added, or the dict with these keys and values in turn."""
    if type(target) is list:
        target += items
    else:
        if not all(type(key) is str or type(key) is int and 0 <= key < KEYS for key in items[::2]):
            raise _Refused(f"a key that is neither text nor an integer below {KEYS}")
        target.update(zip(items[::2], items[1::2], strict=True))  # fails if it is not a dict
    return target


def _check(value: Any, most: int) -> Any:
    """Checks the value level by level, with at most `most` values per level: an object may occur in many places."""
    level = [value]
    for _ in range(LEVELS + 1):
        if not {*map(type, level)} <= _PLAIN:
            raise _Refused("something else")
        containers = [part for part in level if type(part) in (dict, list, tuple)]
        parts = chain.from_iterable(part.values() if type(part) is dict else part for part in containers)
        level = list(islice(parts, most + 1))
        if len(level) > most:
            raise _Refused("more values than its size allows")
    if level:
        raise _Refused(f"more than {LEVELS} nested containers")
    return value


def _find(*names: Any) -> Callable:
    name = ".".join(names)  # fails if they are not text
    if name not in _KNOWN:
        raise _Refused(f"“{name}”")
    return _KNOWN[name]


def _dtype(code, *_) -> np.dtype:
    if not re.fullmatch("b1|[iu][1248]|f[248]", code):
        raise _Refused(f"an array of “{code}”")
    return np.dtype(code, copy=True)  # for BUILD to set its byte order


def _build(made: Any, state: Any) -> Any:
    """Sets the byte order of a dtype, or fills an array."""
    if isinstance(made, np.dtype):
        _, order, *records = state
        if order not in ("<", ">", "|") or any(part is not None for part in records[:3]):
            raise _Refused("an array of records")
        made.__setstate__((3, order, None, None, None, -1, -1, 0))  # type: ignore[attr-defined]
    elif type(made) is np.ndarray:
        _, shape, dtype, fortran, data = state
        data = bytes(_checked(data, dtype, shape))
        made.__setstate__((1, shape, dtype, fortran is True, data))  # type: ignore[arg-type]
    else:
        raise ValueError("it changes an object that cannot be changed")
    return made


def _checked(data: Any, dtype: Any, shape: Any) -> bytes | bytearray:
    """The bytes of an array, if their number fits its shape and dtype."""
    if type(data) is str:  # Python 2's byte string
        data = data.encode("latin1")
    if type(data) not in (bytes, bytearray) or not isinstance(dtype, np.dtype):
        raise ValueError("the content of an array is not bytes")
    if type(shape) is not tuple or len(shape) > 32 or {*map(type, shape)} - {int} or min(shape, default=0) < 0:
        raise ValueError("an array has an invalid shape")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {str(shape)[:80]} has {len(data)} bytes")
    return data


def _from_buffer(data, dtype, shape, order, axes=None) -> np.ndarray:
    array = np.frombuffer(_checked(data, dtype, shape), dtype)
    return array.reshape(shape, order=order) if axes is None else array.reshape(shape).transpose(axes)


def _encode(text, encoding) -> bytes:
    if encoding != "latin1":
        raise ValueError("its bytes have an encoding other than latin1")
    return text.encode("latin1")


# These functions must not hash, deeply compare or print their arguments, which can be malicious tuples.
_KNOWN: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _encode,  # how protocols 0 to 2 write bytes
    "__builtin__.bytes": lambda: b"",  # and how they write empty ones
    "numpy.ndarray": lambda *_: np.empty(0),  # for BUILD to fill
    "numpy.dtype": _dtype,
}
for _core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    _KNOWN[f"{_core}.multiarray._reconstruct"] = _KNOWN["numpy.ndarray"]
    _KNOWN[f"{_core}.multiarray.scalar"] = lambda dtype, data: _from_buffer(data, dtype, (), "C").item()
    _KNOWN[f"{_core}.numeric._frombuffer"] = _from_buffer  # protocol 5

_PLAIN = {dict, list, tuple, str, bytes, bytearray, bool, int, float, type(None), np.ndarray}
_READERS = {  # of arguments that `pickletools` would decode as ASCII: byte strings of Python 2
    "STRING": lambda stream: codecs.escape_decode(pickletools.read_stringnl(stream, decode=False))[0].decode("latin1")
}
# Instructions that push their argument.
_LITERALS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"}
_LITERALS |= {"SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_LITERALS |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
