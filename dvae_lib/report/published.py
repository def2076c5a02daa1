"""Results that others have published on RHD and STB, each with its source, protocol and confidence (chapter 06).

They are stored in `published.json`, for tables and plots. If two values of the same quantity are in use, there are two
records; an unpublished value has none. Confidence refers to the number, not to the method:

- high: from a printed table, or from the label of a curve in public plotting data;
- medium: digitised from a figure, quoted from a secondary source, or one of two values in use;
- low: unconfirmed; none so far.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

from dvae_lib.files import read_json

FILE = Path(__file__).with_name("published.json")
DATA, QUANTITIES = ("rhd", "stb"), ("epe", "auc", "pck")


@dataclass(frozen=True)
class Published:
    """One published value, or the values of one published PCK curve."""

    method: str
    year: int
    citation: str | None  # key in book/references.bib
    data: str  # one of `DATA`
    quantity: str  # one of `QUANTITIES`
    value: float | tuple[float, ...]  # a PCK curve has one for each of `thresholds_mm`
    unit: str  # "mm" of an EPE, else "share"
    source: str  # where the number was found
    root: str  # "palm", "wrist" or "not stated"
    given: str  # what the method is given at test time
    confidence: str  # "high", "medium" or "low"
    range_mm: tuple[float, float] | None = None  # of an AUC, as printed
    thresholds_mm: tuple[float, ...] | None = None  # of a PCK curve
    note: str = ""

    @property
    def label(self) -> str:
        return f"{self.method}, {self.year}"


@functools.cache
def load() -> tuple[Published, ...]:
    """Every record of the file, in its order."""
    return tuple(
        Published(**{name: tuple(value) if isinstance(value, list) else value for name, value in record.items()})
        for record in read_json(FILE)
    )


def find(data: str | None = None, quantity: str | None = None, method: str | None = None) -> tuple[Published, ...]:
    """The records of this data set, quantity and method; None matches any. Empty if nothing was published.

    Raises ValueError for a data set or quantity that is not in `DATA` or `QUANTITIES`.
    """
    for value, known in ((data, DATA), (quantity, QUANTITIES)):
        if value not in (None, *known):
            raise ValueError(f"There are no published numbers for “{value}”: choose one of {', '.join(known)}.")
    wanted = {"data": data, "quantity": quantity, "method": method}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    return tuple(record for record in load() if all(getattr(record, name) == wanted[name] for name in wanted))
