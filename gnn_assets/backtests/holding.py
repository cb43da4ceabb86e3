"""What becomes of a portfolio while nobody trades."""

import numpy as np


def held(weights_N: np.ndarray, returns_SxN: np.ndarray) -> tuple[float, np.ndarray]:
    """What weights earn over some sessions, and what they have become by the end.

    Args:
        weights_N: float64 (N,), shares of the portfolio's value at the beginning; the rest is cash and earns nothing.
        returns_SxN: float (S, N), log returns of the sessions; NaN, a name without a price keeps its last value.

    Returns:
        The simple return of the portfolio, and float64 (N,), shares of its value at the end: all 0 once everything
        is lost.
    """
    ends_N = weights_N * np.exp(np.nan_to_num(returns_SxN).sum(axis=0))
    gain = float((ends_N - weights_N).sum())
    return max(gain, -1.0), ends_N / (1.0 + gain) if gain > -1.0 else np.zeros(len(weights_N))
