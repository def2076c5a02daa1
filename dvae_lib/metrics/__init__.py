"""Metrics: of poses (`pose`), intervals of means (`intervals`), of disentangled codes (`disentanglement`)."""

from dvae_lib.metrics.pose import (
    THRESHOLDS,
    PoseScores,
    auc,
    epe,
    exact_auc,
    geodesic,
    joint_errors,
    pck,
    procrustes_errors,
    scaled_errors,
    score_pose,
    viewpoint_errors,
)

__all__ = [
    "THRESHOLDS",
    "PoseScores",
    "auc",
    "epe",
    "exact_auc",
    "geodesic",
    "joint_errors",
    "pck",
    "procrustes_errors",
    "scaled_errors",
    "score_pose",
    "viewpoint_errors",
]
