import errno
import hashlib
import math
import random
import shutil
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gnn_assets.bars.fetched import FETCHED_COLUMNS, Access, Ask, Fetched, Source
from gnn_assets.bars.foreign import readable
from gnn_assets.bars.sources import files
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import AccessRefused, ConfigError, Malformed, NoData, SourceError, UnknownSymbol, Upstream
from gnn_assets.core.sessions import Exchanges
from gnn_assets_tests.bars import market

REAL = Path(__file__).parents[3] / "shared/data/nasdaq_bars.parquet"
DATES = market.sessions(5)
BARS = market.bars(
    {"AAPL": [10.0, 11.0, 12.0, 13.0, 14.0], "BRK-B": [20.0, 21.0, 22.0, 23.0, 24.0]},
    dates=DATES,
    open=9.5,
    high=30.0,
    low=0.0,
    volume=0.0,
)
HEADER = "symbol,session,open,high,low,close,volume\n"


def opened(folder: Path, *, pattern: str = "*.parquet", **section: Any) -> Source:
    access = Access(
        config=build_config("test", {"sources": {"files": {"folder": folder.name, "pattern": pattern, **section}}}),
        keys={},
        guard=lambda send: send(),
        exchanges=Exchanges(primary=market.calendar(), others={}),
        now=lambda: datetime(2022, 6, 1, tzinfo=UTC),
        home=folder.parent,
        scratch=folder,
    )
    return files.open_source(access)


def fetched(folder: Path, *symbols: str, first: date = DATES[0], last: date = DATES[-1], **section: Any) -> Fetched:
    return opened(folder, **section).fetch(Ask(symbols or ("AAPL", "BRK-B"), "XNYS", first, last))


def csv(folder: Path, *lines: str, header: str = HEADER, **section: Any) -> Fetched:
    (folder / "bars.csv").write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return fetched(folder, "AAPL", pattern="*.csv", **section)


def parquet(folder: Path, *symbols: str, columns: Mapping[str, Any] | None = None, **section: Any) -> Fetched:
    BARS.with_columns(**(columns or {})).write_parquet(folder / "bars.parquet")
    return fetched(folder, *symbols, **section)


# What is told.


def test_both_formats_tell_the_same_bars_and_zeros_stay_zeros(tmp_path):
    BARS.write_parquet(tmp_path / "bars.parquet")
    BARS.write_csv(tmp_path / "bars.csv")
    told = [fetched(tmp_path, pattern=pattern) for pattern in ("*.parquet", "*.csv")]
    assert all(answer.bars.equals(BARS) for answer in told)
    assert all(answer.failures == {} for answer in told)


def test_columns_are_mapped_and_those_left_empty_are_null(tmp_path):
    header = "Ticker,Date,Adj Close,junk\n"
    columns = {"symbol": "Ticker", "session": "Date", "close": "Adj Close"}
    lacking = dict.fromkeys(("open", "high", "low", "volume"))
    answer = csv(tmp_path, "AAPL,2022-01-03, 1.5 ,x", header=header, columns={**columns, **lacking})
    assert answer.bars.rows() == [("AAPL", DATES[0], None, None, None, 1.5, None)]


def test_odd_values_are_told_as_they_stand_and_doubled_rows_and_saturdays_stay(tmp_path):
    lines = ("AAPL,2022-01-03,NaN,inf,-3,,0", "AAPL,2022-01-03,1e2,2,3,4,5", "AAPL,2022-01-08,1,1,1,1,1")
    first, double, saturday = csv(tmp_path, *lines, last=date(2022, 1, 9)).bars.rows()
    assert math.isnan(first[2])
    assert first[3:] == (float("inf"), -3.0, None, 0.0)
    assert double == ("AAPL", DATES[0], 100.0, 2.0, 3.0, 4.0, 5.0)
    assert saturday[1] == date(2022, 1, 8)


