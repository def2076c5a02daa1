"""What holds the project together: one list of packages, pairs in step, pages that exist, nothing of one machine."""

import importlib.metadata
import importlib.util
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell
from packaging.requirements import Requirement

import dvae_lib
from dvae_lib import settings
from dvae_lib.experiments import experiments
from dvae_lib.experiments.profiles import BOOK
from dvae_lib.settings import ROOT

EXTRAS = ("book", "detect", "test")


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins() -> dict[str, list[Requirement]]:
    """The lines of constraints.txt by package; a package has several where Python versions differ."""
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonical(requirement.name), []).append(requirement)
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(name: str, extras: tuple[str, ...]) -> list[Requirement]:
    """What an installed distribution asks for in this environment, with these extras."""
    lines = importlib.metadata.requires(name) or []
    wanted = map(Requirement, lines)
    return [r for r in wanted if not r.marker or any(r.marker.evaluate({"extra": e}) for e in ("", *extras))]


def needed_here() -> set[str]:
    """Every package that installing the project as `make` does brings, by following what each asks for."""
    seen, waiting = set(), [("dvae-lib", EXTRAS)]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += [(canonical(r.name), tuple(sorted(r.extras))) for r in required(*node)]
    return {name for name, _ in seen} - {"dvae-lib"}


def test_constraints_are_exact_pins_and_cover_every_package():
    for name, lines in pins().items():
        assert all(re.fullmatch(r"==[0-9][^*,]*", str(line.specifier)) and not line.url for line in lines), name
    assert needed_here() - set(pins()) == set()
    assert {"torch", "torchvision", "numpy", "jupyter-book"} <= needed_here()  # the walk did walk


def test_one_pin_holds_on_each_supported_python():
    for name, lines in pins().items():
        for version in ("3.10.13", "3.11.7", "3.12.1", "3.13.0"):
            short = version.rpartition(".")[0]
            environment = {"python_full_version": version, "python_version": short}
            valid = [line for line in lines if not line.marker or line.marker.evaluate(environment)]
            assert len(valid) <= 1, f"{name} on Python {short}"


def test_conda_installs_the_same_as_pip():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-c constraints.txt", f"-e .[{','.join(EXTRAS)}]"]}
    metadata = importlib.metadata.metadata("dvae-lib")
    assert set(EXTRAS) < set(metadata.get_all("Provides-Extra"))
    assert conda == [f"python{metadata['Requires-Python']},<3.14", "pip"]


