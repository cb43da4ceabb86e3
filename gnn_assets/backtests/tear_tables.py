"""Tables of the tear sheet as rows of text; a dash where there is no number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from gnn_assets.backtests.deflated import (
    deflated_sharpe,
    expected_max_sharpe,
    min_track_record,
    probabilistic_sharpe,
)
from gnn_assets.backtests.drawdowns import drawdowns
from gnn_assets.backtests.engine import Simulation
from gnn_assets.backtests.intervals import (
    alpha_interval,
    calmar_interval,
    drawdown_interval,
    sharpe_interval,
    sortino_interval,
)
from gnn_assets.backtests.metrics import (
    alpha,
    annual_return,
    annual_turnover,
    annual_volatility,
    beta,
    calmar,
    hit_rate,
    max_drawdown,
    sharpe,
    sortino,
)
from gnn_assets.backtests.regimes import REGIMES
from gnn_assets.backtests.score_card import ALL, YEAR, regime_slice
from gnn_assets.backtests.significance import Interval
from gnn_assets.backtests.tear_figures import FEWEST_BLOCKS, Spell
from gnn_assets.backtests.trials import Record, count_trials, trials_behind
from gnn_assets.backtests.verdict import Condition
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig

DASH = "–"
_SLICED = (("ic", 4), ("rank_ic", 4), ("icir", 3), ("calibration_slope", 2))
_BP = 1e4


class Table(NamedTuple):
    """A table for people: the first cell of a row names it."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False)
class Curve:
    """One thing somebody could have held.

    Args:
        name: for people.
        sessions: sessions with a return, ascending.
        returns_T: float64 (T,), simple returns of these sessions.
        turnover_T: float64 (T,), traded value over the portfolio's; None where it is not known.
    """

    name: str
    sessions: Sequence[date]
    returns_T: np.ndarray
    turnover_T: np.ndarray | None = None

    @classmethod
    def of(
        cls, name: str, sessions: Sequence[date], returns_T: np.ndarray, turnover_T: np.ndarray | None = None
    ) -> "Curve":
        """The curve of the sessions whose return is known."""
        known_T = np.isfinite(returns_T)
        return cls(
            name=name,
            sessions=[day for day, known in zip(sessions, known_T, strict=True) if known],
            returns_T=returns_T[known_T],
            turnover_T=None if turnover_T is None else turnover_T[known_T],
        )


def number(value: float, *, digits: int = 2) -> str:
    """A number for people."""
    return f"{value:.{digits}f}".replace("-", "−") if np.isfinite(value) else DASH


def percent(value: float, *, digits: int = 1) -> str:
    """A share for people, in one word."""
    return f"{number(100 * value, digits=digits)}\N{NO-BREAK SPACE}%" if np.isfinite(value) else DASH


def spanned(shown: Callable[[float], str], value: float, interval: Interval) -> str:
    """A value with its interval, where there is one."""
    lower, upper = interval
    return f"{shown(value)} [{shown(lower)}, {shown(upper)}]" if np.isfinite([lower, upper]).all() else shown(value)


def figures_table(curves: Sequence[Curve], *, benchmark: Curve, config: BacktestsConfig) -> Table:
    """A row a measure and a column a curve; the first curve, the one the page is about, with intervals.

    Args:
        curves: what is compared.
        benchmark: what alpha and beta are taken against.
        config: sessions a year, bootstrap.
    """
    columns = [_figures(curve, benchmark, config=config, spans=place == 0) for place, curve in enumerate(curves)]
    rows = [(title, *(column[title] for column in columns)) for title in columns[0]]
    return Table(("", *(curve.name for curve in curves)), rows)