@pytest.mark.parametrize(
    "kind", [pl.Decimal(9, 4), pl.Int32, pl.Float32, pl.String, pl.UInt64, pl.Categorical], ids=str
)
def test_numbers_come_in_any_type(tmp_path, kind):
    text = pl.col("close").cast(pl.Int64).cast(pl.String)
    close = text.cast(kind) if kind in {pl.String, pl.Categorical} else pl.col("close").cast(kind)
    assert parquet(tmp_path, columns={"close": close}).bars.equals(BARS)


def test_decimals_keep_every_digit(tmp_path):
    close = pl.lit(Decimal("12.3456"))
    assert set(parquet(tmp_path, columns={"close": close}).bars["close"]) == {12.3456}


def test_symbols_may_be_categories_or_integers(tmp_path):
    assert parquet(tmp_path, columns={"symbol": pl.col("symbol").cast(pl.Categorical)}).bars.equals(BARS)
    assert set(parquet(tmp_path, "600519", columns={"symbol": pl.lit(600519)}).bars["symbol"]) == {"600519"}


def test_a_symbol_that_looks_like_another_type_in_csv_stays_text(tmp_path):
    (tmp_path / "bars.csv").write_text(HEADER + "005930.KS,2022-01-03,1,1,1,1,1\nTRUE,2022-01-03,1,1,1,1,1\n")
    answer = fetched(tmp_path, "005930.KS", "TRUE", pattern="*.csv")
    assert answer.bars["symbol"].to_list() == ["005930.KS", "TRUE"]


def test_a_file_each_symbol_is_told_by_its_name(tmp_path):
    for symbol in ("AAPL", "BRK-B"):
        BARS.filter(symbol=symbol).drop("symbol").write_parquet(tmp_path / f"{symbol}.parquet")
    columns = {"symbol": None}
    answer = fetched(tmp_path, "AAPL", "BRK-B", "MSFT", columns=columns)
    assert answer.bars.equals(BARS)
    assert isinstance(answer.failures["MSFT"], UnknownSymbol)
    late = fetched(tmp_path, "AAPL", first=date(2030, 1, 1), last=date(2030, 1, 2), columns=columns)
    assert isinstance(late.failures["AAPL"], NoData)


def test_splits_and_dividends_beside_the_bars_become_actions_where_they_are_any(tmp_path):
    columns = {"split": "split", "dividend": "dividend"}
    header = HEADER.strip() + ",split,dividend\n"
    answer = csv(
        tmp_path,
        "AAPL,2022-01-03,1,1,1,1,1,1,0",
        "AAPL,2022-01-04,1,1,1,1,1,0,",
        "AAPL,2022-01-05,1,1,1,1,1,2,0.5",
        "AAPL,2022-01-05,1,1,1,1,1,2,0.5",
        "AAPL,2022-01-06,1,1,1,1,1,NaN,NaN",
        header=header,
        columns=columns,
    )
    assert answer.actions.rows() == [("AAPL", DATES[2], "split", 2.0), ("AAPL", DATES[2], "dividend", 0.5)]
    assert answer.bars.height == 5


def test_the_range_is_kept_and_what_lies_beyond_is_a_reason(tmp_path):
    BARS.write_parquet(tmp_path / "bars.parquet")
    part = fetched(tmp_path, first=DATES[1], last=DATES[2])
    assert part.bars.equals(BARS.filter(pl.col("session").is_between(DATES[1], DATES[2])))
    none = fetched(tmp_path, "AAPL", "MSFT", first=date(2030, 1, 1), last=date(2030, 1, 2))
    assert {symbol: type(reason) for symbol, reason in none.failures.items()} == {
        "AAPL": NoData,
        "MSFT": UnknownSymbol,
    }


