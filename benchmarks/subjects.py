"""Runs the compared programs alternately, each in its own process, so that a change in speed affects all equally.

A subject is a generator: everything before its first measurement is preparation, and every value is one measurement.
Its name, such as "loop dvae-pose", consists of a function and its arguments.
"""

import contextlib
import importlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_MARK = "measured: "  # other output of a subject is ignored


class _Process:
    def __init__(self, module: str, subject: str):
        command = [sys.executable, "-m", "benchmarks.subjects", module, subject]
        root = Path(__file__).parents[1]
        self.name = subject
        self.process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def answer(self) -> float:
        for line in self.process.stdout:
            if line.startswith(_MARK):
                return json.loads(line.removeprefix(_MARK))
        raise RuntimeError(f"the subject {self.name} ended without a result; see its error above")

    def measure(self) -> float:
        self.ask()
        return self.answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measure(module: str, subjects: Sequence[str], rounds: int = 7) -> dict[str, list[float]]:
    """For each subject `rounds` measurements, taken alternately, after a warm-up measurement."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(contextlib.closing(_Process(module, name))) for name in subjects]
        measured = [{process.name: process.measure() for process in processes} for _ in range(rounds + 1)][1:]
    return {name: [values[name] for values in measured] for name in subjects}


def together(module: str, subject: str, count: int) -> list[float]:
    """One measurement from each of several simultaneous processes of a subject, after a warm-up measurement."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(contextlib.closing(_Process(module, subject))) for _ in range(count)]
        for _ in range(2):
            for process in processes:
                process.ask()
            measured = [process.answer() for process in processes]
    return measured


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """The median of the ratios of consecutive measurements."""
    return round(statistics.median(a / b for a, b in zip(numerator, denominator, strict=True)), 3)


def main(module: str, subject: str) -> None:
    function, *arguments = subject.split()
    values: Iterator[float] = getattr(importlib.import_module(f"benchmarks.{module}"), function)(*arguments)
    for _ in sys.stdin:
        print(f"{_MARK}{json.dumps(next(values))}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
