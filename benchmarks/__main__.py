"""Every benchmark, as a table and as JSON: python -m benchmarks [FILE.json]"""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def measure(name: str) -> dict:
    """What benchmarks/<name>.py's run() returns, from a fresh process.

    Peak memory is a process's, and what one benchmark has compiled or cached would help the next.
    """
    program = f"import json; from benchmarks.{name} import run; print(json.dumps(run()))"
    command = [sys.executable, "-c", program]
    printed = subprocess.run(command, cwd=FOLDER.parent, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(printed.splitlines()[-1])


def main(file: Path | None) -> None:
    results = {}
    for name in sorted(m.name for m in pkgutil.iter_modules([str(FOLDER)]) if m.name != "__main__"):
        results[name] = measure(name)
        for quantity, value in results[name].items():
            print(f"{name:12}{quantity:32}{value}", flush=True)
    print(text := json.dumps(results, indent=1))
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
