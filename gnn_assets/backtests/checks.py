"""What must hold of a backtest before anything is made of it."""

import polars as pl

from gnn_assets.backtests.scores import ALL_FOLDS
from gnn_assets.core.checks import Check
from gnn_assets.core.config import BacktestsConfig

# Costs are at least zero; what is left over is rounding.
_ROUNDING = 1e-12


def portfolio_checks(portfolios: pl.DataFrame) -> tuple[Check, ...]:
    """Checks of `portfolio_returns`: ``returns_finite`` and ``net_at_most_gross``.

    Args:
        portfolios: `portfolio_returns` rows.
    """
    columns = ("gross", "net", "turnover")
    broken = portfolios.filter(~pl.all_horizontal(pl.col(*columns).is_finite().fill_null(False)))
    gains = portfolios.filter(pl.col("net") > pl.col("gross") + _ROUNDING)
    return (
        Check(
            name="returns_finite",
            passed=broken.is_empty() and not portfolios.is_empty(),
            value=broken.height,
            threshold=0,
            description=f"Of {portfolios.height} rows, those whose return or turnover is missing or not finite.",
            offenders=_rows(broken),
        ),
        Check(
            name="net_at_most_gross",
            passed=gains.is_empty(),
            value=gains.height,
            threshold=0,
            description="Rows that earn more after costs than before: costs would be added instead of paid.",
            offenders=_rows(gains),
        ),
    )


def score_checks(
    scores: pl.DataFrame, *, candidate: str, others: tuple[str, ...], config: BacktestsConfig
) -> tuple[Check, ...]:
    """Checks of `backtest_scores`: ``sessions_enough`` and one ``beats_<model>`` for each other model.

    They warn: a weak model is news, not a fault.

    Args:
        scores: `backtest_scores` rows.
        candidate: the model judged.
        others: baselines and the ablation without graph.
        config: the fewest sessions that say anything.
    """
    overall = scores.filter(pl.col("model") == candidate, pl.col("fold") == ALL_FOLDS)
    rows = {row["metric"]: row for row in overall.iter_rows(named=True)}
    sessions = int(rows["sessions"]["value"]) if "sessions" in rows else 0
    enough = Check(
        name="sessions_enough",
        passed=sessions >= config.min_sessions,
        value=sessions,
        threshold=config.min_sessions,
        description="Out-of-sample sessions; with fewer the verdict is NOT_ENOUGH_DATA.",
        severity="warn",
    )
    return (enough, *(_beats(rows, candidate, other, config=config) for other in others))


def _beats(rows: dict[str, dict], candidate: str, other: str, *, config: BacktestsConfig) -> Check:
    sharpe, ic = rows.get(f"sharpe_net_minus_{other}", {}), rows.get(f"ic_minus_{other}", {})
    lower = sharpe.get("lower")
    return Check(
        name=f"beats_{other}",
        passed=lower is not None and lower > 0,
        value="not comparable" if lower is None else lower,
        threshold=0,
        description=f"Lower end of the paired {config.confidence:.0%} interval of net Sharpe, {candidate} minus "
        f"{other}: {_interval(sharpe)}; of IC: {_interval(ic)}.",
        severity="warn",
    )


def _interval(row: dict) -> str:
    if row.get("lower") is None:
        return "not comparable"
    return f"{row['value']:+.4f} [{row['lower']:+.4f}, {row['upper']:+.4f}]"


def _rows(frame: pl.DataFrame) -> tuple[str, ...]:
    return tuple(
        f"{row['model']} {row['session']}: gross {row['gross']}, net {row['net']}, turnover {row['turnover']}"
        for row in frame.head(10).iter_rows(named=True)
    )