def test_every_file_that_is_no_module_goes_into_the_wheel():
    line = re.search(r"^dvae_lib = \[(.+)\]$", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    package = ROOT / "dvae_lib"
    files = {path for path in package.rglob("*.*") if path.is_file() and "__pycache__" not in path.parts}
    packed = {path for pattern in re.findall(r'"(.+?)"', line) for path in package.glob(pattern)}
    assert packed == {path for path in files if path.suffix != ".py"} and len(packed) > 3


def test_citation_names_both_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "MIT"
    papers = {(r["authors"][0]["family-names"], r["year"]): r["title"] for r in citation["references"]}
    assert papers == {
        ("Yang", 2019): "Disentangling Latent Hands for Image Synthesis and Pose Estimation",
        ("Spurr", 2018): "Cross-Modal Deep Variational Hand Pose Estimation",
    }


def test_table_of_contents_names_files_that_exist():
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    for name in [toc["root"], *chapters]:
        # A chapter's text lies beside its notebook, so the notebook is named with its suffix.
        path = ROOT / "book" / name
        assert (path if path.suffix else path.with_suffix(".md")).exists(), name
    notebooks = {path.name for path in (ROOT / "book").glob("*.ipynb")}
    assert notebooks == {name for name in [toc["root"], *chapters] if name.endswith(".ipynb")}


def test_every_module_is_printed_in_its_packages_page():
    modules = {m.name for m in pkgutil.walk_packages(dvae_lib.__path__, "dvae_lib.")} - {"dvae_lib.__main__"}
    printed = [
        (path.stem, name)
        for path in (ROOT / "book" / "api").glob("*.md")
        for name in re.findall(r"automodule:: (\S+)", path.read_text(encoding="utf-8"))
    ]
    assert {name for _, name in printed} == modules - {"dvae_lib.datasets.formats"} and len(printed) == len(modules) - 1
    assert all(name.split(".")[1] == page for page, name in printed)


def test_chapters_are_in_step_with_their_texts_and_hold_no_outputs():
    pairs = load(ROOT / "book" / "pairs.py")
    assert [sentence for text in pairs.chapters() if (sentence := pairs.problem(text))] == []


@pytest.mark.parametrize("data", ["synthetic", "stb", "rhd"])
def test_what_a_chapter_loads_whatever_the_data_exists_on_all(data):
    """Indented calls have a condition above them, others name their data."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("[01]*.md")]
    asked = {name for text in texts for name in re.findall(r'^\w+ = load_or_train\("([\w-]+)"\)', text, re.MULTILINE)}
    assert "vae-pose" in asked and asked <= experiments("laptop", data).keys()


def test_chapters_train_what_the_book_trains_and_ask_the_study_for_what_it_has():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("[01]*.md")]
    trained = {m for text in texts for m in re.findall(r'load_or_train\("([\w-]+)"(?!, data="realhand")', text)}
    assert trained <= set(BOOK)
    asked = {m for text in texts for m in re.findall(r'study\.load\("([\w-]+)"', text)}
    assert asked and asked <= experiments("study", "synthetic").keys()


CHAPTER = """\
---
jupytext:
  formats: ipynb,md:myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Title

```{code-cell} ipython3
1 + 1
```
"""


def test_pairs_are_made_checked_and_stripped(tmp_path):
    pairs = load(ROOT / "book" / "pairs.py")
    text, notebook = tmp_path / "01-a.md", tmp_path / "01-a.ipynb"
    text.write_text(CHAPTER)
    (tmp_path / "intro.md").write_text("# A plain page\n")
    assert pairs.chapters(tmp_path) == [text]
    assert pairs.problem(text) == "01-a.ipynb is missing"

    pairs.sync(text)
    assert pairs.problem(text) is None and not (tmp_path / "intro.ipynb").exists()
    text.write_text(text.read_text().replace("1 + 1", "1 + 2"))
    assert pairs.problem(text) == "01-a.ipynb and 01-a.md differ"
    pairs.sync(text)
    assert pairs.problem(text) is None and "1 + 2" in notebook.read_text()

    notebook.write_text(notebook.read_text().replace('"display_name": "Python 3"', '"display_name": "mine"'))
    assert pairs.problem(text) == "01-a.ipynb and 01-a.md name different kernels"
    pairs.sync(text)
    notebook.write_text(notebook.read_text().replace('"display_name": "mine"', '"display_name": "Python 3"'))
    pairs.sync(text)
    assert pairs.problem(text) is None

    notebook.write_text(notebook.read_text().replace('"execution_count": null', '"execution_count": 7'))
    assert pairs.problem(text) == "01-a.ipynb contains outputs or execution counts"
    pairs.sync(text)
    assert pairs.problem(text) is None


def test_fingerprint_follows_library_runs_and_what_is_chosen(tmp_path, monkeypatch):
    fresh = load(ROOT / "book" / "_ext" / "fresh.py")
    package = tmp_path / "dvae_lib"
    package.mkdir()
    (package / "__init__.py").write_text("A = 1\n")
    monkeypatch.setattr(fresh.dvae_lib, "__file__", str(package / "__init__.py"))
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path / "runs"))
    monkeypatch.setenv("DVAE_CACHE_ROOT", str(tmp_path / "cache"))
    monkeypatch.setenv("DVAE_STUDY_ROOT", str(tmp_path / "study"))
    monkeypatch.setenv("DVAE_PROFILE", "smoke")
    seen = [fresh.fingerprint()]
    assert fresh.fingerprint() == seen[0]

    (package / "__init__.py").write_text("A = 2\n")
    seen.append(fresh.fingerprint())
    evaluation = tmp_path / "runs" / "smoke" / "a-1" / "evaluation.json"
    evaluation.parent.mkdir(parents=True)
    evaluation.write_text("{}")
    seen.append(fresh.fingerprint())
    manifest = tmp_path / "cache" / "synth-stb-64px-0123abcd" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    seen.append(fresh.fingerprint())
    record = tmp_path / "study" / "synthetic" / "runs" / "a-seed-1.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    seen.append(fresh.fingerprint())
    for variable, value in (("DVAE_PROFILE", "full"), ("DVAE_ROOT_JOINT", "wrist"), ("DVAE_DATA", "stb")):
        monkeypatch.setenv(variable, value)
        seen.append(fresh.fingerprint())
    assert len(set(seen)) == 8


def test_a_notebook_to_launch_installs_the_library_first(tmp_path):
    pairs, launch = load(ROOT / "book" / "pairs.py"), load(ROOT / "book" / "launch.py")
    (tmp_path / "01-a.md").write_text(CHAPTER)
    pairs.sync(tmp_path / "01-a.md")
    launch.main("https://example.org/book", tmp_path)
    notebook = nbformat.read(tmp_path / "01-a.ipynb", 4)
    nbformat.validate(notebook)
    title, install, first = notebook.cells
    assert title.source == "# Title" and first.source == "1 + 1"
    # Where the library is, the cell does nothing: it would fail here, where no such repository is.
    shell = InteractiveShell.instance()
    assert "git clone --quiet --depth 1 https://example.org/book dvae" in install.source
    assert shell.run_cell(install.source).success and not (Path.cwd() / "dvae").exists()
    InteractiveShell.clear_instance()


def test_what_chapters_make_leaves_their_cache_fresh(tmp_path, monkeypatch):
    fresh = load(ROOT / "book" / "_ext" / "fresh.py")
    package = tmp_path / "dvae_lib"
    package.mkdir()
    monkeypatch.setattr(fresh.dvae_lib, "__file__", str(package / "__init__.py"))
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path / "runs"))
    monkeypatch.setenv("DVAE_CACHE_ROOT", str(tmp_path / "cache"))
    config = SimpleNamespace()
    app = SimpleNamespace(outdir=str(tmp_path / "_build" / "html"), config=config)

    def built(change):
        """Whether what was executed by a build, during which something changes, serves the next one."""
        fresh.choose_cache(app, config)
        (used := Path(config.nb_execution_cache_path)).mkdir(parents=True, exist_ok=True)
        change.parent.mkdir(parents=True, exist_ok=True)
        change.write_text("{}")
        fresh.keep_cache(app, None)
        fresh.choose_cache(app, config)
        return Path(config.nb_execution_cache_path).exists() and not used.exists()

    assert built(tmp_path / "cache" / "synth-stb-256px-0" / "manifest.json")
    assert built(tmp_path / "runs" / settings.profile() / "mine-1" / "evaluation.json")
    assert not built(package / "new.py")


@pytest.mark.slow
def test_bare_build_shows_what_the_library_says_now(tmp_path):
    """A page, built twice: the second time a constant that it prints has changed in the library, not in the page.

    Its equations are numbered as the paper's, or within the chapter; its sections and tables within the chapter.
    """
    book, package = tmp_path / "book", tmp_path / "dvae_lib"
    package.mkdir()
    for name in ("__init__.py", "settings.py", "files.py"):
        (package / name).write_text((ROOT / "dvae_lib" / name).read_text(encoding="utf-8"), encoding="utf-8")
    shutil.copytree(ROOT / "book" / "_ext", book / "_ext")
    (book / "references.bib").write_text("")
    (book / "_toc.yml").write_text("format: jb-book\nroot: 03-page.ipynb\n")
    cell = "import sys\nsys.path.insert(0, '..')\nfrom dvae_lib import constant\nprint('it says', constant.VALUE)"
    equations = "\n\n$$ a = b $$ (eq-1)\n\n$$ c = d $$ (eq-own)\n"
    section = "\n## A section\n\n```{table} Numbers\n| a |\n|---|\n| 1 |\n```\n"
    (book / "03-page.md").write_text(CHAPTER.replace("1 + 1", cell) + equations + section)
    load(ROOT / "book" / "pairs.py").sync(book / "03-page.md")
    (tmp_path / "_config.yml").write_text((ROOT / "_config.yml").read_text(encoding="utf-8"), encoding="utf-8")

    build = [Path(sys.executable).with_name("jupyter-book"), "build", "book", "-n", "-W", "--keep-going"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    for value in (41, 42):
        (package / "constant.py").write_text(f"VALUE = {value}\n")
        done = subprocess.run(build, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        page = (tmp_path / "_build" / "html" / "03-page.html").read_text(encoding="utf-8")
        assert f"it says {value}" in page
        assert re.findall(r'class="eqno">(\(.*?\))', page) == ["(1)", "(3.1)"]  # the paper's, the chapter's
        numbers = re.findall(r'class="(?:section|caption)-number">(?:Table )?([\d.]+)', page)
        assert [number.strip(".") for number in numbers] == ["3", "3.1", "3.1"]
        assert not re.search(r'<(script|link|img)[^>]+(src|href)="(https?:)?//', page)


@pytest.mark.parametrize("folder", [ROOT.parent, Path.home(), Path(tempfile.gettempdir())])
def test_no_path_of_this_machine_is_tracked(folder):
    assert folder == Path("/") or _tracked_lines(re.escape(f"{folder}/")) == []


def test_no_package_registry_is_named():
    hosts = r"https?://(registry|files|deb|security|pypi)\."
    indices = r"https?://[^ )\"]*/(simple|pypi|project)/"
    assert _tracked_lines(f"{hosts}|{indices}") == []


def _tracked_lines(pattern: str) -> list[str]:
    if not (ROOT / ".git").exists():
        return []  # an exported tree: nothing is tracked
    found = subprocess.run(
        ["git", "grep", "-nIE", "-e", pattern, "--", ":!tests/test_project.py"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode in (0, 1), found.stderr
    return found.stdout.splitlines()


OFFLINE = """
import importlib, pkgutil, socket

def refuse(*arguments):
    raise AssertionError(f"reached for the network: {arguments}")

socket.getaddrinfo = socket.socket.connect = socket.socket.connect_ex = refuse

import dvae_lib
for module in pkgutil.walk_packages(dvae_lib.__path__, "dvae_lib."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)

from dvae_lib.experiments.run import load_or_train
assert load_or_train("dvae-pose").trained
"""


@pytest.mark.slow
def test_importing_and_training_never_reach_for_the_network(tmp_path):
    here = os.environ | {"DVAE_RUNS_ROOT": str(tmp_path)}
    subprocess.run([sys.executable, "-c", OFFLINE], env=here, cwd=ROOT, check=True)
