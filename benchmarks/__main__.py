"""Runs all benchmarks, or those named; prints a table, writes JSON: python -m benchmarks [--json FILE] [NAME ...]"""

import argparse
import importlib
import os
from datetime import date
from pathlib import Path

import torch

from benchmarks.common import PROFILE
from dvae_lib.files import write_json

NAMES = ("loop", "trainers", "stages", "growth", "predict", "recipe")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, help=f"any of {', '.join(NAMES)}; default: all")
    parser.add_argument("--json", type=Path, help="file for the results")
    chosen = parser.parse_args()
    on = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    provenance = {"profile": PROFILE, "date": date.today().isoformat(), "hardware": on, "torch": torch.__version__}
    results = {}
    for name in chosen.names:
        results[name] = importlib.import_module(f"benchmarks.{name}").run()
        for quantity, value in results[name].items():
            print(f"{name:10}{quantity:64}{value}", flush=True)
        if chosen.json:
            write_json(chosen.json, {"provenance": provenance, "results": results})


if __name__ == "__main__":
    main()
