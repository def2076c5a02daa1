"""Tests and the chapters' kernels run in the smoke profile, and never touch the user's runs or caches."""

import os
import pkgutil
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import configuration as hypothesis_configuration
from hypothesis import settings as hypothesis_settings
from jaxtyping import install_import_hook

from tests.helpers import typecheck

# Signatures are checked at run time, in tests only. Numba compiles the kernels of `synthetic` from their plain
# source, which a wrapped function has not.
_PACKAGE = Path(__file__).parent / "dvae_lib"
_CHECKED = [f"dvae_lib.{m.name}" for m in pkgutil.iter_modules([str(_PACKAGE)]) if m.name != "synthetic"]
install_import_hook(_CHECKED, f"{typecheck.__name__}.check")

_SCRATCH = Path(tempfile.mkdtemp(prefix="dvae-tests-"))
hypothesis_configuration.set_hypothesis_home_dir(_SCRATCH / "hypothesis")
# The same examples every time: a test that fails now and then says nothing.
hypothesis_settings.register_profile("book", derandomize=True, database=None, deadline=None)
hypothesis_settings.load_profile("book")
os.environ["DVAE_CACHE_ROOT"] = str(_SCRATCH / "cache")
os.environ["DVAE_RUNS_ROOT"] = str(_SCRATCH / "runs")
os.environ.setdefault("DVAE_PROFILE", "smoke")

_left_out: dict[Path, int] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of real data that is not here."""
    from dvae_lib import settings

    here, missing = [], []
    for item in items:
        marker = item.get_closest_marker("real_data")
        folder = settings.data_root() / marker.args[0] if marker else None
        if folder and not folder.exists():
            _left_out[folder] = _left_out.get(folder, 0) + 1
            missing.append(item)
        else:
            here.append(item)
    if missing:
        config.hook.pytest_deselected(items=missing)
        items[:] = here


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for folder, tests in _left_out.items():
        terminalreporter.write_line(
            f"left out {tests} tests of real data: there is no {folder} "
            f"(`dvae download` fetches it; or set DVAE_DATA_ROOT)"
        )


def pytest_unconfigure() -> None:
    shutil.rmtree(_SCRATCH, ignore_errors=True)