def _figures(curve: Curve, benchmark: Curve, *, config: BacktestsConfig, spans: bool) -> dict[str, str]:
    returns_T, year = curve.returns_T, config.sessions_per_year
    spans = spans and returns_T.size >= FEWEST_BLOCKS * config.bootstrap_block
    own_K, theirs_K = _common(curve, benchmark)
    against = theirs_K.size > 0

    def told(shown: Callable[[float], str], value: float, interval: Callable[[], Interval]) -> str:
        return spanned(shown, value, interval()) if spans else shown(value)

    return {
        "value of 1": number(float(np.prod(1 + returns_T))) if returns_T.size else DASH,
        "return a year": percent(annual_return(returns_T, sessions_per_year=year)),
        "volatility a year": percent(annual_volatility(returns_T, sessions_per_year=year)),
        "Sharpe": told(
            number, sharpe(returns_T, sessions_per_year=year), lambda: sharpe_interval(returns_T, config=config)
        ),
        "Sortino": told(
            number, sortino(returns_T, sessions_per_year=year), lambda: sortino_interval(returns_T, config=config)
        ),
        "Calmar": told(
            number, calmar(returns_T, sessions_per_year=year), lambda: calmar_interval(returns_T, config=config)
        ),
        "deepest fall": told(percent, max_drawdown(returns_T), lambda: drawdown_interval(returns_T, config=config)),
        "longest below a peak (sessions)": str(drawdowns(returns_T).longest) if returns_T.size else DASH,
        "sessions with a gain": percent(hit_rate(returns_T)),
        "turnover a year": _turnover(curve, config=config),
        f"beta to {benchmark.name}": number(beta(own_K, theirs_K)) if against else DASH,
        f"alpha to {benchmark.name}": told(
            percent,
            alpha(own_K, theirs_K, sessions_per_year=year),
            lambda: alpha_interval(own_K, theirs_K, config=config),
        )
        if against
        else DASH,
        "sessions": str(returns_T.size),
    }


def _turnover(curve: Curve, *, config: BacktestsConfig) -> str:
    if curve.turnover_T is None:
        return DASH
    return number(annual_turnover(curve.turnover_T, sessions_per_year=config.sessions_per_year), digits=1)


