"""Twenty large US stocks and the S&P 500 index, 1990-2022, from the data files of the installed skfolio wheel.

Closes only, adjusted for splits and dividends: open, high, low and volume stay null. The files are read as files;
importing the package that carries them would cost seconds.
"""

import gzip
import hashlib
from collections.abc import Sequence
from datetime import date
from importlib import metadata

import polars as pl

from gnn_assets.bars.fetched import FETCHED_COLUMNS, Fetched
from gnn_assets.core.errors import SourceError, UnknownSymbol

NAME_FOR_PEOPLE = "Sample: 20 S&P 500 stocks and the index, daily closes 1990-2022 (skfolio)"
BASIS = "split_div"
TERMS = (
    "These prices ship with skfolio for tests and worked examples only; do not use them commercially, "
    "and do not base any trade on them."
)

_PACKAGE = "skfolio"
_STOCKS = "sp500_dataset.csv.gz"
_INDEX = "sp500_index.csv.gz"
_INDEX_COLUMN = "SP500"
_INDEX_SYMBOL = "^GSPC"


def fetch(symbols: Sequence[str], *, first: date, last: date) -> Fetched:
    """Bars of the symbols from `first` to `last`, both included.

    Raises:
        UnknownSymbol: if the files do not hold a symbol.
        SourceError: if the package or its files are not installed.
    """
    payloads = [_payload(name) for name in (_STOCKS, _INDEX)]
    stocks, index = (pl.read_csv(gzip.decompress(payload)) for payload in payloads)
    closes = stocks.join(index.rename({_INDEX_COLUMN: _INDEX_SYMBOL}), on="Date", how="full", coalesce=True)
    known = sorted(set(closes.columns) - {"Date"})
    for symbol in symbols:
        if symbol not in known:
            raise UnknownSymbol.of(
                f"symbol {symbol!r}",
                expected=f"one the sample holds ({', '.join(known)})",
                was="none of them",
                do="edit the universe file",
            )
    bars = (
        closes.with_columns(pl.col("Date").str.to_date())
        .filter(pl.col("Date").is_between(first, last))
        .unpivot(on=list(symbols), index="Date", variable_name="symbol", value_name="close")
        .drop_nulls("close")
        .select(
            pl.col("Date").alias("session")
            if name == "session"
            else pl.col(name)
            if name in {"symbol", "close"}
            else pl.lit(None).alias(name)
            for name in FETCHED_COLUMNS
        )
        .cast(dict(FETCHED_COLUMNS))
        .sort("symbol", "session")
    )
    given = set(bars["symbol"].unique())
    return Fetched(
        bars=bars,
        failures={symbol: f"the sample has no bar from {first} to {last}" for symbol in symbols if symbol not in given},
        payload_hash=hashlib.sha256(b"".join(payloads)).hexdigest(),
    )


def _payload(name: str) -> bytes:
    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise _not_installed("nothing") from error
    for file in files:
        if file.name == name:
            return file.read_binary()
    raise _not_installed(f"a package without {name}")


def _not_installed(was: str) -> SourceError:
    return SourceError.of(
        "bars.source sample", expected=f"an installed {_PACKAGE}", was=was, do="run make setup, or name another source"
    )
