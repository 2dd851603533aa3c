"""Geometry of boxes and masks."""
