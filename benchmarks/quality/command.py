"""The command line: `python -m benchmarks.quality --help`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from benchmarks.quality.run import Recipes, run
from gnn_assets.core.clock import Clock, LiveClock
from gnn_assets.core.errors import GnnAssetsError

LOOKS = Path(__file__).parent / "looks.jsonl"


def main(recipes: Recipes, arguments: Sequence[str] | None = None, *, clock: Clock | None = None) -> int:
    """Runs the benchmark.

    Args:
        recipes: what makes scores.
        arguments: of the command line.
        clock: tells when this look was taken; the machine's own by default.

    Returns:
        Exit code: 1 after a sentence on stderr that says what to do.
    """
    try:
        print(run(recipes, _parsed(recipes, arguments), clock=clock or LiveClock(), progress=_progress()))
    except GnnAssetsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parsed(recipes: Recipes, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument(
        "--bars", type=Path, required=True, help="Parquet: symbol, session, close, and any of open, high, low, volume"
    )
    for part, what in (("train", "trained"), ("valid", "validated"), ("test", "tested")):
        parser.add_argument(f"--{part}-end", type=date.fromisoformat, required=True, help=f"last date {what} on")
    parser.add_argument("--out", type=Path, required=True, help="Parquet of session, symbol, score to be written")
    parser.add_argument("--recipe", default=recipes.DEFAULT, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, help="networks in the ensemble; default: the recipe's own")
    parser.add_argument("--report", type=Path, help="Markdown file for the table")
    parser.add_argument("--looks", type=Path, default=LOOKS, help="file a line is added to; default: %(default)s")
    parser.add_argument(
        "--keep", type=Path, help="folder of what is trained, taken up again by the next run; default: beside --out"
    )
    return parser.parse_args(arguments)


def _progress() -> Callable[[float, str], None]:
    """Tells of each new whole per cent or part, on stderr."""
    told = ""

    def tell(share: float, doing: str) -> None:
        nonlocal told
        part = f"{share:4.0%} {doing.partition(':')[0]}"
        if part != told:
            print(f"{share:4.0%} {doing}", file=sys.stderr, flush=True)
        told = part

    return tell
