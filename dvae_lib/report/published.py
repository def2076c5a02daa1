"""Numbers that others have published on RHD and STB, each with its source, protocol and confidence (chapter 06).

They are in `published.json`, for tables and plots. Where two values of the same thing circulate there are two records;
what is printed nowhere has none. Confidence is in the number, not in the method:

- high: read in a printed table, or the label of a curve in public plotting data;
- medium: digitised from a figure, quoted at second hand, or one of two values that circulate;
- low: hearsay; none so far.
"""

import dataclasses
import functools
import math
from pathlib import Path

from dvae_lib.files import UserError, read_json

FILE = Path(__file__).with_name("published.json")

CHOICES = {
    "data": ("rhd", "stb"),
    "quantity": ("epe", "auc", "pck"),
    "root": ("palm", "wrist", "not stated"),
    "confidence": ("high", "medium", "low"),
}


@dataclasses.dataclass(frozen=True)
class Published:
    """One published value, or the values of one published PCK curve.

    Raises ValueError if it makes no sense: a choice that is not among `CHOICES`, a share above 1, a curve that falls.
    """

    method: str
    year: int
    citation: str | None  # key in book/references.bib
    data: str
    quantity: str
    value: float | tuple[float, ...]  # a PCK curve has one for each of `thresholds_mm`
    unit: str  # "mm" of an EPE, else "share"
    source: str  # where the number was read
    root: str
    given: str  # what the method is told at test time
    confidence: str
    range_mm: tuple[float, float] | None = None  # of an AUC, as printed
    thresholds_mm: tuple[float, ...] | None = None  # of a PCK curve
    note: str = ""

    def __post_init__(self):
        for field in CHOICES:
            _check_choice(field, getattr(self, field))
        if not all(isinstance(text, str) and text.strip() for text in (self.method, self.source, self.given)):
            raise ValueError("method, source and given must say something")
        if self.unit != ("mm" if self.quantity == "epe" else "share"):
            raise ValueError(f"an {self.quantity} is not measured in “{self.unit}”")
        if (self.range_mm is not None, self.thresholds_mm is not None) != (self.quantity == "auc", self.is_curve):
            raise ValueError("an AUC, and nothing else, has range_mm; a PCK curve, and nothing else, has thresholds_mm")

        if self.is_curve != isinstance(self.value, tuple):
            raise ValueError("a PCK curve has a list of values, anything else one number")
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        largest = math.inf if self.quantity == "epe" else 1
        if not all(math.isfinite(value) and 0 <= value <= largest for value in values):
            raise ValueError(f"{self.value} is not the value of an {self.quantity}")
        if self.range_mm and not _increasing(self.range_mm):
            raise ValueError("range_mm must increase")
        if self.thresholds_mm and not (len(values) == len(self.thresholds_mm) and _increasing(self.thresholds_mm)):
            raise ValueError("thresholds_mm must increase and be as many as the values")
        if self.is_curve and list(values) != sorted(values):
            raise ValueError("a PCK curve never falls")

    @property
    def is_curve(self) -> bool:
        return self.quantity == "pck"

    @property
    def label(self) -> str:
        return f"{self.method}, {self.year}"


def _check_choice(field: str, value: str) -> None:
    if value not in CHOICES[field]:
        raise ValueError(f"{field} is “{value}”; it is one of {', '.join(CHOICES[field])}")


def _increasing(values: tuple[float, ...]) -> bool:
    return all(low < high for low, high in zip(values, values[1:], strict=False))


def load(path: Path = FILE) -> tuple[Published, ...]:
    """Every record of the file, in its order. Raises UserError if one is not valid, or is there twice."""
    content = read_json(path)
    if not isinstance(content, list):
        raise UserError(f"{path} does not hold a list of records. Correct it, or install the package again.")
    records: dict[tuple, Published] = {}
    for number, raw in enumerate(content, start=1):
        try:
            record = Published(**{name: tuple(v) if isinstance(v, list) else v for name, v in raw.items()})
            key = (record.method, record.data, record.quantity, record.value)
            if key in records:
                raise ValueError("it is there twice")
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}, record {number}: {error}. Correct it, or install the package again.") from error
        records[key] = record
    return tuple(records.values())


@functools.cache
def _all() -> tuple[Published, ...]:
    return load()


def find(data: str | None = None, quantity: str | None = None, method: str | None = None) -> tuple[Published, ...]:
    """The records of this data set, quantity and method; None stands for any. Empty where nothing was published.

    Raises ValueError for a data set or quantity that is not among `CHOICES`.
    """
    wanted = {"data": data, "quantity": quantity, "method": method}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    for name in wanted.keys() & CHOICES.keys():
        _check_choice(name, wanted[name])
    return tuple(record for record in _all() if all(getattr(record, name) == wanted[name] for name in wanted))
