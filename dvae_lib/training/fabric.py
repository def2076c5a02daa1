"""Lightning's Fabric, from whichever package is installed: `lightning-fabric` or `lightning`, which contains it."""

try:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy
    from lightning_fabric.utilities.exceptions import MisconfigurationException
except ImportError:
    from lightning.fabric import Fabric  # type: ignore[no-redef]
    from lightning.fabric.strategies import DDPStrategy  # type: ignore[no-redef]
    from lightning.fabric.utilities.exceptions import MisconfigurationException  # type: ignore[no-redef]

__all__ = ["DDPStrategy", "Fabric", "MisconfigurationException"]