def test_the_hash_is_that_of_all_bytes_in_the_order_of_names(tmp_path):
    for name, symbol in (("b", "AAPL"), ("a", "BRK-B")):
        BARS.filter(symbol=symbol).write_parquet(tmp_path / f"{name}.parquet")
    content = (tmp_path / "a.parquet").read_bytes() + (tmp_path / "b.parquet").read_bytes()
    source = opened(tmp_path)
    ask = Ask(("AAPL",), "XNYS", DATES[0], DATES[-1])
    assert source.fetch(ask).payload_hash == hashlib.sha256(content).hexdigest()
    (tmp_path / "a.parquet").unlink()
    content = (tmp_path / "b.parquet").read_bytes()
    assert source.fetch(ask).payload_hash == hashlib.sha256(content).hexdigest()


def test_hostile_names_in_a_file_are_simply_not_asked_for(tmp_path):
    answer = csv(tmp_path, "../../etc/passwd,2022-01-03,x,x,x,x,x", "AAPL,2022-01-03,1,1,1,1,1")
    assert answer.bars["symbol"].to_list() == ["AAPL"]


def test_a_long_range_takes_fewer_symbols_an_ask(tmp_path):
    source = opened(tmp_path)
    assert source.symbols_per_ask(Ask(("AAPL",), "XNYS", DATES[0], DATES[0])) == 1_000_000
    assert source.symbols_per_ask(Ask(("AAPL",), "XNYS", DATES[0], DATES[-1])) == 200_000


# Dates and moments.


@pytest.mark.parametrize(
    ("told", "zone", "session"),
    [
        ("2022-01-03", None, date(2022, 1, 3)),
        ("2022-01-03", "Asia/Tokyo", date(2022, 1, 3)),
        ("2022-01-03 23:59:59", "America/New_York", date(2022, 1, 3)),
        ("2022-01-04T02:00:00Z", "America/New_York", date(2022, 1, 3)),
        ("2022-01-03 00:00:00-05:00", "America/New_York", date(2022, 1, 3)),
        ("2022-01-03T16:00:00.000+0000", "Asia/Tokyo", date(2022, 1, 4)),
    ],
)
def test_text_is_a_date_of_the_zone(tmp_path, told, zone, session):
    answer = csv(tmp_path, f"AAPL,{told},1,1,1,1,1", timezone=zone)
    assert answer.bars["session"].to_list() == [session]


def test_moments_are_dates_of_the_zone_and_naive_ones_are_local_there(tmp_path):
    midnight = pl.col("session").cast(pl.Datetime("us"))
    # Midnight in Tokyo is the day before in UTC.
    aware = midnight.dt.replace_time_zone("Asia/Tokyo").dt.convert_time_zone("UTC")
    for told in (midnight, midnight.cast(pl.Datetime("ns")), aware):
        assert parquet(tmp_path, columns={"session": told}, timezone="Asia/Tokyo").bars.equals(BARS)


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_moments_without_a_zone_are_refused_with_the_fix(tmp_path, zone):
    told = pl.col("session").cast(pl.Datetime("us", zone))
    with pytest.raises(Malformed, match=r"bars\.parquet, column 'session'.*moments.*set sources\.files\.timezone"):
        parquet(tmp_path, columns={"session": told})
    with pytest.raises(Malformed, match=r"bars\.csv, column 'session'.*the moment '2022-01-03 00.*files\.timezone"):
        csv(tmp_path, "AAPL,2022-01-03 00:00:00,1,1,1,1,1")


@pytest.mark.parametrize("told", ["03/01/2022", "2022-13-01", "2022-1-3", "20220103", "yesterday"])
def test_a_date_that_is_none_is_named_with_file_column_and_value(tmp_path, told):
    with pytest.raises(Malformed, match=rf"bars\.csv, column 'session'.*was '{told}'; correct the file"):
        csv(tmp_path, f"AAPL,{told},1,1,1,1,1")


def test_a_row_without_a_date_is_not_passed_over(tmp_path):
    with pytest.raises(Malformed, match="column 'session': expected a date such as 2020-01-02, was "):
        csv(tmp_path, "AAPL,,1,1,1,1,1")
    with pytest.raises(Malformed, match="was nothing"):
        parquet(tmp_path, columns={"session": pl.lit(None, pl.Date)})


# What cannot be read.


