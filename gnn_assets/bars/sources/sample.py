"""Twenty large US stocks and the S&P 500 index, 1990-2022, from the data files of the installed skfolio wheel.

Closes only, adjusted for splits and dividends: open, high, low and volume stay null. The files are read as files;
importing the package that carries them would cost seconds.
"""

import gzip
import hashlib
from dataclasses import dataclass
from importlib import metadata

import polars as pl

from gnn_assets.bars.fetched import FETCHED_COLUMNS, Access, Ask, Fetched
from gnn_assets.bars.universe import check_symbol
from gnn_assets.core.errors import NoData, SourceError, UnknownSymbol

NAME_FOR_PEOPLE = "Sample: 20 S&P 500 stocks and the index, daily closes 1990-2022 (skfolio)"
TERMS = (
    "These prices ship with skfolio for tests and worked examples only; do not use them commercially, "
    "and do not base any trade on them."
)
KEYS = ()
SIMULATED = False

_PACKAGE = "skfolio"
_STOCKS = "sp500_dataset.csv.gz"
_INDEX = "sp500_index.csv.gz"
_INDEX_COLUMN = "SP500"
_INDEX_SYMBOL = "^GSPC"


@dataclass(frozen=True)
class _Sample:
    @property
    def basis(self) -> str:
        return "split_div"

    def symbols_per_ask(self, ask: Ask) -> int:
        # The files are read whole, whoever is asked for.
        return max(len(ask.symbols), 1)

    def fetch(self, ask: Ask) -> Fetched:
        for symbol in ask.symbols:
            check_symbol(symbol)
        payloads = [_payload(name) for name in (_STOCKS, _INDEX)]
        stocks, index = (pl.read_csv(gzip.decompress(payload)) for payload in payloads)
        closes = stocks.join(index.rename({_INDEX_COLUMN: _INDEX_SYMBOL}), on="Date", how="full", coalesce=True)
        known = sorted(set(closes.columns) - {"Date"})
        told = (
            closes.with_columns(session=pl.col("Date").str.to_date())
            .filter(pl.col("session").is_between(ask.first, ask.last))
            .unpivot(
                on=[symbol for symbol in ask.symbols if symbol in known],
                index="session",
                variable_name="symbol",
                value_name="close",
            )
            .drop_nulls("close")
        )
        bars = (
            pl.concat([pl.DataFrame(schema=dict(FETCHED_COLUMNS)), told], how="diagonal_relaxed")
            .cast(dict(FETCHED_COLUMNS))
            .sort("symbol", "session")
        )
        given = set(bars["symbol"].unique())
        return Fetched(
            bars=bars,
            failures={symbol: _no_bars(symbol, ask, known) for symbol in ask.symbols if symbol not in given},
            payload_hash=hashlib.sha256(b"".join(payloads)).hexdigest(),
        )


def open_source(access: Access) -> _Sample:  # noqa: ARG001
    """The sample; it needs nothing."""
    return _Sample()


def _no_bars(symbol: str, ask: Ask, known: list[str]) -> SourceError:
    subject, remedy = f"sample, asked for {symbol}", "edit the universe file"
    if symbol in known:
        return NoData.of(subject, expected=f"bars from {ask.first} to {ask.last}", was="none", do=remedy)
    wanted = f"one of the symbols it holds ({', '.join(known)})"
    return UnknownSymbol.of(subject, expected=wanted, was=repr(symbol), do=remedy)


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
        "source sample", expected=f"an installed {_PACKAGE}", was=was, do="run make setup, or name another source"
    )
