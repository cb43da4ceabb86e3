"""The promotion gate: the one place that says whether a candidate may be served. Pure: evidence in, report out.

One of three rules applies; each asks what the one before it asks:

    bootstrap   nobody is served yet            the hard checks alone
    refresh     champion's recipe, newer data   and IC is not worse by more than a margin
    replace     another recipe                  and IC is better, allowing for all that were tried against this champion
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal

import numpy as np
import polars as pl

from gnn_assets.backtests.cross_section import information_coefficients
from gnn_assets.backtests.metrics import calibrated_errors, rmse_ratio
from gnn_assets.core.checks import Check, shown
from gnn_assets.core.config import Config
from gnn_assets.registry.paired import paired_checks
from gnn_assets.registry.probe import Probe, probe_checks
from gnn_assets.store.panel import to_panel

Rule = Literal["bootstrap", "refresh", "replace", "already_champion"]


@dataclass(frozen=True)
class Contender:
    """One set of weights and what is known of it out of sample.

    Args:
        version: of `gnn_weights`.
        config_hash: of the part of the configuration that makes the recipe.
        fill: price its forecasts are filled at.
        horizon: sessions its forecasts look ahead.
        predictions: its own model's `oos_predictions` rows.
        portfolio: its own model's `portfolio_returns` rows.
        failure: why training failed; empty when it did not.
    """

    version: str
    config_hash: str
    fill: str
    horizon: int
    predictions: pl.DataFrame
    portfolio: pl.DataFrame
    failure: str = ""

    def extended(self, track: pl.DataFrame) -> "Contender":
        """The same contender, known on the further sessions of a `live_track`; those it has already are left alone."""
        new = track.select("session", "ic").join(self.portfolio, on="session", how="anti")
        return replace(self, portfolio=pl.concat([self.portfolio, new], how="diagonal").sort("session"))


def live_track(scores_SxN: np.ndarray, labels_SxN: np.ndarray, *, sessions: Sequence[date]) -> pl.DataFrame:
    """ICs of weights on the sessions after the end of their own data, as they were served there.

    Args:
        scores_SxN: float (S, N), by the final refit, NaN where masked.
        labels_SxN: float (S, N), log returns, NaN where unknown.
        sessions: the S sessions, all after the weights' own data end.

    Returns:
        Columns ``session`` and ``ic``, null where the outcome is unknown.
    """
    ic_S = information_coefficients(scores_SxN, labels_SxN)
    return pl.DataFrame(
        {"session": pl.Series(sessions, dtype=pl.Date), "ic": pl.Series(ic_S, dtype=pl.Float64).fill_nan(None)}
    )


@dataclass(frozen=True)
class Evidence:
    """All the gate looks at.

    Args:
        candidate: the weights that want to be served.
        champion: the weights that are served; None when there are none.
        symbols: the N core names of the universe, those included that did not come through.
        newest_scores_N: float (N,), the newest session scored by the very weights that would serve; NaN for no score.
        candidates_judged: candidates of other recipes judged against this champion so far, this one included.
        probe: what those weights said where their answer can be checked; the empty one fails.
    """

    candidate: Contender
    champion: Contender | None
    symbols: Sequence[str]
    newest_scores_N: np.ndarray
    candidates_judged: int
    probe: Probe = field(default_factory=Probe)


@dataclass(frozen=True)
class GateReport:
    """What the gate found, by which rule, and the sentence for the record."""

    rule: Rule
    passed: bool
    checks: tuple[Check, ...]
    reason: str

    @property
    def promotes(self) -> bool:
        """Whether the champion pointer is to be moved to the candidate."""
        return self.passed and self.rule != "already_champion"


def judge(evidence: Evidence, *, config: Config) -> GateReport:
    """Holds the evidence against the rule that applies to it.

    Args:
        evidence: candidate, champion and the newest scores.
        config: `gate`, `backtests` (bootstrap, fewest sessions), `execution` (purge) and `forecasts` are used.
    """
    candidate, champion = evidence.candidate, evidence.champion
    if champion is not None and champion.version == candidate.version:
        reason = f"{candidate.version} is already the champion; there is nothing to do."
        return GateReport("already_champion", passed=True, checks=(), reason=reason)
    checks = [*candidate_checks(candidate), *_newest_checks(evidence, config=config)]
    checks += probe_checks(evidence.probe, config=config.gate)
    checks.append(_rmse_check(candidate, None, config=config))
    rule: Rule = "bootstrap"
    if champion is not None:
        rule = "refresh" if champion.config_hash == candidate.config_hash else "replace"
        same = same_target(candidate, champion)
        checks.append(same)
        if same.passed:
            checks.append(_rmse_check(candidate, champion, config=config))
            checks += paired_checks(
                candidate.portfolio,
                champion.portfolio,
                replaces=rule == "replace",
                candidates_judged=evidence.candidates_judged,
                config=config,
            )
    failed = [check for check in checks if check.blocks]
    against = "no champion yet" if champion is None else f"champion {champion.version}"
    outcome = "passed" if not failed else f"refused by {'; '.join(check.sentence for check in failed)}"
    return GateReport(
        rule=rule,
        passed=not failed,
        checks=tuple(checks),
        reason=f"{candidate.version} against {against} by rule {rule}: {outcome}{'.' if not failed else ''}",
    )


def candidate_checks(candidate: Contender) -> tuple[Check, ...]:
    """The hard checks on the candidate alone, which no person can overrule either."""
    scores = candidate.predictions
    broken = scores.filter(~pl.col("score").is_finite().fill_null(False))
    seen = scores.filter(~(pl.col("training_end") < pl.col("session")).fill_null(False))
    return (
        Check(
            name="executable",
            passed=candidate.fill != "close_same",
            value=candidate.fill,
            threshold="not close_same",
            description="Nobody can trade at the close the signal is made from: such weights serve a benchmark only.",
        ),
        Check(
            name="training_succeeded",
            passed=not candidate.failure,
            value=candidate.failure or "no failure",
            threshold="no failure",
            description="Training of every fold and of the final refit ended without failure.",
        ),
        Check(
            name="scores_finite",
            passed=broken.is_empty() and not scores.is_empty(),
            value=broken.height,
            threshold=0,
            description=f"Out-of-sample scores that are missing or not finite, of {scores.height}.",
            offenders=_cells(broken),
        ),
        Check(
            name="scores_out_of_sample",
            passed=seen.is_empty(),
            value=seen.height,
            threshold=0,
            description="Scores from a model whose training knew the session it scores: look-ahead.",
            offenders=_cells(seen),
        ),
    )


def same_target(candidate: Contender, champion: Contender) -> Check:
    """Whether both forecast the same outcome; no person can overrule it either."""
    return Check(
        name="same_target",
        passed=(candidate.fill, candidate.horizon) == (champion.fill, champion.horizon),
        value=f"{candidate.fill}, {candidate.horizon} sessions",
        threshold=f"{champion.fill}, {champion.horizon} sessions",
        description="Fill and horizon are the champion's. ICs and errors of different outcomes cannot be compared: "
        "another target needs a home of its own.",
    )


def _newest_checks(evidence: Evidence, *, config: Config) -> tuple[Check, ...]:
    """The scores about to be served, against the candidate's own out-of-sample history."""
    gate, symbols = config.gate, list(evidence.symbols)
    newest_N = np.asarray(evidence.newest_scores_N, dtype=np.float64)
    scored_N = np.isfinite(newest_N)
    share = float(scored_N.sum()) / max(len(symbols), 1)
    covered = Check(
        name="symbols_scored",
        passed=share >= gate.min_symbol_share,
        value=round(share, 4),
        threshold=gate.min_symbol_share,
        description=f"Share of {len(symbols)} symbols with a finite score in the newest session.",
        offenders=tuple(symbol for symbol, scored in zip(symbols, scored_N, strict=True) if not scored)[:10],
    )
    finite = evidence.candidate.predictions.filter(
        pl.col("score").is_finite().fill_null(False), pl.col("symbol").is_in(symbols)
    )
    sessions = finite["session"].unique().sort().to_list()
    history_TxN = to_panel(finite, "score", sessions=sessions, symbols=symbols)
    means_T, spreads_T = _row_moments(history_TxN)
    (mean_now,), (spread_now,) = _row_moments(np.where(scored_N, newest_N, np.nan)[np.newaxis])
    # Scores may be centred by construction: then means differ by float32 dust, which must not count as a shift.
    dust = float(np.sqrt(np.finfo(np.float32).eps))
    spread = float(np.median(spreads_T)) if spreads_T.size else float("nan")
    with np.errstate(divide="ignore"):
        log_spreads_T, log_spread_now = np.log(spreads_T[spreads_T > 0]), np.log(spread_now)
    cells = history_TxN[np.isfinite(history_TxN)]
    outside = _deviations(newest_N[scored_N], cells, dust=dust * spread) > gate.spread_sigma
    allowed = max(gate.max_outside_share, 1 / max(len(symbols), 1))
    share_outside = float(outside.mean()) if outside.size else 1.0
    return (
        covered,
        _within(
            "newest_mean",
            float(_deviations(np.array([mean_now]), means_T, dust=dust * spread)[0]),
            "Cross-sectional mean of the newest scores, in deviations from its out-of-sample history.",
            limit=gate.spread_sigma,
        ),
        _within(
            "newest_spread",
            float(_deviations(np.array([log_spread_now]), log_spreads_T, dust=dust)[0]),
            "Logarithm of the newest scores' cross-sectional deviation, in deviations from its history.",
            limit=gate.spread_sigma,
        ),
        Check(
            name="newest_outside",
            passed=share_outside <= allowed,
            value=round(share_outside, 4),
            threshold=round(allowed, 4),
            description=f"Share of newest scores more than {gate.spread_sigma} deviations from all out-of-sample "
            "scores; one name is always allowed, as a small universe has no smaller share.",
            offenders=tuple(np.array(symbols)[scored_N][outside][:10]),
        ),
    )


