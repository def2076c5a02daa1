"""What was measured for a claim, and what that comes to (chapter 10)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from dvae_lib.metrics.intervals import Interval, answer

LEVEL = 0.95
_ENOUGH_UNITS = 40  # an interval over fewer describes these, and promises little of others


@dataclass(frozen=True)
class Measure:
    """A number that a claim asks for, and what it has to be. interval: the mean with the ends of its interval at a
    level, `interval(level=0.95)`. units: how many things the samples depend on, over which the interval is, beside
    seeds; one, where it is over seeds alone. control: whether it asks if this way of measuring can tell at all.
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
        object.__setattr__(self, "interval", cache(self.interval))  # is asked for several times, and takes long

    def answer(self, level: float = LEVEL) -> str:
        """Whether it is what it has to be: “yes”, “no” or, where the interval has the limit in it, “open”."""
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
    """A claim with what was measured for it; nothing, where the chosen data cannot tell, or while seeds are missing.

    seeds: of the experiment that has fewest of what it needs, how many are done, and how many it needs. where: on what
    it was measured.
    """

    number: int
    text: str
    printed: str  # what the papers print for it
    measures: tuple[Measure, ...]
    seeds: tuple[int, int] | None = None
    where: str = "rendered hands"

    @property
    def verdict(self) -> str:
        """It holds if every measure's 95 % interval is on its side of the limit, and fails if a measure's is beyond it.

        Of m measures one is soon beyond by chance, so there the level is 1 − 0.05 / m (Bonferroni). Else it is “open”.
        Where what has not learnt the thing measures as well, it cannot be told by this measure; without measures it
        cannot be told by these data, or waits for seeds.
        """
        if self.seeds:
            return "{} of {} seeds".format(*self.seeds)
        if not self.measures:
            return "cannot be told by these data"
        if any(m.control and m.answer() != "yes" for m in self.measures):
            return "cannot be told by this measure"
        if all(m.answer() == "yes" for m in self.measures):
            return "holds"
        corrected = 1 - (1 - LEVEL) / len(self.measures)
        return "fails" if any(m.answer(corrected) == "no" for m in self.measures) else "open"

    def as_dict(self) -> dict:
        said = {name: getattr(self, name) for name in ("number", "text", "printed", "verdict", "where")}
        return said | {"measures": [m.as_dict() for m in self.measures]}

    def __str__(self) -> str:
        """A Markdown list: the claim with its verdict, and below it each number with what was asked for."""
        scope = f", on {self.where}" if self.measures else ""
        lines = [f"- *Claim {self.number}*: {self.text} **{self.verdict.capitalize()}{scope}.**"]
        return "\n".join(lines + [f"  - {m.what}: {m}. {m.answer().capitalize()}." for m in self.measures])
