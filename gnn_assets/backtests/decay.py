"""Series of information coefficients: how sure their mean is, and how it fades with the horizon."""

from dataclasses import dataclass

import numpy as np

from gnn_assets.backtests.cross_section import information_coefficients, realised_labels
from gnn_assets.backtests.metrics import information_ratio, mean
from gnn_assets.core.execution import ExecutionConfig


@dataclass(frozen=True)
class IcStatistics:
    """What a series of daily information coefficients says, its unknown values left out.

    Args:
        sessions: known values.
        mean: their mean.
        deviation: their standard deviation (n − 1).
        icir: mean over deviation, a session.
        t: mean over its Newey-West standard error.
        positive: share above 0.
    """

    sessions: int
    mean: float
    deviation: float
    icir: float
    t: float
    positive: float


def ic_statistics(ic_T: np.ndarray, *, lags: int) -> IcStatistics:
    """Mean, deviation, ratio, t and share of positive values of daily ICs.

    Args:
        ic_T: float (T,), NaN where unknown.
        lags: autocorrelations the standard error allows for. Labels over h sessions overlap for h − 1: at least these.

    References:
        R. Grinold, R. Kahn, Active Portfolio Management, 2nd ed., McGraw-Hill 2000, ch. 5-6.
    """
    known = ic_T[~np.isnan(ic_T)]
    return IcStatistics(
        sessions=known.size,
        mean=mean(known),
        deviation=float(known.std(ddof=1)) if known.size > 1 else float("nan"),
        icir=information_ratio(known),
        t=newey_west_t(known, lags=lags),
        positive=float((known > 0).mean()) if known.size else float("nan"),
    )


def newey_west_t(values_T: np.ndarray, *, lags: int) -> float:
    """Mean over its standard error under autocorrelation up to `lags`, by Bartlett weights 1 − j / (lags + 1).

    Args:
        values_T: float (T,), NaN left out as if the sessions around it were neighbours.
        lags: 0 is the ordinary t with n instead of n − 1.

    Returns:
        NaN with fewer than `lags` + 2 values or without variation.

    References:
        W. Newey, K. West, A Simple, Positive Semi-Definite, Heteroskedasticity and Autocorrelation Consistent
        Covariance Matrix, Econometrica 55(3), 1987.
    """
    from arch.covariance.kernel import Bartlett

    known = values_T[~np.isnan(values_T)]
    if known.size < lags + 2 or known.min() == known.max():
        return float("nan")
    long_run = Bartlett(known, bandwidth=lags).cov.long_run.item()
    return float(known.mean() / np.sqrt(long_run / known.size))


def ic_by_horizon(
    scores_TxN: np.ndarray, fill_returns_TxN: np.ndarray, *, horizons: int, execution: ExecutionConfig
) -> np.ndarray:
    """Each session's IC against the return from its fill over 1, 2, ... sessions.

    Args:
        scores_TxN: float (T, N), NaN where missing.
        fill_returns_TxN: float (T, N), log return from the previous row's fill price to this row's, NaN where missing.
        horizons: the longest horizon H (sessions).
        execution: fill lag; its own horizon does not matter here.

    Returns:
        float64 (T, H), column h − 1 over h sessions; NaN where not yet realised or undefined.

    Known at: row d, column h − 1 at the close of row d + fill lag + h.
    """
    columns = (
        information_coefficients(
            scores_TxN,
            realised_labels(fill_returns_TxN, execution=execution.model_copy(update={"horizon": horizon})),
        )
        for horizon in range(1, horizons + 1)
    )
    return np.stack(list(columns), axis=1)


def ic_decay(ic_TxH: np.ndarray) -> np.ndarray:
    """Mean IC by horizon, all horizons over the same sessions: those on which every one of them is known.

    Were each taken over all it has, the last horizons would be those of an older sample.

    Args:
        ic_TxH: float (T, H), from `ic_by_horizon`.

    Returns:
        float64 (H,), NaN without a session on which all are known.
    """
    common_T = np.isfinite(ic_TxH).all(axis=1)
    return ic_TxH[common_T].mean(axis=0) if common_T.any() else np.full(ic_TxH.shape[1], np.nan)
