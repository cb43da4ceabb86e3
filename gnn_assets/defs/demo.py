"""The demo: every asset materialized with progress, then what came out, in words and tables a person can read."""

import resource
from collections.abc import Mapping
from datetime import date
from time import perf_counter
from typing import Any

import dagster as dg
import polars as pl
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from gnn_assets.backtests.schema import BACKTEST_SCORES
from gnn_assets.backtests.scores import ALL_FOLDS
from gnn_assets.bars.schema import UNIVERSE
from gnn_assets.bars.universe import symbols_of
from gnn_assets.defs.operate import Outcome, materialize
from gnn_assets.defs.resources import Platform
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.graphs.schema import GRAPH_STATISTICS

# Forecasts shown from either end of the ranking.
_SHOWN = 5


def run_demo(platform: Platform, definitions: dg.Definitions, console: Console) -> bool:
    """Materializes everything and prints the summary; False if anything failed."""
    console.print(f"[bold]gnn_assets[/bold]: {len(platform.config.ages)} assets, {platform.label}")
    started = perf_counter()
    outcome = run_with_progress(platform, definitions, console, job="everything")
    seconds = perf_counter() - started
    if not outcome.success:
        if platform.champion.current() is not None:
            console.print("The last good champion and its forecasts stay as they were.")
        return False
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    if outcome.computed:
        done = f"{len(outcome.computed)} assets computed, {len(outcome.reused)} reused"
    else:
        done = f"nothing computed: all {len(outcome.reused)} assets reused, their inputs have not changed"
    console.print(f"{done}, in {seconds:.0f} s, peak memory {peak:.1f} GB\n", highlight=False)
    _print_summary(platform, console)
    return True


def run_with_progress(
    platform: Platform,
    definitions: dg.Definitions,
    console: Console,
    *,
    job: str,
    requests: Mapping[str, Mapping[str, Any]] | None = None,
) -> Outcome:
    """Runs a job, showing how far each asset is, then what failed and why.

    Args:
        platform: the opened platform.
        definitions: those of the platform.
        console: where it is shown.
        job: one of the jobs of the definitions.
        requests: asset → what is asked of it, in the shape of its run configuration.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description:<18}"), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[doing]}"), console=console) as progress:
        tasks: dict[str, int] = {}

        def listen(asset: str, fraction: float, text: str) -> None:
            if asset not in tasks:
                tasks[asset] = progress.add_task(asset, total=1.0, doing=text)
            progress.update(tasks[asset], completed=fraction, doing=text)  # ty: ignore[invalid-argument-type]

        platform.progress = listen
        outcome = materialize(platform, definitions, job=job, requests=requests)
    for asset, reason in outcome.failures.items():
        console.print(f"[red]{asset}[/red] failed: {reason}", highlight=False)
    return outcome


def _print_summary(platform: Platform, console: Console) -> None:
    config, lake = platform.config, platform.lake
    champion = platform.champion.current()
    assert champion is not None
    universe = lake.read(UNIVERSE)
    statistics = lake.read(GRAPH_STATISTICS).row(-1, named=True)
    scores = lake.read(BACKTEST_SCORES, version=champion.backtest_scores).filter(pl.col("fold") == ALL_FOLDS)
    survivors = ", chosen with hindsight (survivors only): results flatter" if universe["survivor_only"].any() else ""
    console.print(f"universe  {len(symbols_of(universe, 'core'))} stocks{survivors}", highlight=False)
    console.print(
        f"graph     {statistics['session']}: density {statistics['density']:.2f}, "
        f"{statistics['degree_mean']:.1f} neighbours a stock, churn {statistics['churn']:.2f}",
        highlight=False,
    )
    console.print(
        f"champion  {champion.version[:12]} ({champion.model}), by rule {champion.rule}, verdict {champion.verdict}\n",
        highlight=False,
    )
    newest_weights = platform.weights.current()
    if newest_weights is not None and newest_weights.version != champion.version:
        console.print(
            f"candidate {newest_weights.version[:12]} was judged and refused: the champion stays. "
            "The asset `champion` shows why.\n",
            highlight=False,
        )
    console.print(_score_table(scores, champion.model, confidence=config.backtests.confidence))
    detectable = scores.filter(pl.col("metric") == "smallest_detectable_ic", pl.col("model") == champion.model)
    console.print(
        f"smallest detectable IC here: {detectable['value'][0]:.3f}. Smaller differences are noise: "
        f"{len(symbols_of(universe, 'core'))} names cannot tell good models apart.\n",
        highlight=False,
    )
    forecasts = lake.read(FORECASTS)
    newest: date = forecasts["session"].max()  # ty: ignore[invalid-assignment] - a Date column
    rows = forecasts.filter(pl.col("session") == newest).sort("rank")
    console.print(_forecast_table(rows))
    slope = platform.cards.get(rows["card_id"][0])["calibration"]["fitted_slope"]
    if slope <= 0:
        console.print(
            f"out of sample, higher scores did not earn more (calibrated slope {slope:+.5f}): every stock is given the "
            "average return, and the ranks mean nothing.",
            highlight=False,
        )
    for line in (
        "where next",
        "  make dev                                              the UI on 127.0.0.1:3000",
        "  .venv/bin/gnn-assets status                           ages, versions, champion",
        f"  .venv/bin/gnn-assets verify --session {newest}      a forecast recomputed bit for bit",
        "  notebooks/first_look.ipynb                            the tables in a notebook",
        "Research software, not advice. The sample prices are for tests and examples only.",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def _score_table(scores: pl.DataFrame, champion: str, *, confidence: float) -> Table:
    shown = Table(
        title=f"out of sample, {scores['execution'][0]}, with {confidence:.0%} intervals", title_justify="left"
    )
    metrics = {"ic": "IC", "sharpe_net": "Sharpe, net of costs"}
    shown.add_column("model", no_wrap=True)
    for title in metrics.values():
        shown.add_column(title, no_wrap=True)
    values = {(row["model"], row["metric"]): row for row in scores.iter_rows(named=True)}
    others = [model for model in scores["model"].unique().sort() if model != champion]
    for model in (champion, *others):
        cells = [_cell(values.get((model, metric))) for metric in metrics]
        shown.add_row(model, *cells, style="bold" if model == champion else None)
    return shown


def _cell(row: dict[str, float | None] | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    interval = "" if row["lower"] is None else f" [{row['lower']:+.3f}, {row['upper']:+.3f}]"
    return f"{row['value']:+.3f}{interval}"


def _forecast_table(rows: pl.DataFrame) -> Table:
    first = rows.row(0, named=True)
    shown = Table(
        title=f"forecasts at {first['session']}, from {first['target_start']} to {first['target_end']}",
        title_justify="left",
    )
    for column in ("rank", "symbol", "expected return", "interval", "status"):
        shown.add_column(column)
    ends = pl.concat([rows.head(_SHOWN), rows.tail(_SHOWN)]).unique(maintain_order=True)
    for row in ends.iter_rows(named=True):
        interval = f"[{row['lower']:+.2%}, {row['upper']:+.2%}]"
        shown.add_row(str(row["rank"]), row["symbol"], f"{row['expected_return']:+.2%}", interval, row["status"])
    return shown
