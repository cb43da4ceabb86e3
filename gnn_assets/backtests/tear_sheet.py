"""The tear sheet: all that is known of one candidate's backtest as one page of HTML, the same bytes for the same data.

The page needs nothing beside itself: no network, no scripts, no files. Every text is escaped by the template; only the
drawings, which hold no names, go in as they are. What cannot be told is a dash, and a line at the top says why.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup

from gnn_assets.backtests.decay import ic_statistics
from gnn_assets.backtests.drawdowns import drawdown_curve
from gnn_assets.backtests.engine import Simulation
from gnn_assets.backtests.scores import session_folds
from gnn_assets.backtests.tear_charts import Line, line_chart
from gnn_assets.backtests.tear_figures import (
    HORIZONS,
    MONTHS,
    Decay,
    cost_simulations,
    decay,
    monthly_returns,
    rolling_mean,
    rolling_sharpe,
    worst_spells,
)
from gnn_assets.backtests.tear_inputs import Compared, Inputs
from gnn_assets.backtests.tear_tables import (
    Curve,
    Table,
    conditions_table,
    costs_table,
    figures_table,
    holdings_table,
    number,
    percent,
    slices_table,
    spells_table,
    trials_table,
)
from gnn_assets.backtests.verdict import BENCHMARK
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig
from gnn_assets.core.pages import page_environment

_WORST = 5  # falls that are named
_ACROSS = 10  # horizons beside each other
# Gross returns and context are told apart from what could have been held by how their lines are broken.
_GROSS, _CONTEXT = (4.0, 2.0), (1.0, 1.5)
_SAME = 1e-9  # simple return of a session


def tear_sheet(given: Inputs, *, execution: ExecutionConfig, config: BacktestsConfig) -> str:
    """The page.

    Args:
        given: tables and facts of one candidate.
        execution: fill, horizon and costs.
        config: strategy, sessions a year, bootstrap.

    Returns:
        HTML, whole: its drawings and its style are in it.

    References:
        D. Bailey, M. Lopez de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40(5), 2014.
        R. Grinold, R. Kahn, Active Portfolio Management, McGraw-Hill 2000, ch. 6 (decay of the IC).
    """
    page = _Page(given, execution, config)
    template = _ENVIRONMENT.get_template("tear_sheet.html.jinja")
    return template.render(page.context())


class _Page:
    """The parts of one page, and what is missing of them."""

    def __init__(self, given: Inputs, execution: ExecutionConfig, config: BacktestsConfig) -> None:
        self.given, self.execution, self.config = given, execution, config
        self.missing: list[str] = []
        self.told = Compared(given)
        self.axis, self.series = self.told.axis, self.told.series
        self.net, self.gross, self.others = self.told.net, self.told.gross, self.told.others
        self.own_predictions = given.predictions.filter(pl.col("model") == given.candidate)
        self.symbols = given.predictions["symbol"].unique().sort().to_list()

    def context(self) -> dict[str, Any]:
        """What the template shows."""
        given, execution = self.given, self.execution
        simulations = self._simulations()
        context = {
            "candidate": given.candidate,
            "version": given.portfolios.filter(pl.col("model") == given.candidate)["version"][0],
            "market": given.market,
            "span": self._span(),
            "execution": execution.fill,
            "executable": execution.fill != "close_same",
            "verdict": given.verdict,
            "conditions": conditions_table(given.verdict.conditions) if given.verdict.conditions else None,
            "trials": self._trials(),
            "figures": self._figures(),
            "growth": self._growth(),
            "falls": self._falls(),
            "spells": spells_table(worst_spells(self.net.returns_T, self.net.sessions, most=_WORST)),
            "months": self._months(),
            "sharpes": self._sharpes(),
            "ics": self._ics(),
            "ic_table": self._ic_table(),
            **self._decay(),
            "costs": simulations and costs_table(simulations, execution=execution, config=self.config),
            "holdings": simulations and holdings_table(simulations[1.0], self.axis, config=self.config),
            "exposure": simulations and self._exposure(simulations[1.0]),
            "slices": slices_table(given.card, candidate=given.candidate),
            "facts": self._facts(),
            "config": self.config,
        }
        return {**context, "missing": [*self.missing, *self.told.gaps()]}

    def _benchmark(self) -> Curve:
        if BENCHMARK not in self.series:
            self.missing.append(f"There is no {BENCHMARK} to compare with: alpha and beta are left out.")
            return Curve.of(BENCHMARK, [], np.empty(0))
        return self.others[0]

    def _trials(self) -> Table:
        nets_TxM = np.stack([series["net"] for series in self.series.values()], axis=1)
        common_TxM = nets_TxM[np.isfinite(nets_TxM).all(axis=1)]
        return trials_table(common_TxM, self.given.trials, config=self.config)

    def _figures(self) -> Table:
        return figures_table(self.told.curves, benchmark=self._benchmark(), config=self.config)

    def _growth(self) -> dict[str, Any] | None:
        curves = self.told.curves
        lines = [
            Line(
                self.told.over_axis(curve, np.cumprod(1 + curve.returns_T)),
                colour=colour,
                dash=_GROSS if curve is self.gross else _CONTEXT if curve in self.told.context else (),
                heavy=curve is self.net,
            )
            # The candidate's colour comes twice: net and gross.
            for curve, colour in zip(curves, (1, *self.told.colours.values()), strict=False)
        ]
        return self._chart(lines, [curve.name for curve in curves], name="growth", y_label="value of 1", log=True)

    def _falls(self) -> dict[str, Any] | None:
        curves = [self.net, *self.others[:1]]
        lines = [
            Line(self.told.over_axis(curve, drawdown_curve(curve.returns_T)), colour=1 + place, heavy=place == 0)
            for place, curve in enumerate(curves)
        ]
        names = [curve.name for curve in curves]
        return self._chart(lines, names, name="falls", y_label="below the peak", share=True, filled=True)

    def _months(self) -> dict[str, Any]:
        table = monthly_returns(self.net.returns_T, self.net.sessions)
        cells = [value for months, _ in table.values() for value in months if np.isfinite(value)]
        largest = max(map(abs, cells), default=0.0) or 1.0
        rows = {
            year: [
                {
                    "text": number(100 * value, digits=1),
                    "sign": "gain" if value > 0 else "loss" if value < 0 else "none",
                    "strength": f"{abs(value) / largest:.2f}" if np.isfinite(value) else "0",
                }
                for value in months
            ]
            for year, (months, _) in table.items()
        }
        totals = {year: number(100 * total, digits=1) for year, (_, total) in table.items()}
        return {"rows": rows, "totals": totals, "names": range(1, MONTHS + 1)}

    def _sharpes(self) -> dict[str, Any] | None:
        year = self.config.sessions_per_year
        if self.net.returns_T.size < year:
            self.missing.append(
                f"{self.net.returns_T.size} sessions with a return; a rolling Sharpe ratio needs {year}."
            )
            return None
        curves = [self.net, *self.others[:1]]
        lines = [
            Line(
                self.told.over_axis(curve, rolling_sharpe(curve.returns_T, sessions_per_year=year)),
                colour=1 + place,
                heavy=place == 0,
            )
            for place, curve in enumerate(curves)
        ]
        return self._chart(lines, [curve.name for curve in curves], name="sharpes", y_label="net Sharpe")

    def _ics(self) -> dict[str, Any] | None:
        year = self.config.sessions_per_year
        models = [
            model for model, series in self.series.items() if np.isfinite(rolling_mean(series["ic"], window=year)).any()
        ]
        if self.given.candidate not in models:
            known = int(np.isfinite(self.series[self.given.candidate]["ic"]).sum())
            self.missing.append(f"{known} sessions with a known IC; a rolling IC needs most of {year} sessions.")
            return None
        lines = [
            Line(
                rolling_mean(self.series[model]["ic"], window=year),
                colour=self.told.colours[model],
                heavy=model == self.given.candidate,
            )
            for model in models
        ]
        return self._chart(lines, models, name="ics", y_label="mean IC")

    def _ic_table(self) -> Table:
        rows = []
        for model, series in self.series.items():
            told = ic_statistics(series["ic"], lags=self.execution.horizon)
            rows.append(
                (
                    model,
                    str(told.sessions),
                    number(told.mean, digits=4),
                    number(told.deviation, digits=4),
                    number(told.icir, digits=3),
                    number(told.t),
                    percent(told.positive),
                )
            )
        return Table(("", "sessions", "mean IC", "deviation", "ICIR", "t (Newey-West)", "above 0"), rows)

    def _decay(self) -> dict[str, Any]:
        first = self.given.sessions.index(self.axis[0])
        told = decay(
            self.own_predictions,
            self.given.returns,
            sessions=self.given.sessions[first:],
            symbols=self.symbols,
            execution=self.execution,
            config=self.config,
        )
        if not told.sessions:
            self.missing.append(f"No session whose IC is known over all of 1 to {HORIZONS} sessions: no decay.")
            return {"decay": None, "decay_tables": []}
        line = Line(told.mean_H, colour=1, heavy=True, lower_T=told.lower_H, upper_T=told.upper_H)
        horizons = list(range(1, HORIZONS + 1))
        drawing = line_chart(horizons, [line], name="decay", y_label="mean IC", x_label="horizon (sessions)")
        return {"decay": {"drawing": Markup(drawing), "legend": []}, "decay_tables": _decay_tables(told)}  # noqa: S704 - no names in it

    def _simulations(self) -> dict[float, Simulation] | None:
        simulations = cost_simulations(
            self.own_predictions,
            self.given.returns,
            axis=self.axis,
            sessions=self.given.sessions,
            symbols=self.symbols,
            execution=self.execution,
            config=self.config,
            bars=self.given.bars,
            universe=self.given.universe,
            calendar=self.given.calendar,
        )
        stored_T = self.series[self.given.candidate]["net"]
        if np.allclose(simulations[1.0].net_T, stored_T, rtol=0, atol=_SAME):
            if unsolved := int(simulations[1.0].unsolved_T.sum()):
                self.missing.append(
                    f"On {unsolved} rebalances the optimiser found nothing: its last solution was held."
                )
            return simulations
        self.missing.append(
            "The portfolio simulated again is not the one that is stored: cost sensitivity, turnover and exposure are "
            "left out."
        )
        return None

    def _exposure(self, simulated: Simulation) -> dict[str, Any] | None:
        month = self.config.sessions_per_year // MONTHS
        lines = [
            Line(simulated.long_T, colour=1, heavy=True),
            Line(-simulated.short_T, colour=3),
            Line(rolling_mean(simulated.turnover_T, window=month), colour=4),
        ]
        names = ["long", "short", f"traded a session, mean of {month}"]
        return self._chart(lines, names, name="exposure", y_label="of the portfolio", share=True)

    def _facts(self) -> list[tuple[str, str]]:
        folds = sorted(set(session_folds(self.own_predictions).values()))
        execution = self.execution
        return [
            ("market", self.given.market),
            ("out of sample", self._span()),
            ("walk-forward folds", str(len(folds))),
            ("data end", str(self.given.sessions[-1])),
            ("symbols", str(len(self.symbols))),
            ("execution", f"{execution.fill}, horizon {execution.horizon} sessions"),
            ("strategy", self.config.strategy),
            *((f"version of {name}", version) for name, version in sorted(self.given.versions.items())),
        ]

    def _span(self) -> str:
        return f"{len(self.axis)} sessions out of sample, {self.axis[0]} to {self.axis[-1]}"

    def _chart(self, lines: Sequence[Line], names: Sequence[str], *, name: str, **how: Any) -> dict[str, Any] | None:
        """A drawing over the sessions with its legend; None where the first line has nothing to show."""
        if not np.isfinite(lines[0].values_T).any():
            return None
        shown = [(line, text) for line, text in zip(lines, names, strict=True) if np.isfinite(line.values_T).any()]
        drawing = line_chart(self.axis, [line for line, _ in shown], name=name, **how)
        return {"drawing": Markup(drawing), "legend": shown}  # noqa: S704 - no names in it


def _decay_tables(told: Decay) -> list[Table]:
    """Means and ends by horizon, ten at a time: twenty columns are too wide for paper."""
    tables = []
    for first in range(0, HORIZONS, _ACROSS):
        part = slice(first, first + _ACROSS)
        rows = [
            (name, *(number(value, digits=4) for value in values_H[part]))
            for name, values_H in (("mean IC", told.mean_H), ("lower", told.lower_H), ("upper", told.upper_H))
        ]
        horizons = [str(horizon) for horizon in range(1, HORIZONS + 1)][part]
        tables.append(Table((f"of {told.sessions}", *horizons), rows))
    return tables


_ENVIRONMENT = page_environment(Path(__file__).parent)
