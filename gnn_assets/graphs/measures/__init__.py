"""Measures by which two series are compared: one file each, found by name."""
