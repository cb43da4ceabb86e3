import gzip
import hashlib
import subprocess
import sys
from datetime import date
from importlib import metadata

import pytest

from gnn_assets.bars.sources import sample
from gnn_assets.bars.universe import read_universe
from gnn_assets.core.errors import SourceError, UnknownSymbol

FIRST, LAST = date(2010, 1, 4), date(2022, 12, 28)
SYMBOLS = tuple(read_universe("sp500_sample.yaml")["symbol"])


def files():
    return {file.name: file.read_binary() for file in metadata.files("skfolio") or () if file.name.startswith("sp500_")}


def test_every_symbol_of_the_shipped_universe_has_a_close_on_every_session():
    fetched = sample.fetch(SYMBOLS, first=FIRST, last=LAST)
    assert fetched.bars.group_by("symbol").len()["len"].to_list() == [3270] * 21
    assert fetched.failures == {}
    assert (fetched.bars["close"] > 0).all()
    assert fetched.bars.select("open", "high", "low", "volume").null_count().row(0) == (fetched.bars.height,) * 4


def test_closes_are_those_of_the_file_and_the_index_is_its_own_file():
    fetched = sample.fetch(["^GSPC", "AAPL"], first=LAST, last=LAST)
    rows = {name: gzip.decompress(data).decode().split() for name, data in files().items()}
    stocks = dict(
        zip(rows["sp500_dataset.csv.gz"][0].split(","), rows["sp500_dataset.csv.gz"][-1].split(","), strict=True)
    )
    assert fetched.bars.select("symbol", "close").rows() == [
        ("AAPL", float(stocks["AAPL"])),
        ("^GSPC", float(rows["sp500_index.csv.gz"][-1].split(",")[1])),
    ]


def test_the_payload_hash_is_that_of_the_bytes_and_does_not_depend_on_what_was_asked():
    data = files()
    expected = hashlib.sha256(data["sp500_dataset.csv.gz"] + data["sp500_index.csv.gz"]).hexdigest()
    assert sample.fetch(["AAPL"], first=FIRST, last=LAST).payload_hash == expected
    assert sample.fetch(["KO"], first=LAST, last=LAST).payload_hash == expected


def test_an_unknown_symbol_is_named_with_what_exists_and_the_fix():
    with pytest.raises(UnknownSymbol, match=r"symbol 'TSLA': expected one .*AAPL.*\^GSPC.*; edit the universe file"):
        sample.fetch(["AAPL", "TSLA"], first=FIRST, last=LAST)


def test_a_range_without_sessions_is_a_failure_of_each_symbol_with_its_reason():
    fetched = sample.fetch(["AAPL"], first=date(2023, 1, 1), last=date(2023, 1, 2))
    assert fetched.bars.is_empty()
    assert fetched.failures == {"AAPL": "the sample has no bar from 2023-01-01 to 2023-01-02"}


def test_a_missing_package_or_file_is_one_sentence(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(SourceError, match="expected an installed skfolio, was nothing; run make setup"):
        sample.fetch(["AAPL"], first=FIRST, last=LAST)
    monkeypatch.setattr(metadata, "files", lambda _: None)
    with pytest.raises(SourceError, match=r"was a package without sp500_dataset\.csv\.gz"):
        sample.fetch(["AAPL"], first=FIRST, last=LAST)


def test_reading_the_files_never_imports_the_package_that_carries_them():
    code = (
        "import sys; from datetime import date; from gnn_assets.bars.sources import sample;"
        "sample.fetch(['AAPL'], first=date(2022, 12, 1), last=date(2022, 12, 28));"
        "sys.exit('skfolio' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
