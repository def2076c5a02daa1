"""The hand: its joints, their order, scale and projection (`skeleton`); canonical pose and viewpoint (`canonical`)."""

from dvae_lib.hand.skeleton import (
    BONES,
    FINGERS,
    JOINTS,
    LITTLE_MCP,
    MIDDLE_MCP,
    MIDDLE_PIP,
    ORDERS,
    PARENTS,
    Root,
    bone_scale,
    mirror,
    palm_centre,
    project,
    silhouette,
    with_root,
)

__all__ = [
    "BONES",
    "FINGERS",
    "JOINTS",
    "LITTLE_MCP",
    "MIDDLE_MCP",
    "MIDDLE_PIP",
    "ORDERS",
    "PARENTS",
    "Root",
    "bone_scale",
    "mirror",
    "palm_centre",
    "project",
    "silhouette",
    "with_root",
]
