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
# source, which a wrapped function does not have.
_PACKAGE = Path(__file__).parent / "dvae_lib"
_CHECKED = [f"dvae_lib.{m.name}" for m in pkgutil.iter_modules([str(_PACKAGE)]) if m.name != "synthetic"]
install_import_hook(_CHECKED, f"{typecheck.__name__}.check")

# One folder for all workers of a parallel run: what one of them has rendered or trained, the others load.
_MINE = "DVAE_TESTS_SCRATCH" not in os.environ
_SCRATCH = Path(os.environ.setdefault("DVAE_TESTS_SCRATCH", tempfile.mkdtemp(prefix="dvae-tests-") if _MINE else ""))
hypothesis_configuration.set_hypothesis_home_dir(_SCRATCH / "hypothesis")
# The same examples every time: an intermittent failure is not informative.
hypothesis_settings.register_profile("book", derandomize=True, database=None, deadline=None)
hypothesis_settings.load_profile("book")
os.environ["DVAE_CACHE_ROOT"] = str(_SCRATCH / "cache")
os.environ["DVAE_RUNS_ROOT"] = str(_SCRATCH / "runs")
os.environ["DVAE_PROFILE"] = "smoke"
for variable in ("DVAE_DATA", "DVAE_ROOT_JOINT"):
    os.environ.pop(variable, None)
# The computations in tests are small: threads would mostly wait for one another, at four times the cost.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

_left_out: dict[Path, int] = {}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Makes `pytest -n 2` give each worker whole files: a chapter's cells depend on those before them."""
    if config.getvalue("dist") == "load":
        from xdist.scheduler import LoadFileScheduling

        return LoadFileScheduling(config, log)
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of real data that are not available."""
    from dvae_lib import settings

    here, missing = [], []
    for item in items:
        folders = [settings.data_root() / marker.args[0] for marker in item.iter_markers("real_data")]
        lacking = next((folder for folder in folders if not folder.exists()), None)
        if lacking:
            _left_out[lacking] = _left_out.get(lacking, 0) + 1
            missing.append(item)
        else:
            here.append(item)
    if missing:
        config.hook.pytest_deselected(items=missing)
        items[:] = here


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    for folder, tests in _left_out.items():
        terminalreporter.write_line(
            f"left out {tests} tests of real data: {folder} does not exist "
            f"(`dvae download` fetches it; or set DVAE_DATA_ROOT)"
        )


def pytest_unconfigure() -> None:
    if _MINE:
        shutil.rmtree(_SCRATCH, ignore_errors=True)
