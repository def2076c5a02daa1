"""The measures of a claim, and the verdict that follows from them (chapter 10)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from dvae_lib.metrics.intervals import Interval, answer

LEVEL = 0.95
_ENOUGH_UNITS = 40  # an interval over fewer units is descriptive: it hardly generalises to others


@dataclass(frozen=True)
class Measure:
    """A number that a claim requires, and its threshold. interval: the mean with the ends of its confidence interval,
    `interval(level=0.95)`. units: the number of groups of dependent samples over which the interval is taken, besides
    seeds; one if it is over seeds only. control: whether this measure checks that the others can decide the claim.
    """

    what: str
    interval: Callable[..., Interval]
    limit: float
    at_most: bool = True
    unit: str = ""
    digits: int = 1
    units: int = 1
    control: bool = False

    @property
    def estimate(self) -> Interval:
        """The mean, and the ends of its 95 % interval."""
        return self.interval(level=LEVEL)

    def __post_init__(self):
        object.__setattr__(self, "interval", cache(self.interval))  # is called several times, and is slow

    def answer(self, level: float = LEVEL) -> str:
        """Whether the threshold is met: “yes”, “no”, or “open” if the interval contains the threshold."""
        mean, low, high = (value - self.limit for value in self.interval(level=level))
        return answer((mean, low, high), -1 if self.at_most else 1)

    def __str__(self) -> str:
        """“0.90 (0.88 to 0.92), at most 1.10”."""
        rounded = (round(value, self.digits) + 0.0 for value in (*self.estimate, self.limit))  # no −0
        mean, low, high, limit = (f"{value:.{self.digits}f}".replace("-", "−") for value in rounded)
        few = ", descriptive" if 1 < self.units < _ENOUGH_UNITS else ""
        asked = f"{'at most' if self.at_most else 'at least'} {limit}{self.unit}"
        return f"{mean}{self.unit} ({low} to {high}{few}), {asked}"

    def as_dict(self) -> dict:
        numbers = {"estimate": list(self.estimate), "answer": self.answer()}
        return {name: value for name, value in vars(self).items() if name != "interval"} | numbers


@dataclass(frozen=True)
class Claim:
    """A claim with its measures; there are none if the selected data cannot decide it, or while seeds are missing.

    seeds: for the required experiment that lacks most seeds, the numbers of finished and of required seeds. where: the
    kind of images on which it was measured.
    """

    number: int
    text: str
    printed: str  # the numbers or statements in the papers
    measures: tuple[Measure, ...]
    seeds: tuple[int, int] | None = None
    where: str = "rendered hands"

    @property
    def verdict(self) -> str:
        """A claim holds if the 95 % interval of every measure is on the required side of its threshold. It fails if the
        interval of any measure is on the other side; since one of m measures may be there by chance, this interval has
        the level 1 − 0.05 / m (Bonferroni). Otherwise the claim is “open”.

        If a control fails, for example because an untrained model scores as well, the claim cannot be decided by this
        measure. Without measures it cannot be decided by these data, or seeds are missing.
        """
        if self.seeds:
            return "{} of {} seeds".format(*self.seeds)
        if not self.measures:
            return "cannot be decided by these data"
        if any(m.control and m.answer() != "yes" for m in self.measures):
            return "cannot be decided by this measure"
        if all(m.answer() == "yes" for m in self.measures):
            return "holds"
        corrected = 1 - (1 - LEVEL) / len(self.measures)
        return "fails" if any(m.answer(corrected) == "no" for m in self.measures) else "open"

    def as_dict(self) -> dict:
        said = {name: getattr(self, name) for name in ("number", "text", "printed", "verdict", "where")}
        return said | {"measures": [m.as_dict() for m in self.measures]}

    def __str__(self) -> str:
        """A Markdown list: the claim with its verdict, and below it each number with its threshold."""
        scope = f", on {self.where}" if self.measures else ""
        lines = [f"- *Claim {self.number}*: {self.text} **{self.verdict.capitalize()}{scope}.**"]
        return "\n".join(lines + [f"  - {m.what}: {m}. {m.answer().capitalize()}." for m in self.measures])
