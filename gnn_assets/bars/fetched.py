"""What a source answers: bars as it told them, what it could not tell, and the fingerprint of its answer."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume")
FETCHED_COLUMNS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "symbol": pl.String,
    "session": pl.Date,
    **dict.fromkeys(VALUES, pl.Float64),
}


@dataclass(frozen=True)
class Fetched:
    """One answer of one source.

    Args:
        bars: `FETCHED_COLUMNS`; prices in the quote currency, volume in shares, null where the source has none.
        failures: symbol → why the source gave no bar for it.
        payload_hash: SHA-256 of the answer's bytes, before any parsing.
    """

    bars: pl.DataFrame
    failures: Mapping[str, str]
    payload_hash: str
