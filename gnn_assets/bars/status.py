"""How each symbol fared in each stage: one that failed is named with its reason, and everything else goes on."""

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from gnn_assets.bars.schema import SYMBOL_STATUS

SUCCESS, FAILED, PENDING = "SUCCESS", "FAILED", "PENDING"


def stage_status(
    stage: str,
    *,
    symbols: Sequence[str],
    session: date,
    failures: Mapping[str, str],
    waiting: Mapping[str, str],
    before: pl.DataFrame,
) -> pl.DataFrame:
    """The status rows that a stage writes when it has done its work.

    Args:
        stage: name of the stage.
        symbols: symbols the stage was meant to work on.
        session: last session it covered.
        failures: symbol → why the stage failed on it.
        waiting: symbol → why the stage did not try, such as a failure in the stage before.
        before: a frame of `SYMBOL_STATUS`; attempts at the same session are counted on.

    Returns:
        A frame of `SYMBOL_STATUS`, one row a symbol.
    """
    counted = before.filter((pl.col("stage") == stage) & (pl.col("session") == session))
    attempts = dict(zip(counted["symbol"], counted["attempts"], strict=True))
    rows = [
        {
            "stage": stage,
            "symbol": symbol,
            "session": session,
            "state": PENDING if symbol in waiting else FAILED if symbol in failures else SUCCESS,
            "reason": waiting.get(symbol) or failures.get(symbol, ""),
            "attempts": attempts.get(symbol, 0) + (symbol not in waiting),
        }
        for symbol in symbols
    ]
    return SYMBOL_STATUS.conform(pl.DataFrame(rows, schema=dict(SYMBOL_STATUS.columns)))


def succeeded(status: pl.DataFrame, stage: str) -> tuple[str, ...]:
    """Symbols on which a stage succeeded when it last wrote about them, sorted: the next stage's work.

    Args:
        status: a frame of `SYMBOL_STATUS`.
        stage: name of the stage.
    """
    newest = status.filter(pl.col("stage") == stage).sort("session").unique("symbol", keep="last")
    return tuple(newest.filter(pl.col("state") == SUCCESS)["symbol"].sort())


def coverage_failures(
    latest_bars: pl.DataFrame, *, universe: pl.DataFrame, sessions: Sequence[date], min_symbol_coverage: float
) -> dict[str, str]:
    """Symbols with too few closes, and why.

    Args:
        latest_bars: columns ``symbol``, ``session``, ``close``; one row a (symbol, session).
        universe: a frame of `UNIVERSE`; only sessions of its membership count for a symbol.
        sessions: sessions in range.
        min_symbol_coverage: share of them that must have a close.

    Returns:
        symbol → reason, sorted by symbol.
    """
    axis = pl.DataFrame({"session": pl.Series(sessions, dtype=pl.Date)})
    wanted = universe.join(axis, how="cross").filter(
        (pl.col("session") >= pl.col("from_session"))
        & (pl.col("to_session").is_null() | (pl.col("session") <= pl.col("to_session")))
    )
    closes = latest_bars.filter(pl.col("close").is_not_null()).select("symbol", "session", close_known=pl.lit(True))
    covered = (
        wanted.join(closes, on=("symbol", "session"), how="left")
        .group_by("symbol")
        .agg(has=pl.col("close_known").count(), of=pl.len())
    )
    counts = {symbol: (has, of) for symbol, has, of in covered.iter_rows()}
    failures: dict[str, str] = {}
    for symbol in universe["symbol"].unique().sort():
        has, of = counts.get(symbol, (0, 0))
        if of == 0:
            failures[symbol] = "none of its sessions lies in the range asked for"
        elif has / of < min_symbol_coverage:
            failures[symbol] = (
                f"expected a close on at least {min_symbol_coverage:.1%} of its sessions, "
                f"was {has / of:.1%} ({has} of {of})"
            )
    return failures
