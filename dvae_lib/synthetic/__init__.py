"""Hands drawn from labelled factors (chapter 2): `presets` → `scenes` → `kinematics` → `solid` → `renderer`."""
