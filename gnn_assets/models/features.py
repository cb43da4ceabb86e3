"""Node features: what a symbol's own closes say at a session's close, set against the other symbols'.

Every value is made of the session's row and rows before it, and standardised across that session's symbols alone, so
no statistic of a later session can enter.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from gnn_assets.core.config import FeaturesConfig

# Spread below this share of the largest value is rounding, not information.
_ROUNDING = 1e-12


def feature_names(config: FeaturesConfig) -> tuple[str, ...]:
    """Names of the features, in the order of the last axis of `node_features`."""
    return (
        *(return_feature(window) for window in config.return_windows),
        f"volatility_{config.volatility_window}",
        f"below_high_{config.range_window}",
        f"above_low_{config.range_window}",
    )


def return_feature(window: int) -> str:
    """Name of the feature that holds the trailing return over `window` sessions."""
    return f"return_{window}"


def node_features(
    close_return_TxN: Float64[np.ndarray, "T N"], config: FeaturesConfig
) -> tuple[Float32[np.ndarray, "T N F"], Bool[np.ndarray, "T N"]]:
    """Standardised features, and which symbols have all of them.

    Trailing returns over each window; their volatility; how far the close stands below the trailing high and above
    the trailing low. A symbol with a gap inside the longest window has no features until the gap has passed.

    Args:
        close_return_TxN: float64 (T, N), log returns close to close; NaN where absent.
        config: windows in sessions, clip in cross-sectional deviations.

    Returns:
        float32 (T, N, F), 0 where masked out; bool (T, N), True where every feature is complete.

    Known at:
        Row d at the close of session d.
    """
    raw = (
        *(trailing_sum(close_return_TxN, window) for window in config.return_windows),
        trailing_volatility(close_return_TxN, config.volatility_window),
        *trailing_range(close_return_TxN, config.range_window),
    )
    mask_TxN = np.logical_and.reduce([np.isfinite(values) for values in raw])
    standard = [np.clip(standardise(values, mask_TxN), -config.clip, config.clip) for values in raw]
    return np.stack(standard, axis=-1).astype(np.float32), mask_TxN


def standardise(values_TxN: Float[np.ndarray, "T N"], mask_TxN: Bool[np.ndarray, "T N"]) -> Float64[np.ndarray, "T N"]:
    """Each row less its mean over its deviation, both over the masked-in symbols.

    Args:
        values_TxN: float (T, N); any value where masked out.
        mask_TxN: bool (T, N).

    Returns:
        float64 (T, N); 0 where masked out, and in a row whose values are all equal.
    """
    inside = np.where(mask_TxN, values_TxN, 0.0)
    count = np.maximum(mask_TxN.sum(axis=1, keepdims=True), 1)
    centred = np.where(mask_TxN, inside - inside.sum(axis=1, keepdims=True) / count, 0.0)
    deviation = np.sqrt(np.square(centred).sum(axis=1, keepdims=True) / count)
    spread = deviation > _ROUNDING * np.abs(inside).max(axis=1, keepdims=True, initial=0.0)
    return np.where(spread, centred / np.where(spread, deviation, 1.0), 0.0)


def trailing_sum(values_TxN: Float[np.ndarray, "T N"], window: int) -> Float[np.ndarray, "T N"]:
    """Sum of the last `window` rows, NaN unless all are there."""
    total = values_TxN.copy()
    for back in range(1, window):
        total += _earlier(values_TxN, back)
    return total


def trailing_volatility(values_TxN: Float[np.ndarray, "T N"], window: int) -> Float[np.ndarray, "T N"]:
    """Standard deviation of the last `window` rows, NaN unless all are there."""
    mean = trailing_sum(values_TxN, window) / window
    return np.sqrt(sum(np.square(_earlier(values_TxN, back) - mean) for back in range(window)) / window)


def trailing_range(
    values_TxN: Float[np.ndarray, "T N"], window: int
) -> tuple[Float[np.ndarray, "T N"], Float[np.ndarray, "T N"]]:
    """Log distance of the last price below the highest and above the lowest of the prices `window` returns span."""
    move = np.zeros_like(values_TxN)
    highest, lowest = move.copy(), move.copy()
    for back in range(window):
        # `move` is the log price today over the price `back + 1` sessions ago.
        move = move + _earlier(values_TxN, back)
        highest, lowest = np.maximum(highest, -move), np.minimum(lowest, -move)
    return highest, -lowest


def _earlier(values_TxN: Float[np.ndarray, "T N"], back: int) -> Float[np.ndarray, "T N"]:
    moved = np.full_like(values_TxN, np.nan)
    moved[back:] = values_TxN[: len(values_TxN) - back]
    return moved
