"""What every series of returns is told by: its last values one by one, and its sums over trailing windows."""

import numpy as np
from jaxtyping import Float64

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.models.features.trailing import lagged, trailing_sum

Named = dict[str, Float64[np.ndarray, "T N"]]


def lags(name: str, values_TxN: Float64[np.ndarray, "T N"], count: int) -> Named:
    """``name_lag0`` to ``name_lag(count)``: the value so many sessions back."""
    return {f"{name}_lag{back}": lagged(values_TxN, back) for back in range(count + 1)}


def sums(name: str, values_TxN: Float64[np.ndarray, "T N"], config: FeaturesConfig) -> Named:
    """``name_sum(w)``: the sum over the last w sessions, for each configured window."""
    return {
        f"{name}_sum{window}": trailing_sum(values_TxN, window, min_share=config.min_share) for window in config.windows
    }
