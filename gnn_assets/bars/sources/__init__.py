"""Sources of bars, one file each; `bars/fetched.py` says what a source is."""
