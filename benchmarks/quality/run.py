"""One run: bars in, scores out to a file, every model judged, a line in the file of looks, a page for people."""

import argparse
import io
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
import polars as pl
from jaxtyping import Float

from benchmarks.quality.bars import Market, read_market
from benchmarks.quality.judging import Judged, judge
from benchmarks.quality.looks import append_look
from benchmarks.quality.report import Header, report
from benchmarks.quality.tiers import rows_between, scores_for, tiers
from gnn_assets.core.clock import Clock
from gnn_assets.core.errors import DataError, ModelError
from gnn_assets.models.bars import Bars
from gnn_assets.models.fitted import Progress
from gnn_assets.store.files import write_atomic

_LOOKED_AT = {
    "ic": "IC",
    "icir": "ICIR",
    "rank_ic": "rank IC",
    "rank_icir": "rank ICIR",
    "top_50_net_hysteresis": "top-50 net, hysteresis",
}
Scores = Mapping[str, Float[np.ndarray, "T N"]]


class Recipes(Protocol):
    """What makes scores: the module `benchmarks/quality/recipe.py`."""

    DEFAULT: str

    def score(
        self,
        bars: Bars,
        *,
        train_end: date,
        valid_end: date,
        test_end: date,
        recipe: str,
        seeds: int | None,
        keep: Path,
        progress: Progress,
    ) -> Scores:
        """Model → scores; row t is known at the close of session t. The recipe comes first."""
        ...

    def config_hash(self, recipe: str, *, seeds: int | None) -> str:
        """Name of everything the recipe was told, 64 hex digits."""
        ...

    def code_hash(self, recipe: str) -> str:
        """Name of the code between bars and scores, 16 hex digits."""
        ...

    def notes(self, recipe: str) -> Sequence[str]:
        """What a reader of the scores should know of their making, a sentence each."""
        ...


@dataclass(frozen=True)
class Parts:
    """Rows of the sessions trained on, validated on and tested on."""

    training: range
    validation: range
    test: range

    @classmethod
    def of(cls, market: Market, *, train_end: date, valid_end: date, test_end: date) -> "Parts":
        """Cuts the sessions of a file at three dates.

        Raises:
            DataError: if one of the parts has no session.
        """
        return cls(
            training=rows_between(market.sessions, after=None, until=train_end),
            validation=rows_between(market.sessions, after=train_end, until=valid_end),
            test=rows_between(market.sessions, after=valid_end, until=test_end),
        )


def run(recipes: Recipes, asked: argparse.Namespace, *, clock: Clock, progress: Progress) -> str:
    """Trains, scores, judges and writes down what was seen.

    Args:
        recipes: what makes scores.
        asked: the command line.
        clock: tells when this look was taken.
        progress: told how far the recipe is.

    Returns:
        The page, as Markdown.

    Raises:
        DataError: if bars or dates are of no use, or no test session is scored.
        ModelError: if scores have another shape than the bars, or are infinite.
    """
    began = perf_counter()
    market = read_market(asked.bars)
    dates = {"train_end": asked.train_end, "valid_end": asked.valid_end, "test_end": asked.test_end}
    parts = Parts.of(market, **dates)
    read = perf_counter()
    bars = market.bars(parts.test.stop)
    scores = recipes.score(
        bars,
        **dates,
        recipe=asked.recipe,
        seeds=asked.seeds,
        keep=asked.keep or asked.out.with_name(f"{asked.out.name}.parts"),
        progress=progress,
    )
    scored = perf_counter()
    placed = {model: _placed(model, scores_TxN, bars, market, parts.test) for model, scores_TxN in scores.items()}
    judged = [(tier, [judge(*each, tier) for each in placed.items()]) for tier in tiers(market, parts.test)]
    look = append_look(
        asked.looks,
        {
            "run": clock.now(),
            "bars": market.sha256,
            **dates,
            "recipe": asked.recipe,
            "seeds": asked.seeds,
            "config": recipes.config_hash(asked.recipe, seeds=asked.seeds),
            "code": recipes.code_hash(asked.recipe),
            **_seen(judged[0][1][0]),
        },
    )
    # Nothing is shown of a look that is not counted.
    _write_scores(asked.out, next(iter(placed.values())), market, parts.test)
    seconds = {"reading": read - began, "training and scoring": scored - read, "judging": perf_counter() - scored}
    page = report(_header(asked, market, parts, seconds, look), judged, notes=recipes.notes(asked.recipe))
    if asked.report:
        write_atomic(asked.report, f"{page}\n".encode())
    return page


def _placed(
    model: str, scores_TxN: Float[np.ndarray, "T N"], bars: Bars, market: Market, test: range
) -> Float[np.ndarray, "S N"]:
    """The scores for the test sessions, over all symbols of the file."""
    shape = (len(bars.sessions), len(bars.symbols))
    if scores_TxN.shape != shape or np.isinf(scores_TxN).any():
        raise ModelError.of(
            f"scores of {model}",
            expected=f"{shape} finite numbers or NaN",
            was=f"{scores_TxN.shape}, {np.isinf(scores_TxN).sum()} of them infinite",
            do="mend the recipe",
        )
    placed_SxN = np.full((len(test), len(market.symbols)), np.nan, dtype=scores_TxN.dtype)
    placed_SxN[:, np.searchsorted(market.symbols, bars.symbols)] = scores_for(scores_TxN, test)
    return placed_SxN


def _write_scores(out: Path, scores_SxN: Float[np.ndarray, "S N"], market: Market, test: range) -> None:
    at, symbol = np.nonzero(np.isfinite(scores_SxN))
    if not at.size:
        raise DataError.of(
            "scores", expected="at least one for a test session", was="none", do="test on later sessions"
        )
    frame = pl.DataFrame(
        {
            "session": pl.Series(market.sessions[test.start : test.stop], dtype=pl.Date).gather(at),
            "symbol": pl.Series(market.symbols).gather(symbol),
            "score": scores_SxN[at, symbol],
        }
    )
    frame.write_parquet(buffer := io.BytesIO())
    write_atomic(out, buffer.getvalue())


def _seen(recipe: Judged) -> dict[str, float | None]:
    found = {key: recipe.figures[name].value for key, name in _LOOKED_AT.items()}
    return {key: round(value, 6) if np.isfinite(value) else None for key, value in found.items()}


def _header(asked: argparse.Namespace, market: Market, parts: Parts, seconds: Mapping[str, float], look: int) -> Header:
    rows = {"Trained on": parts.training, "Validated on": parts.validation, "Tested on": parts.test}
    # Kilobytes on Linux; the largest of the processes waited for stands for all of them.
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return Header(
        recipe=asked.recipe,
        file=asked.bars.name,
        sha256=market.sha256,
        dropped=market.dropped,
        sessions={part: (market.sessions[at[0]], market.sessions[at[-1]], len(at)) for part, at in rows.items()},
        symbols=len(market.symbols),
        seconds=seconds,
        peak_bytes=peak * 1024,
        look=look,
    )
