"""What was measured for a claim, and what that comes to (chapter 10)."""

from dataclasses import asdict, dataclass

from dvae_lib.metrics.intervals import Interval


@dataclass(frozen=True)
class Measure:
    """A number that a claim asks for: the mean with the ends of its 95 % interval, and what it has to be."""

    what: str
    estimate: Interval
    limit: float
    at_most: bool = True
    unit: str = ""
    digits: int = 1

    def __str__(self) -> str:
        """“0.90 (0.88 to 0.92), at most 1.10”."""
        rounded = (round(value, self.digits) + 0.0 for value in (*self.estimate, self.limit))  # no −0
        mean, low, high, limit = (f"{value:.{self.digits}f}".replace("-", "−") for value in rounded)
        return f"{mean}{self.unit} ({low} to {high}), {'at most' if self.at_most else 'at least'} {limit}{self.unit}"

    @property
    def holds(self) -> bool:
        return self.estimate[0] <= self.limit if self.at_most else self.estimate[0] >= self.limit

    @property
    def conclusive(self) -> bool:
        """Whether the whole interval says the same as its mean."""
        return all((end <= self.limit) == (self.estimate[0] <= self.limit) for end in self.estimate[1:])


@dataclass(frozen=True)
class Claim:
    """A claim with what was measured for it; nothing, where the chosen data cannot tell."""

    number: int
    text: str
    printed: str  # what the papers print for it
    measures: tuple[Measure, ...]

    @property
    def holds(self) -> bool | None:
        """By the means; None where nothing could be measured."""
        return all(m.holds for m in self.measures) if self.measures else None

    @property
    def verdict(self) -> str:
        if self.holds is None:
            return "not asked"
        word = "holds" if self.holds else "fails"
        decisive = self.measures if self.holds else [m for m in self.measures if not m.holds]
        conclusive = (all if self.holds else any)(m.conclusive for m in decisive)
        return word if conclusive else f"{word}, within the interval"

    def as_dict(self) -> dict:
        measures = [asdict(m) | {"holds": m.holds, "conclusive": m.conclusive} for m in self.measures]
        return asdict(self) | {"verdict": self.verdict, "measures": measures}

    def __str__(self) -> str:
        """A Markdown list: the claim with its verdict, and below it each number with what was asked for."""
        lines = [f"- *Claim {self.number}*: {self.text} **{self.verdict[0].upper()}{self.verdict[1:]}.**"]
        for m in self.measures:
            lines.append(
                f"  - {m.what}: {m}. {'Yes' if m.holds else 'No'}{'' if m.conclusive else ', within the interval'}."
            )
        return "\n".join(lines)
