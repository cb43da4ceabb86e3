"""What of a bar is believed where features are made of it; labels take closes and opens as they are found."""

import numpy as np
from jaxtyping import Bool, Float64

# Between two closes, or inside a bar, a larger factor than this is a mistake or a split nobody adjusted for.
LARGEST_JUMP = np.log(3.0)
# Adjusted prices carry the rounding of their factor: a close this share above the high still lies within it.
_ROUNDING = 1e-6
_Panel = Float64[np.ndarray, "T N"]


def believed(found: dict[str, _Panel]) -> dict[str, _Panel]:
    """Bars without what contradicts itself.

    Args:
        found: field → float64 (T, N), prices above 0 and volumes of 0 or more, NaN where absent; closes must be there.

    Returns:
        The same fields. Absent are: an open, high or low further from the close than a factor of 3; a high and low
        that do not hold open and close between them; all but the close, and a volume of 0, of a bar that repeats the
        close of the session before without any volume, or all of its fields.

    Known at:
        Row d at the close of session d.
    """
    close_TxN = found["close"]
    nothing_TxN = np.full(close_TxN.shape, np.nan)
    values = dict(found)
    for name in {"open", "high", "low"} & found.keys():
        far_TxN = np.abs(np.log(found[name] / close_TxN)) > LARGEST_JUMP
        values[name] = np.where(far_TxN, np.nan, found[name])
    open_TxN, high_TxN, low_TxN = (values.get(name, nothing_TxN) for name in ("open", "high", "low"))
    # fmax and fmin pass over an absent open.
    above_TxN = np.fmax(open_TxN, close_TxN) > high_TxN * (1 + _ROUNDING)
    below_TxN = np.fmin(open_TxN, close_TxN) < low_TxN * (1 - _ROUNDING)
    for name in {"high", "low"} & values.keys():
        values[name] = np.where(above_TxN | below_TxN, np.nan, values[name])
    repeated_TxN = _repeated(found)
    for name in values.keys() - {"close"}:
        # A session without trade is one: its volume of 0 stays.
        values[name] = np.where(repeated_TxN & (values[name] != 0), np.nan, values[name])
    return values


def _repeated(found: dict[str, _Panel]) -> Bool[np.ndarray, "T N"]:
    """Bars with the close of the session before and no volume, or with all of its fields."""
    same = {name: np.zeros(values_TxN.shape, dtype=bool) for name, values_TxN in found.items()}
    for name, values_TxN in found.items():
        same[name][1:] = values_TxN[1:] == values_TxN[:-1]
    idle_TxN = found["volume"] == 0 if "volume" in found else np.zeros(found["close"].shape, dtype=bool)
    copied_TxN = np.logical_and.reduce(list(same.values()))
    return same["close"] & (idle_TxN | copied_TxN)