def test_a_number_that_is_none_is_named(tmp_path):
    with pytest.raises(Malformed, match=r"bars\.csv, column 'close': expected a number, was '1,234'; correct the file"):
        csv(tmp_path, 'AAPL,2022-01-03,1,1,1,"1,234",1')


@pytest.mark.parametrize("column", ["close", "session"])
def test_a_column_of_another_type_is_named(tmp_path, column):
    with pytest.raises(Malformed, match=rf"bars\.parquet, column '{column}': expected .*, was Boolean; convert"):
        parquet(tmp_path, columns={column: pl.lit(value=True)})


def test_a_missing_column_is_named_with_those_there_are(tmp_path):
    for header in ("symbol,session,open,high,low,Close,volume\n", "symbol,session,close,close\n", ""):
        with pytest.raises(Malformed, match=r"bars\.csv: expected one column '\w+', was [02] of them among"):
            csv(tmp_path, header=header)
    BARS.drop("close").write_parquet(tmp_path / "bars.parquet")
    with pytest.raises(Malformed, match=r"bars\.parquet: expected one column 'close', was 0 of them among symbol"):
        fetched(tmp_path)


@pytest.mark.parametrize("line", ["AAPL,2022-01-04,1,1,1,1", "AAPL,2022-01-04,1,1,1,1,1,1", "MSFT,2022-01-04"])
def test_a_row_with_too_few_or_too_many_fields_is_refused(tmp_path, line):
    with pytest.raises(Malformed, match=r"bars\.csv: is broken .*Expected 7 columns, got"):
        csv(tmp_path, "AAPL,2022-01-03,1,1,1,1,1", line, "AAPL,2022-01-05,1,1,1,1,1")


def test_a_quote_that_swallows_rows_is_refused(tmp_path):
    with pytest.raises(Malformed, match="a quote is opened and not closed"):
        csv(tmp_path, 'MSFT,2022-01-03,1,1,1,1,"1', "AAPL,2022-01-04,1,1,1,1,1")


def test_broken_bytes_are_refused(tmp_path):
    BARS.write_parquet(tmp_path / "good.pq")
    good = (tmp_path / "good.pq").read_bytes()
    for content in (b"", good[: len(good) // 2], b"no parquet at all " * 10, good[:-8] + b"\0" * 8):
        (tmp_path / "bars.parquet").write_bytes(content)
        with pytest.raises(Malformed, match=r"bars\.parquet: is broken"):
            fetched(tmp_path)
    for content in (b"", HEADER.encode() + b"AAPL,2022-01-03,\xff\xfe,1,1,1,1\n", b"\xff\xfe\x00" * 20):
        (tmp_path / "bars.csv").write_bytes(content)
        with pytest.raises(Malformed, match=r"bars\.csv: "):
            fetched(tmp_path, pattern="*.csv")


def test_no_folder_no_file_and_no_format_are_told_apart(tmp_path):
    with pytest.raises(Upstream, match="was no such folder"):
        fetched(tmp_path / "absent")
    with pytest.raises(Upstream, match=r"expected at least one named like \*\.parquet, was none"):
        fetched(tmp_path)
    (tmp_path / "README.md").write_text("?")
    with pytest.raises(Malformed, match=r"README\.md.*narrow sources\.files\.pattern"):
        fetched(tmp_path, pattern="*")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (PermissionError(errno.EACCES, "denied"), AccessRefused),
        (OSError(errno.EIO, "input/output error"), Upstream),
        (OSError("Unexpected end of stream"), Malformed),
        (pl.exceptions.PanicException("index out of bounds"), Malformed),
    ],
    ids=lambda case: getattr(case, "__name__", None),
)
def test_a_fault_of_the_system_is_told_from_one_of_the_file(fault, error):
    with pytest.raises(error, match=r"^files, bars\.csv: ") as raised, readable("bars.csv"):
        raise fault
    assert raised.value.__cause__ is fault


