"""Executes chapters side by side, into the cache where MyST-NB finds them.

MyST-NB runs one chapter at a time, and most of what a chapter does keeps one
core busy.
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

MOST = 4  # at a time, for the memory's sake: each takes more than a GiB


def execute(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """The chapters not in the cache, of the pages that will be read."""
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
    todo.reverse()  # one of the last trains, and would end alone

    def run(item):
        path, chapter = item
        timeout = app.config.nb_execution_timeout
        # A kernel warns that it talks over TCP; between the bar's lines.
        quiet = {"extra_arguments": ["--log-level=ERROR"]}
        where = str(path.parent)
        return single_nb_execution(chapter, where, timeout, False, **quiet)

    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = before or str(cores // jobs)
    with ThreadPoolExecutor(jobs) as pool:
        results = tqdm(pool.map(run, todo), "Chapters", len(todo), leave=False)
        for (path, chapter), result in zip(todo, results, strict=True):
            # What fails is run again by MyST-NB, which says why.
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
