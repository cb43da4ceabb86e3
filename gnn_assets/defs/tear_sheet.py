"""The tear sheet of the candidate that a score card is about, from the versions of the tables the card was made of."""

from datetime import date
from importlib.metadata import version as installed

import polars as pl

from gnn_assets.backtests.schema import BACKTEST_SCORES, PORTFOLIO_RETURNS
from gnn_assets.backtests.tear_inputs import Inputs
from gnn_assets.backtests.tear_sheet import tear_sheet
from gnn_assets.bars.schema import RETURNS, UNIVERSE
from gnn_assets.bars.universe import symbols_of
from gnn_assets.core.hashing import PACKAGE
from gnn_assets.defs.counting import verdict_on
from gnn_assets.defs.market import bars_of
from gnn_assets.defs.reports import write_report
from gnn_assets.defs.stage import StageRun
from gnn_assets.models.schema import OOS_PREDICTIONS


def write_tear_sheet(run: StageRun, card: pl.DataFrame) -> None:
    """Makes the page and keeps it under the version of the weights.

    Args:
        run: the materialization of `score_cards`.
        card: what it made.

    Raises:
        CorruptArtefact, MissingArtefact: if the ledger or a table is not whole.
    """
    platform, config = run.platform, run.config
    page = tear_sheet(_inputs(run, card), execution=config.execution, config=config.backtests)
    write_report(platform, card["version"][0], page, kind="html")


def _inputs(run: StageRun, card: pl.DataFrame) -> Inputs:
    platform, candidate = run.platform, run.config.models.candidate
    portfolios, predictions, returns = (run.read(table) for table in (PORTFOLIO_RETURNS, OOS_PREDICTIONS, RETURNS))
    sessions = platform.sessions_of(returns)
    symbols = predictions["symbol"].unique().sort().to_list()
    return Inputs(
        card=card,
        portfolios=portfolios,
        predictions=predictions,
        returns=returns,
        sessions=sessions,
        candidate=candidate,
        verdict=verdict_on(platform, run.read(BACKTEST_SCORES), portfolios, candidate=candidate),
        trials=platform.ledger.read("trials"),
        index=_index(run, returns),
        market=platform.label,
        versions={"weights": card["version"][0], PACKAGE: installed(PACKAGE), **run.inputs},
        bars=bars_of(platform, run.inputs[RETURNS.name], sessions=sessions, symbols=symbols),
        universe=platform.lake.read(UNIVERSE),
        calendar=platform.calendar,
    )


def _index(run: StageRun, returns: pl.DataFrame) -> tuple[str, dict[date, float]] | None:
    """The universe's first context symbol and its simple returns; None where it has none."""
    context = symbols_of(run.platform.lake.read(UNIVERSE), "context")
    if not context:
        return None
    rows = returns.filter(pl.col("symbol") == context[0]).drop_nulls("close_return")
    return context[0], dict(zip(rows["session"], rows["close_return"].exp() - 1, strict=True))