def test_a_file_that_changes_while_it_is_read_is_asked_for_again(tmp_path, monkeypatch):
    BARS.write_parquet(tmp_path / "bars.parquet")
    read = files.pieces

    def replaced(path, *arguments, **named):
        yield from read(path, *arguments, **named)
        shutil.copy(path, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    monkeypatch.setattr(files, "pieces", replaced)
    with pytest.raises(Upstream, match="were changed while they were read"):
        fetched(tmp_path)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"columns": {"adjusted": "x"}}, r"sources\.files\.columns\.adjusted: no such setting"),
        ({"columns": {"session": None}}, r"sources\.files\.columns\.session: Input should be a valid string"),
        ({"pattern": "/etc/*"}, r"sources\.files\.pattern"),
        ({"pattern": ""}, r"sources\.files\.pattern"),
        ({"timezone": "Mars/Olympus"}, r"sources\.files\.timezone: expected an IANA name"),
        ({"timezone": "../../etc/passwd"}, r"sources\.files\.timezone: expected an IANA name"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_when_it_is_opened(tmp_path, section, told):
    with pytest.raises(ConfigError, match=told):
        opened(tmp_path, **section)


def broken(good: bytes, seed: int) -> bytes:
    """The bytes after some bit flips, cuts and insertions."""
    chance, content = random.Random(seed), bytearray(good)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(content) + 1)
        change = chance.randrange(4)
        if change == 0 and at < len(content):
            content[at] ^= 1 << chance.randrange(8)
        elif change == 1:
            del content[at : at + chance.randrange(1, 40)]
        elif change == 2:
            content[at:at] = chance.choice((b'"', b"\n", b"\r", b",", b"\0", b"\xff", b"NaN", b"-"))
        elif change == 3:
            del content[at:]
    return bytes(content)


def fuzz(folder: Path, suffix: str, seeds: range) -> None:
    path = folder / f"bars.{suffix}"
    (BARS.write_csv if suffix == "csv" else BARS.write_parquet)(path)
    good, source = path.read_bytes(), opened(folder, pattern=f"*.{suffix}")
    refused = 0
    for seed in seeds:
        path.write_bytes(broken(good, seed))
        try:
            answer = source.fetch(Ask(("AAPL", "BRK-B"), "XNYS", DATES[0], DATES[-1]))
        except SourceError:
            refused += 1
        else:
            assert dict(answer.bars.schema) == dict(FETCHED_COLUMNS), seed
            assert answer.bars["session"].is_between(DATES[0], DATES[-1]).all(), seed
    assert refused > len(seeds) / 2


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_damaged_files_raise_typed_errors_only(tmp_path, suffix):
    fuzz(tmp_path, suffix, range(200))


@pytest.mark.drill
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_million_damaged_files_raise_typed_errors_only(tmp_path, suffix):
    fuzz(tmp_path, suffix, range(1_000, 501_000))


# The real dirty file.


@pytest.mark.slow
def test_the_real_dirty_file_is_told_exactly_as_it_is():
    if not REAL.exists():
        pytest.skip("shared/data/nasdaq_bars.parquet is not beside the project")
    real = pl.read_parquet(REAL)
    symbols = tuple(real["symbol"].unique().sort())
    answer = opened(REAL.parent, pattern=REAL.name).fetch(Ask(symbols, "XNYS", date(2012, 1, 1), date(2018, 1, 1)))
    assert answer.bars.height == 1_423_565
    assert answer.bars["symbol"].n_unique() == len(symbols) == 1026
    assert answer.failures == {}
    assert answer.actions.is_empty()
    assert answer.bars.equals(real.cast(dict(FETCHED_COLUMNS)))
    zeros = answer.bars.select((pl.col("open", "high", "low", "close", "volume") == 0).sum()).row(0)
    assert zeros == real.select((pl.col("open", "high", "low", "close", "volume") == 0).sum()).row(0)
    assert zeros[0] > 0
    assert answer.payload_hash == hashlib.sha256(REAL.read_bytes()).hexdigest()