def _common(curve: Curve, other: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Returns of both on the sessions they share; none where one is the other itself."""
    theirs = {} if curve is other else dict(zip(other.sessions, other.returns_T.tolist(), strict=True))
    pairs = [
        (own, theirs[day]) for day, own in zip(curve.sessions, curve.returns_T.tolist(), strict=True) if day in theirs
    ]
    own_K, theirs_K = np.array(pairs).reshape(-1, 2).T
    return own_K, theirs_K


def conditions_table(conditions: Sequence[Condition]) -> Table:
    """What was asked of the candidate and what came."""
    rows = [
        (
            one.label.rstrip(","),
            one.word,
            _shown(one.value),
            one.relation,
            _shown(one.threshold),
            "yes" if one.passed else "no",
        )
        for one in conditions
    ]
    return Table(("", "asked for by", "measured", "must be", "threshold", "holds"), rows)


def _shown(value: float) -> str:
    return DASH if np.isnan(value) else f"{value:.4g}".replace("-", "−")


def trials_table(nets_TxM: np.ndarray, trials: Sequence[Record], *, config: BacktestsConfig) -> Table:
    """What the Sharpe ratio is worth after the tries behind it.

    Args:
        nets_TxM: float (T, M), net returns of every model of the page on the sessions all of them have, without NaN;
            the candidate's first.
        trials: the ledger's.
        config: sessions a year, level.
    """
    # A variance of ratios needs two sessions.
    if len(nets_TxM) <= 1:
        return Table((), [("trials behind it", f"{max(count_trials(trials), nets_TxM.shape[1])}")])
    net_T, behind = nets_TxM[:, 0], trials_behind(trials, nets_TxM)
    bar = np.sqrt(config.sessions_per_year) * expected_max_sharpe(trials=behind.effective, variance=behind.variance)
    deflated = deflated_sharpe(net_T, trials=behind.effective, variance=behind.variance)
    needed = min_track_record(net_T, benchmark=0.0, confidence=config.confidence)
    record = f"{needed:.0f}; there are {net_T.size}" if np.isfinite(needed) else "no record would do"
    rows = [
        ("trials behind it", f"{behind.counted}, that amount to {number(behind.effective, digits=1)} independent ones"),
        ("net Sharpe that the best of them would show without skill", number(bar)),
        ("deflated Sharpe ratio: probability that the true one lies above that", percent(deflated)),
        ("probability that the true one lies above 0", percent(probabilistic_sharpe(net_T, benchmark=0.0))),
        (f"sessions until that reaches {config.confidence:.0%}", DASH if np.isnan(needed) else record),
    ]
    return Table((), rows)


def spells_table(spells: Sequence[Spell]) -> Table:
    """The worst falls, the deepest first."""
    rows = (
        (
            str(place),
            percent(spell.depth),
            str(spell.peak or "the start"),
            str(spell.trough),
            str(spell.regained or "not yet"),
            str(spell.length),
        )
        for place, spell in enumerate(spells, start=1)
    )
    return Table(("", "depth", "peak", "lowest", "regained", "sessions"), list(rows))


def costs_table(
    simulations: Mapping[float, Simulation], *, execution: ExecutionConfig, config: BacktestsConfig
) -> Table:
    """Net Sharpe ratio and growth at every multiple of the costs."""
    year = config.sessions_per_year
    rows = [
        (
            f"{multiple:g} ×",
            number(multiple * execution.cost_per_side * _BP, digits=2),
            number(sharpe(simulated.net_T, sessions_per_year=year)),
            percent(annual_return(simulated.net_T, sessions_per_year=year)),
            number(float(np.prod(1 + simulated.net_T))),
        )
        for multiple, simulated in simulations.items()
    ]
    return Table(("costs", "per side (bp)", "net Sharpe", "net return a year", "value of 1"), rows)


def holdings_table(simulated: Simulation, sessions: Sequence[date], *, config: BacktestsConfig) -> Table:
    """What was held and traded, by year and over all."""
    year_T = np.array([day.year for day in sessions])
    parts = {str(year): year_T == year for year in np.unique(year_T).tolist()}
    parts["all"] = np.full(len(sessions), fill_value=True)
    costs = (simulated.commission_T, simulated.slippage_T, simulated.borrow_T, simulated.financing_T)
    rows = [
        (
            name,
            str(int(in_T.sum())),
            number(float(simulated.held_T[in_T].mean()), digits=1),
            percent(float(simulated.long_T[in_T].mean())),
            percent(float(simulated.short_T[in_T].mean())),
            number(annual_turnover(simulated.turnover_T[in_T], sessions_per_year=config.sessions_per_year), digits=1),
            *(percent(float(paid_T[in_T].mean()) * config.sessions_per_year, digits=2) for paid_T in costs),
        )
        for name, in_T in parts.items()
    ]
    told = ("", "sessions", "names held", "long", "short", "turnover a year")
    return Table((*told, "commission", "slippage", "borrow", "interest"), rows)


def slices_table(card: pl.DataFrame, *, candidate: str) -> Table:
    """The candidate's measures of its score card, by year and by volatility of the market."""
    own = card.filter(pl.col("model") == candidate)
    cells = {(row["slice"], row["metric"]): row for row in own.iter_rows(named=True)}
    names = own["slice"].unique().to_list()
    years = sorted(name for name in names if name.startswith(YEAR))
    regimes = [name for name in map(regime_slice, REGIMES) if name in names]
    rows = [
        (
            name,
            _sessions(cells.get((name, "ic"))),
            *(_cell(cells.get((name, metric)), digits) for metric, digits in _SLICED),
        )
        for name in (ALL, *years, *regimes)
    ]
    return Table(("", "sessions", "IC", "rank IC", "ICIR", "calibration slope"), rows)


def _sessions(row: Mapping[str, Any] | None) -> str:
    return DASH if row is None else str(row["sessions"])


def _cell(row: Mapping[str, Any] | None, digits: int) -> str:
    told = (None,) * 3 if row is None else (row["value"], row["lower"], row["upper"])
    value, lower, upper = (float("nan") if part is None else part for part in told)
    return spanned(lambda part: number(part, digits=digits), value, (lower, upper))
