"""Dagster's side: one file a stage, each asset a thin shell around a pure function."""
