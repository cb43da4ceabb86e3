"""What must hold of forecasts before anybody may act on them."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from gnn_assets.core.checks import Check
from gnn_assets.core.config import ExecutionConfig
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.forecasts.card import rows_hash

# Those that judge who forecast: what dates, graphs and coverage say is about the data.
MODEL_CHECKS = ("forecasts_finite", "forecasts_in_interval", "forecasts_in_range")
FORECAST_CHECKS = (*MODEL_CHECKS, "forecasts_dated", "graph_is_fresh", "symbols_covered")


def forecast_checks(
    forecasts: pl.DataFrame,
    *,
    session: date,
    calendar: SessionCalendar,
    execution: ExecutionConfig,
    symbols: Sequence[str],
    largest_outcome: float,
    min_symbol_share: float,
) -> tuple[Check, ...]:
    """Checks that forecasts are finite, inside their intervals, in range, dated, on a fresh graph and complete.

    ``forecasts_finite``, ``forecasts_in_interval``, ``forecasts_in_range``, ``forecasts_dated`` and
    ``graph_is_fresh`` look at every row; ``symbols_covered`` at the newest session's.

    Args:
        forecasts: `forecasts` rows.
        session: the newest session, which must be among them.
        calendar: the exchange's sessions.
        execution: fill lag and horizon of the targets.
        symbols: names that should have a forecast.
        largest_outcome: largest |log return| over the horizon that the calibration has seen: a forecast beyond what
            ever happened is a fault, not a view.
        min_symbol_share: least share of `symbols` with a forecast for `session`.
    """
    numbers = pl.col("score", "expected_return", "lower", "upper")
    infinite = forecasts.filter(~pl.all_horizontal(numbers.is_finite().fill_null(False)))
    expected = pl.col("expected_return")
    inside = (pl.col("lower") <= expected) & (expected <= pl.col("upper"))
    misplaced = forecasts.filter(~inside.fill_null(False))
    extreme = forecasts.filter(~(expected.abs() <= largest_outcome).fill_null(False))
    days = sorted(set(forecasts["session"]) & set(calendar.sessions))
    targets = pl.DataFrame(
        [(day, calendar.offset(day, execution.fill_lag), calendar.offset(day, execution.purge)) for day in days],
        schema={"session": pl.Date, "start": pl.Date, "end": pl.Date},
        orient="row",
    )
    dated = (pl.col("target_start") == pl.col("start")) & (pl.col("target_end") == pl.col("end"))
    horizon = pl.col("horizon") == execution.horizon
    past = pl.col("session") <= session
    undated = forecasts.join(targets, on="session", how="left").filter(~(dated & horizon & past).fill_null(False))
    stale = forecasts.filter((pl.col("graph_session") != pl.col("session")).fill_null(True))
    newest = forecasts.filter(pl.col("session") == session)
    present = set(newest["symbol"])
    absent = tuple(symbol for symbol in symbols if symbol not in present)
    share = (len(symbols) - len(absent)) / max(len(symbols), 1)
    rows = f"of {forecasts.height} rows"
    return (
        _none_of(infinite, "forecasts_finite", f"Rows with a number missing or not finite, {rows}."),
        _none_of(misplaced, "forecasts_in_interval", f"Rows whose expected return is outside its interval, {rows}."),
        _none_of(
            extreme,
            "forecasts_in_range",
            f"Rows that expect more than the largest move calibration has seen ({largest_outcome:.4f}), {rows}.",
        ),
        _none_of(undated, "forecasts_dated", f"Rows whose session, horizon and target dates disagree, {rows}."),
        _none_of(stale, "graph_is_fresh", f"Rows scored on a graph of another session, {rows}."),
        Check(
            name="symbols_covered",
            passed=share >= min_symbol_share,
            value=round(share, 4),
            threshold=min_symbol_share,
            description=f"Share of {len(symbols)} symbols with a forecast for {session}.",
            offenders=absent[:10],
        ),
    )


def remade_check(made: pl.DataFrame, again: pl.DataFrame, *, session: date | None) -> Check:
    """Whether a past session's forecasts are the same when they are made from nothing later than the session.

    Args:
        made: `forecasts` rows of the session, made when later sessions were known.
        again: the same, made from data that end with it.
        session: the session; None if no past one was published, and both are empty.
    """
    changed = made.drop("card_id").join(
        again.drop("card_id"), on=made.drop("card_id").columns, how="anti", nulls_equal=True
    )
    lost = again.join(made, on=("session", "symbol"), how="anti")
    names = [*changed["symbol"], *lost["symbol"]]
    return Check(
        name="no_look_ahead",
        # The hash sees every bit, the comparison names the rows.
        passed=rows_hash(made) == rows_hash(again),
        value=len(names),
        threshold=0,
        description=f"Forecasts of {session or 'no past session'} that change when data end with the session: "
        "look-ahead of a feature, of the graph, of the model or of the calibration.",
        offenders=tuple(f"{symbol} {session}" for symbol in names[:10]),
    )


def _none_of(rows: pl.DataFrame, name: str, description: str) -> Check:
    return Check(
        name=name,
        passed=rows.is_empty(),
        value=rows.height,
        threshold=0,
        description=description,
        offenders=tuple(
            f"{row['symbol']} {row['session']}: expected {row['expected_return']} [{row['lower']}, {row['upper']}], "
            f"target {row['target_start']} to {row['target_end']}, graph {row['graph_session']}"
            for row in rows.head(10).iter_rows(named=True)
        ),
    )
