"""Core: time, configuration, errors, folds, hashes. Knows nothing of the rest of the platform."""
