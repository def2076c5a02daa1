"""The values that a setting may have, expressed by its type, and the conversion of JSON values to that type."""

import math
from collections.abc import Callable
from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints


class Allowed(NamedTuple):
    """Narrows a type, as in `Annotated[int, Allowed("a whole number of at least 1", lambda n: n >= 1)]`."""

    words: str
    holds: Callable[[Any], Any]

    def __repr__(self) -> str:
        return f"“{self.words}”"


def one_of(*names: str) -> Allowed:
    return Allowed(f"one of {', '.join(names)}", names.__contains__)


def whole_from(least: int) -> Allowed:
    return Allowed(f"a whole number of at least {least}", lambda n: n >= least)


Count = Annotated[int, whole_from(1)]
Positive = Annotated[float, Allowed("a number above 0", lambda x: 0 < x < math.inf)]
NotNegative = Annotated[float, Allowed("a number of at least 0", lambda x: 0 <= x < math.inf)]
Share = Annotated[float, Allowed("a number from 0 to 1", lambda x: 0 <= x <= 1)]
NonEmpty = Allowed("at least one", len)

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", dict: "names with values"}


def words(kind: Any) -> str:
    """The values that a type allows, in words."""
    arguments = get_args(kind)
    if get_origin(kind) is Annotated:
        narrower = arguments[1].words
        return f"{words(arguments[0])}, {narrower}" if arguments[1] is NonEmpty else narrower
    if get_origin(kind) in (UnionType, Union):
        return f"{words(arguments[0])}, or null"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(arguments)}"
    if get_origin(kind) is tuple:
        return f"a list without repetitions, each {words(arguments[0])}"
    if get_origin(kind) is dict:
        return f"names with values: a name is {words(arguments[0])}, a value {words(arguments[1])}"
    return _WORDS.get(kind) or f"values of {', '.join(kind.__dataclass_fields__)}"


def convert(value: Any, kind: Any) -> Any:
    """Converts a JSON value to the type `kind`: lists become tuples, whole numbers floats where these are required.

    Raises ValueError if the type does not allow the value.
    """
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        value = convert(value, arguments[0])
        allowed = arguments[1].holds(value)
    elif origin in (UnionType, Union):
        return None if value is None else convert(value, arguments[0])
    elif origin is Literal:
        allowed = value in arguments
    elif origin is tuple and isinstance(value, list | tuple):
        value = tuple(convert(item, arguments[0]) for item in value)
        allowed = len(set(value)) == len(value)
    elif origin is dict and isinstance(value, dict) and arguments:
        return {convert(name, arguments[0]): convert(item, arguments[1]) for name, item in value.items()}
    elif is_dataclass(origin) and isinstance(value, dict | origin):
        hints, given = get_type_hints(origin), value if isinstance(value, dict) else vars(value)
        if not given.keys() <= hints.keys():
            raise ValueError(f"{value!r} is not {words(kind)}")
        return kind(**{name: convert(item, hints[name]) for name, item in given.items()})
    else:
        value = float(value) if origin is float and type(value) is int else value
        allowed = type(value) is origin
    if not allowed:
        raise ValueError(f"{value!r} is not {words(kind)}")
    return value