def _row_moments(values_TxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population deviation of each row's finite cells; both NaN for a row without any."""
    finite_TxN = np.isfinite(values_TxN)
    counts_T = finite_TxN.sum(axis=1)
    safe_T = np.where(counts_T > 0, counts_T, np.nan)
    filled_TxN = np.where(finite_TxN, values_TxN, 0.0)
    means_T = filled_TxN.sum(axis=1) / safe_T
    centred_TxN = np.where(finite_TxN, values_TxN - means_T[:, np.newaxis], 0.0)
    return means_T, np.sqrt((centred_TxN**2).sum(axis=1) / safe_T)


def _deviations(values: np.ndarray, history: np.ndarray, *, dust: float) -> np.ndarray:
    """Distance of values from a history's mean, in its standard deviations; infinite without a history."""
    if history.size <= 1 or not np.isfinite(values).all():
        return np.full(values.shape, np.inf)
    return np.abs(values - history.mean()) / max(float(history.std(ddof=1)), dust)


def _within(name: str, value: float, description: str, *, limit: float) -> Check:
    return Check(name=name, passed=value <= limit, value=shown(value), threshold=limit, description=description)


def _rmse_check(candidate: Contender, champion: Contender | None, *, config: Config) -> Check:
    """RMSE of the calibrated forecast over the naive one's, or over the champion's on their common sessions."""
    own_T = _errors(candidate, config=config)
    if champion is None:
        name, other, ratio = "rmse_over_naive", "the naive forecast's", rmse_ratio(own_T["error"].to_numpy())
    else:
        both = own_T.join(_errors(champion, config=config), on="session", suffix="_champion")
        name, other = "rmse_over_champion", "the champion's on common sessions"
        ratio = rmse_ratio(both["error"].to_numpy()) / rmse_ratio(both["error_champion"].to_numpy())
    return Check(
        name=name,
        passed=ratio <= config.gate.max_rmse_ratio,
        value=shown(ratio),
        threshold=config.gate.max_rmse_ratio,
        description=f"RMSE of the forecast calibrated on what was known, over {other}; not defined when too few "
        "sessions have a known outcome.",
    )


def _errors(contender: Contender, *, config: Config) -> pl.DataFrame:
    rows = contender.portfolio.sort("session")
    errors_T = calibrated_errors(
        rows["ic"].fill_null(np.nan).to_numpy(),
        purge=config.execution.purge,
        min_sessions=config.forecasts.min_calibration_sessions,
    )
    return rows.select("session", error=pl.Series(errors_T)).filter(pl.col("error").is_not_nan())


def _cells(frame: pl.DataFrame) -> tuple[str, ...]:
    return tuple(
        f"{row['symbol']} {row['session']}: score {row['score']}, training end {row['training_end']}"
        for row in frame.head(10).iter_rows(named=True)
    )
