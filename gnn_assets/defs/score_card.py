"""The asset score_cards: how good the candidate's scores were, beside the baselines and itself without its graph."""

from dataclasses import dataclass
from datetime import date

import dagster as dg
import numpy as np
import polars as pl

from gnn_assets.backtests.calibration import DECILES
from gnn_assets.backtests.graph_verdict import judge_graph
from gnn_assets.backtests.schema import PORTFOLIO_RETURNS, SCORE_CARDS
from gnn_assets.backtests.score_card import ALL, YEAR, score_card
from gnn_assets.backtests.score_page import score_page
from gnn_assets.bars.schema import RETURNS
from gnn_assets.core.checks import Check
from gnn_assets.core.config import Config
from gnn_assets.defs.plots import bars, calibration
from gnn_assets.defs.reports import report_file, write_report
from gnn_assets.defs.stage import Report, Stage, StageRun, TableShelf
from gnn_assets.defs.tear_sheet import write_tear_sheet
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.models.variants import NO_GRAPH, SHUFFLED
from gnn_assets.store.versions import Lineage

_BP = 1e4
_TOLD = ("ic", "rank_ic", "icir", "mae", "rmse", "calibration_slope")


@dataclass(frozen=True)
class CardShelf(TableShelf):
    """Keeps a card as a table and as pages; the table carries the asset's version."""

    def reuse(self, run: StageRun, lineage: Lineage) -> str | None:
        """The table this lineage made before; its pages are made anew, as the ledger behind them goes on."""
        version = super().reuse(run, lineage)
        if version is not None:
            _write_pages(run, self.load(run, version))
        return version

    def publish(self, run: StageRun, artefact: pl.DataFrame, *, lineage: Lineage, data_end: date | None) -> str:
        """Stores the pages, then the table, which makes them count."""
        _write_pages(run, artefact)
        return super().publish(run, artefact, lineage=lineage, data_end=data_end)


def ablations(config: Config) -> dict[str, str]:
    """The candidate shown another graph: model → what that graph is, in words."""
    candidate = config.models.candidate
    return {candidate + NO_GRAPH: "no graph", candidate + SHUFFLED: "a shuffled graph"}


def _score_cards(run: StageRun) -> pl.DataFrame:
    """How good the candidate's scores were: over all, by year and by volatility of the market, beside every baseline.

    IC, rank IC, ICIR, MAE, RMSE and calibration with bootstrap intervals, and what the graph added: the candidate minus
    itself without graph and with a shuffled one, paired. Readable as a page a candidate: `gnn-assets report`; beside it
    the tear sheet of its backtest, `gnn-assets report --html`.
    """
    config = run.config
    returns = run.read(RETURNS)
    return score_card(
        run.read(OOS_PREDICTIONS),
        returns,
        run.read(PORTFOLIO_RETURNS),
        sessions=run.platform.sessions_of(returns),
        candidate=config.models.candidate,
        execution=config.execution,
        config=config.backtests,
        min_calibration_sessions=config.forecasts.min_calibration_sessions,
    )


def _score_cards_report(run: StageRun, card: pl.DataFrame) -> Report:
    candidate = run.config.models.candidate
    verdict = judge_graph(card, candidate=candidate, ablations=ablations(run.config))
    own = card.filter(pl.col("model") == candidate)
    overall = dict(own.filter(pl.col("slice") == ALL).select("metric", "value").iter_rows())
    return Report(
        data_end=_span(run)[1],
        checks=(
            Check(
                name="graph_added",
                passed=verdict.word == "more than nothing",
                value="not comparable" if verdict.lower is None else verdict.lower,
                threshold=0,
                description=verdict.sentence,
                severity="warn",
            ),
        ),
        metadata={
            "dagster/row_count": card.height,
            "graph": verdict.sentence,
            **{name: float(overall[name]) for name in _TOLD if overall[name] is not None},
            "score_card": dg.MetadataValue.md(_page(run, card)),
            "report": str(report_file(run.platform, card["version"][0])),
            "tear_sheet": dg.MetadataValue.path(report_file(run.platform, card["version"][0], kind="html")),
            "ic_by_year": _ic_by_year(run, card),
            "calibration": _calibration(own),
        },
    )


def _page(run: StageRun, card: pl.DataFrame) -> str:
    config = run.config
    return score_page(
        card,
        candidate=config.models.candidate,
        ablations=ablations(config),
        sessions=_span(run),
        market=run.platform.label,
        execution=config.execution,
        config=config.backtests,
    )


def _write_pages(run: StageRun, card: pl.DataFrame) -> None:
    write_report(run.platform, card["version"][0], _page(run, card))
    write_tear_sheet(run, card)


def _span(run: StageRun) -> tuple[date, date]:
    """First and last session of the out-of-sample portfolios."""
    session = run.read(PORTFOLIO_RETURNS, columns=["session"])["session"]
    return session.min(), session.max()  # ty: ignore[invalid-explicit-return] - a Date column


def _ic_by_year(run: StageRun, card: pl.DataFrame) -> dg.MarkdownMetadataValue:
    rows = card.filter(pl.col("metric") == "ic", pl.col("slice").str.starts_with(YEAR)).sort("slice")
    years = rows["slice"].unique().sort().to_list()
    series = {}
    for model in (run.config.models.candidate, *ablations(run.config)):
        own = rows.filter(pl.col("model") == model)
        if own.height == len(years):
            series[model] = _ends(own)
    return bars([year.removeprefix(YEAR) for year in years], series, title="Mean IC by year", y_label="IC")


def _calibration(own: pl.DataFrame) -> dg.MarkdownMetadataValue:
    slices = [f"decile {decile}" for decile in range(1, DECILES + 1)]
    order = pl.DataFrame({"slice": slices})
    expected_D, realised = (
        order.join(own.filter(pl.col("metric") == metric), on="slice", how="left", maintain_order="left")
        for metric in ("expected_return", "realised_return")
    )
    values_D, lower_D, upper_D = (_BP * ends_D for ends_D in _ends(realised))
    return calibration(
        _BP * _ends(expected_D)[0],
        values_D,
        lower_D,
        upper_D,
        title="Calibration by decile of the session's scores, log return less the session's mean",
        unit="bp",
    )


def _ends(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, lower and upper end, NaN where there is none."""
    value, lower, upper = (rows[name].fill_null(np.nan).to_numpy() for name in ("value", "lower", "upper"))
    return value, lower, upper


STAGE = Stage(
    name="score_cards",
    group="backtests",
    compute=_score_cards,
    report=_score_cards_report,
    shelf=CardShelf(SCORE_CARDS),
    # The pages are made again from the tables whenever their own code changes.
    code=("gnn_assets.backtests.score_card",),
    sections=("execution", "backtests", "models.candidate", "forecasts.min_calibration_sessions"),
    deps=("returns", "oos_predictions", "portfolio_returns", "backtest_scores"),
    checks=lambda _config: ("graph_added",),
    kinds=frozenset({"numpy", "polars"}),
    table=SCORE_CARDS,
)
