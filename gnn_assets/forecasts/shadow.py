"""What was not served: the scores other versions would have given, and what each decision gained or lost against them.

The shadow ledger holds every promotion, rollback and refusal against what came after it: the version that was chosen
beside the one that was not, on the sessions both have scored since. It judges nobody; it says what judging was worth.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import numpy as np
import polars as pl

from gnn_assets.backtests.metrics import mean
from gnn_assets.core.config import ExecutionConfig
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.store.panel import from_panel

Role = Literal["champion", "former", "refused", "candidate", "baseline"]

_LEDGER = {
    "since": pl.Date,
    "event": pl.String,
    "rule": pl.String,
    "chosen": pl.String,
    "other": pl.String,
    "ic_sessions": pl.Int32,
    "ic_difference": pl.Float64,
    "return_sessions": pl.Int32,
    "return_difference": pl.Float64,
}
_CHOICES = ("promoted", "rolled_back", "refused")


@dataclass(frozen=True)
class Choice:
    """One decision between two versions.

    Args:
        event: promoted, rolled_back or refused.
        rule: of the gate, or the person's.
        chosen: version that is served by it.
        other: version that is not; None where nobody was served before.
        since: the newest complete session then: the first one it decided about.
    """

    event: str
    rule: str
    chosen: str
    other: str | None
    since: date


def shadow_forecasts(
    scores_SxN: np.ndarray,
    *,
    version: str,
    sessions: Sequence[date],
    symbols: Sequence[str],
    calendar: SessionCalendar,
    execution: ExecutionConfig,
) -> pl.DataFrame:
    """Scores of a version that was not served, as `forecast_scores` reads forecasts.

    Args:
        scores_SxN: float32 (S, N), unitless, NaN for no score.
        version: of gnn_weights.
        sessions: the S sessions, all after the version's own data end.
        symbols: the N symbols.
        calendar: the exchange's sessions.
        execution: the version's own fill and horizon.

    Returns:
        Those columns of `FORECASTS` that do not need a calibration; expected return and interval are null, as the
        version was calibrated for none of these sessions.

    Known at: each row at its session's close.
    """
    rows = from_panel(scores_SxN, "score", sessions=sessions, symbols=symbols)
    targets = pl.DataFrame(
        {
            "session": pl.Series(sessions, dtype=pl.Date),
            "target_start": pl.Series([calendar.offset(each, execution.fill_lag) for each in sessions], dtype=pl.Date),
            "target_end": pl.Series([calendar.offset(each, execution.purge) for each in sessions], dtype=pl.Date),
        }
    )
    unknown = {name: pl.lit(None, dtype=pl.Float64) for name in ("expected_return", "lower", "upper")}
    return rows.join(targets, on="session", maintain_order="left").with_columns(
        pl.col("score").cast(pl.Float32),
        horizon=pl.lit(execution.horizon, dtype=pl.Int16),
        champion=pl.lit(version),
        **unknown,
    )


def role_of(version: str, *, champion: str | None, former: Sequence[str], events: Sequence[Mapping[str, Any]]) -> Role:
    """What a version is today.

    Args:
        version: of gnn_weights; `<model>/<version>` for a baseline that stood in for that one.
        champion: who is served; None for nobody.
        former: every version that was ever served.
        events: the ledger's, oldest first.
    """
    if version == champion:
        return "champion"
    if "/" in version:
        return "baseline"
    if version in former:
        return "former"
    refused = any(event["event"] == "refused" and event["candidate"] == version for event in events)
    return "refused" if refused else "candidate"


def choices(events: Sequence[Mapping[str, Any]], *, calendar: SessionCalendar) -> list[Choice]:
    """Every promotion, rollback and refusal of the ledger, oldest first.

    Args:
        events: the ledger's, oldest first.
        calendar: the exchange's sessions.
    """
    found = []
    for event in events:
        if event["event"] not in _CHOICES:
            continue
        candidate, champion = event["candidate"], event["champion"]
        chosen, other = (champion, candidate) if event["event"] == "refused" else (candidate, champion)
        # A refusal while nobody is served leaves nobody: there is no choice to follow.
        if chosen is not None:
            since = calendar.last_complete(datetime.fromisoformat(event["recorded_at"]))
            found.append(Choice(event["event"], event["rule"], chosen, other, since))
    return found


def shadow_ledger(
    made: Sequence[Choice], scores: pl.DataFrame, *, portfolio: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    """What each decision gained or lost: the version that was chosen, less the one that was not.

    Both are held against each other on the sessions that both have scored since the decision, whichever of them was
    served there. Their portfolios begin on the first of these, with nothing, and trade on these alone.

    Args:
        made: the decisions.
        scores: `forecast_scores` rows.
        portfolio: `forecast_scores` rows of one version → ``session`` and ``net``, simple returns after costs.

    Returns:
        A row for each decision: ``since``, ``event``, ``rule``, ``chosen``, ``other``; ``ic_difference``, of the mean
        ICs over ``ic_sessions`` whose outcome is known for both; ``return_difference``, of the compound net returns
        over ``return_sessions``. Null where nothing is known yet.

    Known at: the close of the newest session in `scores`.
    """
    ics = session_ics(scores)
    rows = []
    for choice in made:
        sides = [
            scores.filter(_by(version), pl.col("session") >= choice.since) for version in (choice.chosen, choice.other)
        ]
        common = sorted(set(sides[0]["session"]) & set(sides[1]["session"]))
        within = pl.col("session").is_in(common)
        rows.append(
            {
                "since": choice.since,
                "event": choice.event,
                "rule": choice.rule,
                "chosen": choice.chosen,
                "other": choice.other,
                **_ic_difference(ics.filter(within), choice),
                **_return_difference([side.filter(within) for side in sides], portfolio=portfolio),
            }
        )
    return pl.DataFrame(rows, schema=_LEDGER)


def session_ics(scores: pl.DataFrame) -> pl.DataFrame:
    """The IC of each version's session, as far as outcomes are known.

    Args:
        scores: `forecast_scores` rows.

    Returns:
        ``version``, ``session``, ``ic`` and ``cumulated``, the sum of the version's ICs up to the session; sorted, and
        without the sessions that have no IC.
    """
    known = scores.filter(pl.col("ic_share").is_not_null())
    ics = known.group_by("version", "session").agg(ic=pl.col("ic_share").sum()).sort("version", "session")
    return ics.with_columns(cumulated=pl.col("ic").cum_sum().over("version"))


def _by(version: str | None) -> pl.Expr:
    """Rows of a version; none where there is none."""
    return pl.col("version") == pl.lit(version, dtype=pl.String)


def _ic_difference(ics: pl.DataFrame, choice: Choice) -> dict[str, float | int | None]:
    chosen, other = (ics.filter(_by(version)) for version in (choice.chosen, choice.other))
    both = chosen.join(other, on="session", suffix="_other")
    if both.is_empty():
        return {"ic_sessions": None, "ic_difference": None}
    return {"ic_sessions": both.height, "ic_difference": mean((both["ic"] - both["ic_other"]).to_numpy())}


def _return_difference(
    sides: Sequence[pl.DataFrame], *, portfolio: Callable[[pl.DataFrame], pl.DataFrame]
) -> dict[str, float | int | None]:
    if any(side.is_empty() for side in sides):
        return {"return_sessions": None, "return_difference": None}
    chosen, other = (portfolio(side) for side in sides)
    both = chosen.select("session", "net").join(other.select("session", "net"), on="session", suffix="_other")
    if both.is_empty():
        return {"return_sessions": None, "return_difference": None}
    totals = [float(np.prod(1 + both[name].to_numpy())) for name in ("net", "net_other")]
    return {"return_sessions": both.height, "return_difference": totals[0] - totals[1]}
