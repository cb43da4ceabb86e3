"""What names are expected to risk, from their trailing returns: one forecast for sizing and for portfolios.

Volatilities are exponentially weighted. Correlations are, too, and all drawn towards their mean by as much as the noise
of the window calls for (Ledoit-Wolf): among many names over few sessions the largest correlations are largely luck.
Drawn towards zero they would make every long portfolio look calmer than it is.

References:
    J.P. Morgan/Reuters, RiskMetrics Technical Document, 4th ed., 1996, ch. 5.
    O. Ledoit, M. Wolf, Honey, I Shrunk the Sample Covariance Matrix, Journal of Portfolio Management 30(4), 2004. The
    noise is that of their estimator with the identity for a target (J. Multivariate Analysis 88, 2004): that the mean
    correlation is itself a little noisy is left out.
"""

import numpy as np

from gnn_assets.core.config import ForecastRiskConfig
from gnn_assets.graphs.kernel import correlation_matrix
from gnn_assets.graphs.window import Window

_CONSTANT = 1e-8  # a deviation below this share of the root mean square is none, as everywhere in the graphs


def measured(returns_TxN: np.ndarray, row: int, *, config: ForecastRiskConfig) -> np.ndarray:
    """Names (N,) whose risk can be told: enough of the window has a return, and they are not all the same.

    Known at: the close of the row.
    """
    values_WxN = _trailing(returns_TxN, row, config).astype(np.float64)
    there_WxN = np.isfinite(values_WxN)
    count_N = np.maximum(there_WxN.sum(axis=0), 1)
    values_WxN = np.where(there_WxN, values_WxN, 0.0)
    centred_WxN = np.where(there_WxN, values_WxN - values_WxN.sum(axis=0) / count_N, 0.0)
    moves_N = (centred_WxN**2).sum(axis=0) > _CONSTANT**2 * (values_WxN**2).sum(axis=0)
    return moves_N & (count_N >= config.min_share * config.window)


def covariance(returns_TxN: np.ndarray, row: int, names_M: np.ndarray, *, config: ForecastRiskConfig) -> np.ndarray:
    """Covariance of a session's simple returns, as forecast at the close of a row.

    Variances are weighted ones about the weighted mean, without bias. A missing return counts as the name's mean in
    correlations, and not at all in its variance.

    Args:
        returns_TxN: float (T, N), close-to-close log returns, NaN where absent.
        row: the last row read.
        names_M: int (M,), columns, at least one; each `measured`.
        config: window, half-life.

    Returns:
        float64 (M, M), positive definite but for rounding.

    Known at: the close of the row.
    """
    values_WxM = np.expm1(_trailing(returns_TxN, row, config)[:, names_M].astype(np.float64))
    session_W = _session_weights(len(values_WxM), config)
    there_WxM = np.isfinite(values_WxM)
    weights_WxM = np.where(there_WxM, session_W[:, None], 0.0)
    weights_WxM /= weights_WxM.sum(axis=0)
    values_WxM = np.where(there_WxM, values_WxM, 0.0)
    centred_WxM = np.where(there_WxM, values_WxM - (weights_WxM * values_WxM).sum(axis=0), 0.0)
    variance_M = (weights_WxM * centred_WxM**2).sum(axis=0)
    standard_WxM = np.sqrt(session_W / session_W.mean())[:, None] * centred_WxM / np.sqrt(variance_M)
    correlation_MxM = _shrunk(standard_WxM)
    deviation_M = np.sqrt(variance_M / (1.0 - (weights_WxM**2).sum(axis=0)))
    return correlation_MxM * np.outer(deviation_M, deviation_M)


def correlations(returns_TxN: np.ndarray, row: int, names_M: np.ndarray, *, config: ForecastRiskConfig) -> np.ndarray:
    """Correlation of each pair over the sessions both have, as it was: weighted by age, drawn towards nothing.

    Args:
        returns_TxN: float (T, N), close-to-close log returns, NaN where absent.
        row: the last row read.
        names_M: int (M,), columns.
        config: window, half-life, and the share of the window that a pair must have.

    Returns:
        float32 (M, M); NaN on the diagonal, for a name that never moves and for pairs with too few sessions.

    Known at: the close of the row.
    """
    rows_WxM = _trailing(returns_TxN, row, config)[:, names_M].astype(np.float64)
    weights_W = _session_weights(len(rows_WxM), config)
    least = int(np.ceil(config.min_share * config.window))
    return correlation_matrix(Window(rows_WxM, weights_W=weights_W), min_overlap=least)


def _shrunk(standard_WxM: np.ndarray) -> np.ndarray:
    """Correlations (M, M) of standardised series, drawn towards their mean."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    sample_MxM = standard_WxM.T @ standard_WxM / len(standard_WxM)
    np.fill_diagonal(sample_MxM, 1.0)
    n_names = len(sample_MxM)
    off_diagonal = ~np.eye(n_names, dtype=bool)
    mean = sample_MxM[off_diagonal].mean() if n_names > 1 else 0.0
    noise = ledoit_wolf_shrinkage(standard_WxM, assume_centered=True) * (sample_MxM[off_diagonal] ** 2).sum()
    distance = ((sample_MxM[off_diagonal] - mean) ** 2).sum()
    share = noise / distance if noise < distance else 1.0
    return np.where(off_diagonal, sample_MxM + share * (mean - sample_MxM), 1.0)


def _trailing(returns_TxN: np.ndarray, row: int, config: ForecastRiskConfig) -> np.ndarray:
    return returns_TxN[max(row - config.window + 1, 0) : row + 1]


def _session_weights(n_sessions: int, config: ForecastRiskConfig) -> np.ndarray:
    """Weight (W,) of each session of a window, the newest last."""
    ages_W = np.arange(n_sessions)[::-1]
    return np.ones(n_sessions) if config.half_life is None else 0.5 ** (ages_W / config.half_life)
