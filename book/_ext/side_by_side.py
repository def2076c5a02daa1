"""Executes chapters in parallel, and stores them in the cache of MyST-NB.

MyST-NB runs one chapter at a time, and most code of a chapter uses one core.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from tqdm import tqdm

MOST = 4  # chapters at a time, to limit memory: each needs more than 1 GiB


def execute(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Executes those chapters that will be read and are not in the cache."""
    if app.config.nb_execution_mode != "cache":
        return
    cache, todo = get_cache(app.config.nb_execution_cache_path), []
    for path in (Path(env.doc2path(name)) for name in docnames):
        if path.suffix == ".ipynb":
            chapter = nbformat.read(path, 4)
            try:
                cache.match_cache_notebook(chapter)
            except KeyError:
                todo.append((path, chapter))
    cores = os.cpu_count() or 1
    jobs = min(cores, MOST, len(todo))
    if jobs < 2:
        return
    todo.reverse()  # one of the last ones trains: it should not finish alone

    def run(item):
        path, chapter = item
        timeout = app.config.nb_execution_timeout
        # Otherwise a kernel's warning about TCP breaks the progress bar.
        quiet = {"extra_arguments": ["--log-level=ERROR"]}
        where = str(path.parent)
        return single_nb_execution(chapter, where, timeout, False, **quiet)

    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = before or str(cores // jobs)
    with ThreadPoolExecutor(jobs) as pool:
        results = tqdm(pool.map(run, todo), "Chapters", len(todo), leave=False)
        for (path, chapter), result in zip(todo, results, strict=True):
            # MyST-NB runs failed chapters again, and reports the error.
            if result.err is None:
                data = {"execution_seconds": result.time}
                bundle = CacheBundleIn(chapter, str(path), data=data)
                cache.cache_notebook_bundle(
                    bundle, check_validity=False, overwrite=True
                )
    if before is None:
        del os.environ["OMP_NUM_THREADS"]


def setup(app: Sphinx) -> dict:
    app.connect("env-before-read-docs", execute)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
