import gzip
import hashlib
import subprocess
import sys
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path

import pytest

from gnn_assets.bars.fetched import Access, Ask, Fetched
from gnn_assets.bars.sources import sample
from gnn_assets.bars.universe import read_universe
from gnn_assets.core.errors import NoData, SourceError, UnknownSymbol
from gnn_assets.core.sessions import Exchanges
from gnn_assets_tests.bars import market

FIRST, LAST = date(2010, 1, 4), date(2022, 12, 28)
SYMBOLS = tuple(read_universe("sp500_sample.yaml")["symbol"])


def fetched(*symbols: str, first: date = FIRST, last: date = LAST) -> Fetched:
    access = Access(
        config=market.config(),
        keys={},
        guard=lambda send: send(),
        exchanges=Exchanges(primary=market.calendar(), others={}),
        now=lambda: datetime(2022, 12, 29, tzinfo=UTC),
        home=Path(),
        scratch=Path(),
    )
    return sample.open_source(access).fetch(Ask(symbols, "XNYS", first, last))


def files():
    return {file.name: file.read_binary() for file in metadata.files("skfolio") or () if file.name.startswith("sp500_")}


def test_every_symbol_of_the_shipped_universe_has_a_close_on_every_session():
    answer = fetched(*SYMBOLS)
    assert answer.bars.group_by("symbol").len()["len"].to_list() == [3270] * 21
    assert answer.failures == {}
    assert (answer.bars["close"] > 0).all()
    assert answer.bars.select("open", "high", "low", "volume").null_count().row(0) == (answer.bars.height,) * 4


def test_closes_are_those_of_the_file_and_the_index_is_its_own_file():
    answer = fetched("^GSPC", "AAPL", first=LAST)
    rows = {name: gzip.decompress(data).decode().split() for name, data in files().items()}
    stocks = dict(
        zip(rows["sp500_dataset.csv.gz"][0].split(","), rows["sp500_dataset.csv.gz"][-1].split(","), strict=True)
    )
    assert answer.bars.select("symbol", "close").rows() == [
        ("AAPL", float(stocks["AAPL"])),
        ("^GSPC", float(rows["sp500_index.csv.gz"][-1].split(",")[1])),
    ]


def test_the_payload_hash_is_that_of_the_bytes_and_does_not_depend_on_what_was_asked():
    data = files()
    expected = hashlib.sha256(data["sp500_dataset.csv.gz"] + data["sp500_index.csv.gz"]).hexdigest()
    assert fetched("AAPL").payload_hash == expected
    assert fetched("KO", first=LAST).payload_hash == expected


def test_an_unknown_symbol_is_named_with_what_exists_and_the_fix_and_the_others_are_served():
    answer = fetched("AAPL", "TSLA", first=LAST)
    assert answer.bars["symbol"].to_list() == ["AAPL"]
    assert list(answer.failures) == ["TSLA"]
    with pytest.raises(UnknownSymbol, match=r"TSLA: expected one .*AAPL.*\^GSPC.*, was 'TSLA'; edit the universe file"):
        raise answer.failures["TSLA"]


def test_a_range_without_sessions_is_a_failure_of_each_symbol_with_its_reason():
    answer = fetched("AAPL", first=date(2023, 1, 1), last=date(2023, 1, 2))
    assert answer.bars.is_empty()
    with pytest.raises(NoData, match="AAPL: expected bars from 2023-01-01 to 2023-01-02, was none"):
        raise answer.failures["AAPL"]


def test_a_missing_package_or_file_is_one_sentence(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(SourceError, match="expected an installed skfolio, was nothing; run make setup"):
        fetched("AAPL")
    monkeypatch.setattr(metadata, "files", lambda _: None)
    with pytest.raises(SourceError, match=r"was a package without sp500_dataset\.csv\.gz"):
        fetched("AAPL")


def test_reading_the_files_never_imports_the_package_that_carries_them():
    code = (
        "import sys; from datetime import date;"
        "from gnn_assets.bars.fetched import Ask; from gnn_assets.bars.sources import sample;"
        "day = date(2022, 12, 28); sample.open_source(None).fetch(Ask(('AAPL',), 'XNYS', day, day));"
        "sys.exit('skfolio' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
