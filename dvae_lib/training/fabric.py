"""Lightning's Fabric, by whichever of its two names is installed: `lightning-fabric`, or as a part of `lightning`."""

try:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy
    from lightning_fabric.utilities.exceptions import MisconfigurationException
except ImportError:
    from lightning.fabric import Fabric  # type: ignore[no-redef]
    from lightning.fabric.strategies import DDPStrategy  # type: ignore[no-redef]
    from lightning.fabric.utilities.exceptions import MisconfigurationException  # type: ignore[no-redef]

__all__ = ["DDPStrategy", "Fabric", "MisconfigurationException"]
