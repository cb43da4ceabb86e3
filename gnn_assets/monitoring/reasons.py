"""Why anything is made anew: a closed list, and what each reason leads to."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from types import MappingProxyType
from typing import Literal


class Reason(StrEnum):
    """Every reason there is; each alarm of the platform has one."""

    NEW_SESSION = "new_session"
    GRAPH_STALE = "graph_stale"
    WEIGHTS_STALE = "weights_stale"
    SHARPE_BELOW_BENCHMARK = "sharpe_below_benchmark"
    ACCURACY_DROP = "accuracy_drop"
    FEATURE_DRIFT = "feature_drift"
    PREDICTION_DRIFT = "prediction_drift"
    RESIDUAL_DRIFT = "residual_drift"
    GRAPH_DRIFT = "graph_drift"
    COST_DRIFT = "cost_drift"
    COVERAGE_MISS = "coverage_miss"
    BARS_REVISED = "bars_revised"
    CODE_CHANGED = "code_changed"
    CONFIG_CHANGED = "config_changed"
    UPSTREAM_CHANGED = "upstream_changed"
    BAD_OUTPUT = "bad_output"
    CHAMPION_BEATEN = "champion_beaten"
    DEADLINE = "deadline"
    RETRY = "retry"
    MANUAL = "manual"


class Response(StrEnum):
    """What a reason leads to. Nothing but the gate, or a fault so hard that it cannot serve, moves the champion."""

    TRAIN = "train"  # a challenger
    REBUILD = "rebuild"  # the asset itself
    ROLL_BACK = "roll_back"  # to the last champion that was whole
    TELL = "tell"  # people


RESPONSES: Mapping[Reason, Response] = MappingProxyType(
    {
        Reason.NEW_SESSION: Response.REBUILD,
        Reason.GRAPH_STALE: Response.REBUILD,
        Reason.WEIGHTS_STALE: Response.TRAIN,
        Reason.SHARPE_BELOW_BENCHMARK: Response.TRAIN,
        Reason.ACCURACY_DROP: Response.TRAIN,
        Reason.FEATURE_DRIFT: Response.TRAIN,
        Reason.PREDICTION_DRIFT: Response.TRAIN,
        Reason.RESIDUAL_DRIFT: Response.TRAIN,
        Reason.GRAPH_DRIFT: Response.TRAIN,
        # Other costs change what is earned, not what is forecast.
        Reason.COST_DRIFT: Response.TELL,
        # Intervals are calibrated anew with each session; weights do not widen them.
        Reason.COVERAGE_MISS: Response.TELL,
        Reason.BARS_REVISED: Response.TELL,
        Reason.CODE_CHANGED: Response.TRAIN,
        Reason.CONFIG_CHANGED: Response.TRAIN,
        Reason.UPSTREAM_CHANGED: Response.REBUILD,
        Reason.BAD_OUTPUT: Response.ROLL_BACK,
        # By the champion before it, on the sessions since: the paired test of the gate, reversed.
        Reason.CHAMPION_BEATEN: Response.ROLL_BACK,
        Reason.DEADLINE: Response.REBUILD,
        Reason.RETRY: Response.TRAIN,
        Reason.MANUAL: Response.TRAIN,
    }
)


# From the challenger to the gate: each follows one asset, whatever else it reads.
CHAIN: Mapping[str, str] = MappingProxyType(
    {
        "oos_predictions": "gnn_weights",
        "portfolio_returns": "oos_predictions",
        "backtest_scores": "portfolio_returns",
        "score_cards": "backtest_scores",
        "champion": "backtest_scores",
    }
)
# Assets that answer an alarm by being made anew.
ANSWERS: Mapping[str, Reason] = MappingProxyType({"correlation_graphs": Reason.GRAPH_STALE})


@dataclass(frozen=True)
class Signal:
    """One measured value against its limit.

    Args:
        reason: what it would be a reason for.
        asset: what was measured.
        value: as measured; NaN while it is not known.
        limit: what it is held against.
        worse: side of the limit on which it is an alarm.
        window: what it was measured over, in words, such as "63 sessions".
        evidence: names what it was measured on: a session, a version.
        subject: what the alarm would be about, such as a champion or a recipe: of another one it is another alarm.
    """

    reason: Reason
    asset: str
    value: float
    limit: float
    worse: Literal["above", "below"]
    window: str
    evidence: str
    subject: str = ""

    @property
    def firing(self) -> bool:
        """Whether the value is beyond its limit; what is not known is no alarm."""
        return self.value > self.limit if self.worse == "above" else self.value < self.limit

    def cleared(self, *, hysteresis: float) -> bool:
        """Whether the value is back by so large a share of the limit; what is not known is not back.

        Args:
            hysteresis: share of the limit's size.
        """
        room = hysteresis * abs(self.limit)
        back = self.value <= self.limit - room if self.worse == "above" else self.value >= self.limit + room
        return isfinite(self.value) and back

    @property
    def sentence(self) -> str:
        """Such as "graph_drift 3.4 > 2.1"."""
        sign = ">" if self.worse == "above" else "<"
        return f"{self.reason} {self.value:.4g} {sign} {self.limit:.4g}"
