"""Packages import downwards only."""

import ast

from dvae_lib.settings import ROOT

LAYERS = (
    "files",
    "settings",
    "detect",
    "hand",
    "models",
    "synthetic",
    "datasets",
    "training",
    "metrics",
    "experiments",
    "predict",
    "label",
    "report",
    "plots",
    "explorer",
    "downloads",
    "cli",
)


def imports():
    """(importing, imported) top-level names in the package, with the file and line."""
    package = ROOT / "dvae_lib"
    for path in package.rglob("*.py"):
        importing = path.relative_to(package).parts[0].removesuffix(".py")
        if importing.startswith("__"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dvae_lib"):
                inner = node.module.split(".")[1:2] or [name.name for name in node.names if name.name != "__version__"]
                for imported in inner:
                    yield importing, imported, f"{path.name}:{node.lineno}"


def test_no_package_imports_a_later_one():
    pairs = list(imports())
    assert len(pairs) > 200
    assert [i for i in pairs if LAYERS.index(i[0]) < LAYERS.index(i[1])] == []
