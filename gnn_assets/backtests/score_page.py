"""A score card as a person reads it: Markdown, the same bytes for the same card."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from gnn_assets.backtests.calibration import DECILES
from gnn_assets.backtests.graph_verdict import judge_graph
from gnn_assets.backtests.regimes import REGIMES
from gnn_assets.backtests.score_card import ALL, YEAR, regime_slice
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig

# Log returns are told in basis points.
_BP = 1e4


@dataclass(frozen=True)
class _Column:
    """A measure as it is shown."""

    metric: str
    title: str
    digits: int
    scale: float = 1.0


_IC = _Column("ic", "IC", 4)
_MEASURES = (
    _IC,
    _Column("rank_ic", "rank IC", 4),
    _Column("icir", "ICIR", 3),
    _Column("mae", "MAE (bp)", 2, _BP),
    _Column("rmse", "RMSE (bp)", 2, _BP),
    _Column("calibration_slope", "calibration slope", 2),
)
_SHARPE = _Column("sharpe_net", "net Sharpe", 2)
_PAIRED = (_IC, _MEASURES[1], _SHARPE)

Card = Mapping[tuple[str, str, str], Mapping[str, float | None]]


def score_page(
    card: pl.DataFrame,
    *,
    candidate: str,
    ablations: Mapping[str, str],
    sessions: tuple[date, date],
    market: str,
    execution: ExecutionConfig,
    config: BacktestsConfig,
) -> str:
    """The whole card in Markdown.

    Args:
        card: `score_cards` rows.
        candidate: the model it is about.
        ablations: the same model shown another graph → what that graph is, in words.
        sessions: first and last session of the card.
        market: which data these are, for people.
        execution: fill and horizon.
        config: bootstrap and regimes, which the notes name.
    """
    cells = {(row["model"], row["slice"], row["metric"]): row for row in card.iter_rows(named=True)}
    models = [candidate, *(model for model in card["model"].unique().sort() if model != candidate)]
    slices = _slices(card)
    version = card["version"][0]
    executable = "" if execution.fill != "close_same" else " (not executable)"
    known = cells[candidate, ALL, _SHARPE.metric]["sessions"]
    about = (
        f"{market}; {known} out-of-sample sessions, {sessions[0]} to {sessions[1]}; execution {execution.fill}"
        f"{executable}, horizon {execution.horizon}; weights {version}."
    )
    parts = [
        f"# Score card: {candidate} {version[:12]}",
        about,
        "## What the graph added",
        judge_graph(card, candidate=candidate, ablations=ablations).sentence,
        _differences(cells, candidate, ablations),
        _added_by_slice(cells, candidate, ablations, slices),
        "## Beside the baselines",
        _table(
            ["model", *(column.title for column in (*_MEASURES, _SHARPE))],
            (
                [model, *(_shown(cells.get((model, ALL, column.metric)), column) for column in (*_MEASURES, _SHARPE))]
                for model in models
            ),
        ),
        "## By year and by volatility of the market",
        *(
            part
            for column in _MEASURES
            for part in (f"### {column.title}", _by_slice(cells, column, models=models, slices=slices))
        ),
        f"## Calibration of {candidate} by decile of its scores",
        _deciles(cells, candidate),
        "## How to read it",
        _notes(execution=execution, config=config),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _slices(card: pl.DataFrame) -> list[str]:
    """All sessions, then the years, then the regimes from low to high."""
    names = card["slice"].unique().to_list()
    years = sorted(name for name in names if name.startswith(YEAR))
    regimes = [name for name in map(regime_slice, REGIMES) if name in names]
    return [ALL, *years, *regimes]


def _differences(cells: Card, candidate: str, ablations: Mapping[str, str]) -> str:
    rows = (
        [
            f"minus {model} ({words})",
            *(_signed(cells.get((candidate, ALL, f"{column.metric}_minus_{model}")), column) for column in _PAIRED),
        ]
        for model, words in ablations.items()
    )
    return _table([candidate, *(column.title for column in _PAIRED)], rows)


def _added_by_slice(cells: Card, candidate: str, ablations: Mapping[str, str], slices: Sequence[str]) -> str:
    rows = (
        [name, *(_signed(cells.get((candidate, name, f"ic_minus_{model}")), _IC) for model in ablations)]
        for name in slices[1:]
    )
    return _table(["IC", *(f"minus {words}" for words in ablations.values())], rows)


def _by_slice(cells: Card, column: _Column, *, models: Sequence[str], slices: Sequence[str]) -> str:
    """One measure: a row a slice, a column a model; intervals for the first model, the others only to compare."""
    rows = (
        [
            name,
            str(cells[models[0], name, column.metric]["sessions"]),
            _shown(cells.get((models[0], name, column.metric)), column),
            *(_shown(cells.get((model, name, column.metric)), column, interval=False) for model in models[1:]),
        ]
        for name in slices
    )
    return _table(["slice", "sessions", *models], rows)


def _deciles(cells: Card, candidate: str) -> str:
    expected, realised = (_Column(f"{side}_return", f"{side} (bp)", 2, _BP) for side in ("expected", "realised"))
    rows = (
        [
            str(decile),
            _signed(cells.get((candidate, f"decile {decile}", expected.metric)), expected, interval=False),
            _signed(cells.get((candidate, f"decile {decile}", realised.metric)), realised),
        ]
        for decile in range(1, DECILES + 1)
    )
    return _table(["decile", expected.title, realised.title], rows)


def _notes(*, execution: ExecutionConfig, config: BacktestsConfig) -> str:
    regimes = config.regimes
    notes = {
        "Intervals": (
            f"{config.confidence:.0%}, from {config.bootstrap_resamples} resamples of the slice's own sessions by the "
            f"stationary bootstrap with a mean block of {config.bootstrap_block} sessions. Differences are paired: both "
            "models on the same resampled sessions. None is corrected for the number of slices looked at."
        ),
        "IC, rank IC": (
            "Pearson and Spearman correlation of score and realised log return across names, averaged over sessions."
        ),
        "ICIR": "mean over deviation of the sessions' ICs, not annualised.",
        "MAE, RMSE": (
            "of the expected log return, calibrated at each session's close on the outcomes known by then, "
            f"{execution.horizon} sessions ahead. equal_weight gives every name the same: it is the naive forecast."
        ),
        "Calibration slope": (
            "what the deciles of scores earned, regressed on what was expected of them, both less the session's mean. "
            "1 is a forecast of the right size, below 1 one that promises too much, 0 one that means nothing; none is "
            "given where the same was expected of every name."
        ),
        "Volatility": (
            f"deviation of the equal-weight market's returns over the trailing {regimes.volatility_window} sessions, in "
            f"the lowest, middle or highest third of those of the {regimes.history} sessions before; known at the "
            "session's close."
        ),
        "Net Sharpe": "annualised, of the simulated portfolio after costs.",
    }
    return "\n".join(f"* **{term}**: {meaning}" for term, meaning in notes.items())


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    header_line, *lines = (f"| {' | '.join(row)} |" for row in (header, *rows))
    return "\n".join([header_line, "|" + "---|" * len(header), *lines]) if lines else ""


def _shown(row: Mapping[str, float | None] | None, column: _Column, *, interval: bool = True, sign: str = "") -> str:
    """A value with its interval, or a dash where there is none."""
    if row is None or row["value"] is None:
        return "-"
    value, lower, upper = (
        "" if part is None else f"{part * column.scale:{sign}.{column.digits}f}"
        for part in (row["value"], row["lower"], row["upper"])
    )
    return f"{value} [{lower}, {upper}]" if interval and lower else value


def _signed(row: Mapping[str, float | None] | None, column: _Column, *, interval: bool = True) -> str:
    return _shown(row, column, interval=interval, sign="+")
