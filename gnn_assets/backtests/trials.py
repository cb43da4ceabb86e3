"""How many tries stand behind a result: what the ledger counted, and how many independent ones they amount to.

A try is a portfolio somebody looked at: a model's scores, traded by a rule. Backtests and hypotheses count themselves
by model, weights and settings, so the same one twice is one. Trainings count too until a backtest of their weights
does it for them. What a try is counted for comes before its result: a kill in between costs a count, never hides one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gnn_assets.backtests.deflated import effective_trials, trial_variance
from gnn_assets.core.config import BacktestsConfig, ExecutionConfig
from gnn_assets.core.hashing import json_hash

# Settings of a backtest that make its portfolio; the others only say how sure one is of it.
PORTFOLIO_SETTINGS = (
    "strategy",
    "held",
    "hysteresis",
    "max_weight",
    "rebalance",
    "rebalance_sessions",
    "brake",
    "sizing",
    "portfolios",
    "strategies",
)
_SHOWN = 16  # digits of a hash
_FEWEST = 2  # sessions a variance needs

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Trials:
    """The tries behind a result.

    Args:
        counted: in the ledger, each once.
        effective: independent ones they amount to; those whose returns are not known count in full.
        variance: of the Sharpe ratios of those whose returns are known, a session.
    """

    counted: int
    effective: float
    variance: float


def trial_of(
    kind: Literal["backtest", "hypothesis"],
    *,
    model: str,
    version: str,
    execution: ExecutionConfig,
    config: BacktestsConfig,
) -> dict[str, Any]:
    """The record by which a portfolio counts itself.

    Args:
        kind: what looks at it.
        model: whose scores it trades; empty for a strategy that needs none.
        version: of the weights that scored, or beside which it is judged.
        execution: fill and costs.
        config: of the portfolio.
    """
    dumped = config.model_dump(mode="json")
    settings = {"execution": execution.model_dump(mode="json"), **{name: dumped[name] for name in PORTFOLIO_SETTINGS}}
    return {
        "trial": kind,
        "model": model,
        "version": version,
        "strategy": config.strategy,
        "settings": json_hash(settings)[:_SHOWN],
    }


def uncounted(wanted: Iterable[Record], records: Iterable[Record]) -> list[Record]:
    """Those of some backtests and hypotheses that the ledger does not count yet, each once.

    Args:
        wanted: as `trial_of` makes them.
        records: the ledger's trials.
    """
    known = {_portfolio(record) for record in records if _is_portfolio(record)}
    return list({_portfolio(record): record for record in wanted if _portfolio(record) not in known}.values())


def count_trials(records: Sequence[Record]) -> int:
    """Tries in the ledger.

    Args:
        records: the ledger's trials.
    """
    portfolios = {_portfolio(record) for record in records if _is_portfolio(record)}
    looked_at = {(model, version) for model, version, _ in portfolios}
    trained = {(record["model"], record["version"]) for record in records if not _is_portfolio(record)}
    return len(portfolios) + len(trained - looked_at)


def trials_behind(records: Sequence[Record], known_TxM: np.ndarray) -> Trials:
    """The tries behind one of some portfolios.

    Args:
        records: the ledger's trials.
        known_TxM: float (T, M), net simple returns of the portfolios on common sessions, without NaN; the ledger counts
            them too.

    Returns:
        Of fewer than two sessions the count alone, with a variance of NaN.
    """
    portfolios = known_TxM.shape[1]
    counted = max(count_trials(records), portfolios)
    if len(known_TxM) < _FEWEST:
        return Trials(counted=counted, effective=float(counted), variance=float("nan"))
    return Trials(
        counted=counted,
        effective=effective_trials(known_TxM) + counted - portfolios,
        variance=trial_variance(known_TxM),
    )


def _is_portfolio(record: Record) -> bool:
    return "settings" in record


def _portfolio(record: Record) -> tuple[str, str, str]:
    return record["model"], record["version"], record["settings"]
