"""From out-of-sample scores to `portfolio_returns`: one simulated portfolio and one series of ICs a model."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from gnn_assets.backtests.caps import sector_rows
from gnn_assets.backtests.cross_section import (
    information_coefficients,
    rank_information_coefficients,
    realised_labels,
)
from gnn_assets.backtests.engine import simulate
from gnn_assets.backtests.schema import PORTFOLIO_RETURNS
from gnn_assets.backtests.shaping import unshaped
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig
from gnn_assets.core.errors import DataError
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.models.bars import Bars
from gnn_assets.store.panel import to_panel

# The model that says nothing, and the strategy that listens to nothing: what the Sharpe ratio of others is held against.
BENCHMARK = "equal_weight"


def portfolio_returns(
    predictions: pl.DataFrame,
    returns: pl.DataFrame,
    *,
    sessions: Sequence[date],
    symbols: Sequence[str],
    execution: ExecutionConfig,
    config: BacktestsConfig,
    bars: Bars | None = None,
    universe: pl.DataFrame | None = None,
    calendar: SessionCalendar | None = None,
) -> pl.DataFrame:
    """Simulates every model in the predictions on one shared axis of sessions, each by the configured strategy.

    The model `equal_weight` is held in equal parts whatever the strategy, without its optimiser, sizes and brake: the
    same names, calendar, fill and costs.

    The axis runs from the first to the last scored session of any model, and rebalances are counted from its start:
    later sessions change no earlier gross, net or turnover. They only fill in ICs whose outcome was still to come.

    Args:
        predictions: `oos_predictions` rows.
        returns: `returns` rows; ``held_return`` is earned, ``fill_return`` makes the outcomes of ICs, and
            ``close_return`` is what strategies of prices read.
        sessions: the exchange's sessions, ascending, reaching to the end of the returns.
        symbols: the names that may be held; predictions for others are left out.
        execution: fill, horizon and costs.
        config: strategy, optimiser, sizes, rebalance calendar.
        bars: over the sessions and symbols, where they are to be had: what strategies of highs, lows and volumes read,
            and what impact and participation are taken from.
        universe: a frame of `UNIVERSE`; only needed by a cap on sectors.
        calendar: the exchange's sessions; only needed by sizes for gaps.

    Returns:
        `portfolio_returns` rows.

    Known at: a row's returns at the session's fill, its IC once the horizon has passed.

    Raises:
        DataError: if impact is asked for without volumes, no prediction falls on the sessions and symbols, one model's
            rows mix versions, or the strategy needs bars that are not there.
    """
    rows = predictions.filter(pl.col("session").is_in(list(sessions)), pl.col("symbol").is_in(list(symbols)))
    if rows.is_empty():
        raise DataError.of(
            "oos_predictions",
            expected="scores on the sessions and symbols of the backtest",
            was="none",
            do="materialize oos_predictions for this universe",
        )
    first, last = (sessions.index(day) for day in (rows["session"].min(), rows["session"].max()))
    axis = list(sessions[first : last + 1])
    fill_returns_TxN = to_panel(returns, "fill_return", sessions=sessions[first:], symbols=symbols)
    labels_TxN = realised_labels(fill_returns_TxN, execution=execution)[: len(axis)]
    held_returns_TxN = to_panel(returns, "held_return", sessions=axis, symbols=symbols)
    known = sessions[: last + 1]
    close_returns_TxN = to_panel(returns, "close_return", sessions=known, symbols=symbols)
    values = {} if bars is None else {name: panel_TxN[: last + 1] for name, panel_TxN in bars.values.items()}
    past = Bars(tuple(known), tuple(symbols), close_returns_TxN, values)
    if execution.impact > 0 and not {"close", "volume"} <= past.fields:
        raise DataError.of(
            "execution.impact",
            expected="closes and volumes to take it from",
            was=f"bars with {', '.join(sorted(past.fields)) or 'nothing but returns'}",
            do="set it to 0, and read the costs as those of a small portfolio",
        )
    sectors_TxN = None if universe is None else sector_rows(universe, sessions=axis, symbols=symbols)
    frames = []
    for (model,), own in rows.group_by("model", maintain_order=True):
        versions = own["version"].unique()
        if versions.len() > 1:
            raise DataError.of(
                f"oos_predictions of {model}",
                expected="one version",
                was=", ".join(versions.sort()),
                do="materialize oos_predictions again",
            )
        scores_TxN = to_panel(own, "score", sessions=axis, symbols=symbols)
        simulation = simulate(
            scores_TxN,
            held_returns_TxN,
            execution=execution,
            config=unshaped(config).model_copy(update={"strategy": BENCHMARK}) if model == BENCHMARK else config,
            bars=past,
            sectors_TxN=sectors_TxN,
            calendar=calendar,
        )
        frames.append(
            pl.DataFrame(
                {
                    "version": versions[0],
                    "model": model,
                    "session": pl.Series(axis, dtype=pl.Date),
                    "gross": simulation.gross_T,
                    "net": simulation.net_T,
                    "turnover": simulation.turnover_T,
                    "ic": information_coefficients(scores_TxN, labels_TxN),
                    "rank_ic": rank_information_coefficients(scores_TxN, labels_TxN),
                }
            ).with_columns(pl.col("ic", "rank_ic").fill_nan(None))
        )
    return PORTFOLIO_RETURNS.conform(pl.concat(frames))
