"""Fabric comes from either of the packages that hold it."""

import importlib
import sys

import lightning_fabric

from dvae_lib.training import fabric


def test_fabric_may_be_a_part_of_lightning(monkeypatch):
    for name, module in list(sys.modules.items()):
        if name == "lightning_fabric" or name.startswith("lightning_fabric."):
            monkeypatch.setitem(sys.modules, name.replace("lightning_fabric", "lightning.fabric"), module)
            monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "lightning", type(sys)("lightning"))
    assert importlib.reload(fabric).Fabric is lightning_fabric.Fabric
    monkeypatch.undo()
    assert importlib.reload(fabric).Fabric is lightning_fabric.Fabric
