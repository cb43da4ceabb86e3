"""Runs the command with the project's recipes."""

import sys

from benchmarks.quality import recipe
from benchmarks.quality.command import main

if __name__ == "__main__":
    sys.exit(main(recipe))
