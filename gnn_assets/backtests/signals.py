"""What a strategy may look at, and what it has to say: weights, by name of the strategy."""

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from gnn_assets.backtests import strategies
from gnn_assets.core.config import BacktestsConfig
from gnn_assets.core.errors import DataError
from gnn_assets.core.plugins import load_plugin
from gnn_assets.models.bars import Bars

STRATEGIES = strategies.__name__
# Scores and returns; all else is a field of the bars.
_SCORES, _RETURNS = "scores", "returns"


@dataclass(frozen=True, eq=False)
class Signals:
    """What is known of N names over T sessions.

    Args:
        told_scores_TxN: float (T, N), unitless, NaN where there is no score; None without scores.
        told_bars: over the same sessions and names; None without bars.

    Known at: row d at the close of session d.
    """

    told_scores_TxN: np.ndarray | None
    told_bars: Bars | None

    @property
    def scores_TxN(self) -> np.ndarray:
        """Scores, for a strategy that needs them."""
        assert self.told_scores_TxN is not None, "a strategy that reads scores names them in NEEDS"
        return self.told_scores_TxN

    @property
    def bars(self) -> Bars:
        """Bars, for a strategy that needs returns or a field of them."""
        assert self.told_bars is not None, "a strategy that reads bars names them in NEEDS"
        return self.told_bars

    @property
    def kinds(self) -> frozenset[str]:
        """What a strategy may name in NEEDS: scores, returns, and the fields of the bars."""
        scores = frozenset() if self.told_scores_TxN is None else {_SCORES}
        return frozenset(scores if self.told_bars is None else {*scores, _RETURNS, *self.told_bars.fields})


def load_strategy(config: BacktestsConfig, signals: Signals) -> ModuleType:
    """The configured strategy.

    Raises:
        PluginError: if there is none of that name.
        DataError: if the signals lack what it needs.
    """
    plugin = load_plugin(STRATEGIES, config.strategy)
    lacking = sorted(set(plugin.NEEDS) - signals.kinds)
    if lacking:
        raise DataError.of(
            f"strategy {config.strategy}",
            expected=f"{', '.join(plugin.NEEDS)} of the universe",
            was=f"no {', no '.join(lacking)}",
            do="choose another backtests.strategy, or a source of bars that has them",
        )
    return plugin


def known_rows(signals: Signals, plugin: ModuleType) -> np.ndarray:
    """Rows (T,) in which all that a strategy needs is known of at least one name; any other row is no signal."""
    known = [_values(signals, kind) for kind in plugin.NEEDS]
    return np.all([np.isfinite(values_TxN).any(axis=1) for values_TxN in known], axis=0)


def _values(signals: Signals, kind: str) -> np.ndarray:
    if kind == _SCORES:
        return signals.scores_TxN
    return signals.bars.close_return_TxN if kind == _RETURNS else signals.bars.values[kind]
