"""Hands rendered from labelled factors (chapter 2): `presets` → `scenes` → `kinematics` → `solid` → `renderer`.

Compiled code is cached. Numba detects changes to a function's own file, but not to the files of the functions that it
calls; therefore there is a separate cache for each state of the package's sources.
"""

import hashlib
import os
from pathlib import Path

import numba

_DRAWING = 6  # increased when the same factors give another image
_FACTORS = {  # of each preset; increased when the same seed gives other factors
    "synth-stb": 1,
    "synth-stb-rooms": 1,
    "synth-rhd": 2,
    "synth-rhd-validation": 1,
    "synth-rhd-test": 1,
    "synth-poses": 1,
}
RECIPES = {name: f"{_DRAWING}.{factors}" for name, factors in _FACTORS.items()}

if "NUMBA_CACHE_DIR" not in os.environ:
    _here = Path(__file__).parent
    _sources = b"".join(path.read_bytes() for path in sorted(_here.glob("*.py")))
    numba.config.CACHE_DIR = str(_here / "__pycache__" / f"numba-{hashlib.sha256(_sources).hexdigest()[:8]}")
