from datetime import date
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.schema import UNIVERSE
from gnn_assets.bars.universe import check_symbol, read_universe, symbols_of, until_sold, within_membership
from gnn_assets.core.errors import BadSymbol, UniverseError
from gnn_assets_tests.bars.market import exchanges

GOOD: dict[str, Any] = {
    "survivor_only": False,
    "from_session": "2020-01-02",
    "exchange": "XNYS",
    "symbols": [{"symbol": symbol, "tier": "core", "sector": "Energy"} for symbol in ("XOM", "CVX", "RRC")],
}


def changed(index=0, **fields):
    members = [dict(member) for member in GOOD["symbols"]]
    members[index].update(fields)
    return {**GOOD, "symbols": members}


@pytest.fixture
def read(tmp_path):
    def reader(content):
        path = tmp_path / "mine.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return read_universe(str(path))

    return reader


def test_the_shipped_universe_holds_twenty_core_stocks_and_the_index_as_context():
    universe = read_universe("sp500_sample.yaml")
    assert universe.schema == UNIVERSE.empty().schema
    assert len(symbols_of(universe, "core")) == 20
    assert symbols_of(universe, "context") == ("^GSPC",)
    assert universe["survivor_only"].all()
    gics = {
        "Communication Services", "Consumer Discretionary", "Consumer Staples", "Energy", "Financials", "Health Care",
        "Industrials", "Information Technology", "Materials", "Real Estate", "Utilities",
    }  # fmt: skip
    assert set(universe.filter(pl.col("tier") == "core")["sector"]) <= gics


def test_a_path_is_read_and_rows_are_sorted_by_symbol(read):
    universe = read(GOOD)
    assert universe["symbol"].to_list() == ["CVX", "RRC", "XOM"]
    assert universe["to_session"].null_count() == 3


def test_a_symbol_may_leave_and_come_back(read):
    members = [
        {"symbol": "XOM", "tier": "core", "sector": "Energy", "to_session": "2020-06-30"},
        {"symbol": "XOM", "tier": "core", "sector": "Energy", "from_session": "2021-01-04"},
        {"symbol": "CVX", "tier": "core", "sector": "Energy"},
    ]
    universe = read({**GOOD, "symbols": members})
    assert universe.height == 3
    assert symbols_of(universe, "core") == ("CVX", "XOM")


def test_a_symbol_takes_the_files_exchange_unless_it_names_its_own(read):
    universe = read(changed(1, exchange="XLON"))
    assert dict(universe.select("symbol", "exchange").iter_rows()) == {"CVX": "XLON", "RRC": "XNYS", "XOM": "XNYS"}


def test_every_exchange_must_be_configured(read, tmp_path):
    (tmp_path / "london.yaml").write_text(yaml.safe_dump(changed(1, exchange="XLON")), encoding="utf-8")
    assert read_universe(str(tmp_path / "london.yaml"), exchanges=("XNYS", "XLON")).height == 3
    with pytest.raises(
        UniverseError,
        match=r"exchange of CVX: expected one of XNYS, XTKS, was XLON; correct it, or add it to calendar\.others\.$",
    ):
        read_universe(str(tmp_path / "london.yaml"), exchanges=("XNYS", "XTKS"))


def test_a_symbol_trades_on_one_exchange_in_all_its_memberships(read):
    members = [
        {"symbol": "XOM", "tier": "core", "sector": "Energy", "to_session": "2020-06-30"},
        {"symbol": "XOM", "tier": "core", "sector": "Energy", "from_session": "2021-01-04", "exchange": "XLON"},
        {"symbol": "CVX", "tier": "core", "sector": "Energy"},
    ]
    with pytest.raises(
        UniverseError, match="exchange of XOM: expected the same in all its memberships, was XLON and XN"
    ):
        read({**GOOD, "symbols": members})


def test_priority_is_the_place_in_the_file(read):
    assert dict(read(GOOD).select("symbol", "priority").iter_rows()) == {"XOM": 0, "CVX": 1, "RRC": 2}


def test_a_membership_without_a_date_counts_as_chosen_with_hindsight_unless_the_file_says_otherwise(read):
    dated = changed(1, from_session="2021-01-04")
    silent = {name: value for name, value in dated.items() if name != "survivor_only"}

    def badge(content):
        return dict(read(content).select("symbol", "survivor_only").iter_rows())

    assert badge(silent) == {"XOM": True, "CVX": False, "RRC": True}
    assert badge({**dated, "survivor_only": False}) == {"XOM": False, "CVX": False, "RRC": False}
    assert badge({**dated, "survivor_only": True}) == {"XOM": True, "CVX": True, "RRC": True}


def test_rows_outside_a_membership_are_left_out_both_ends_belonging_to_it(read):
    universe = read(changed(0, from_session="2020-01-03", to_session="2020-01-07"))
    days = pl.date_range(date(2020, 1, 2), date(2020, 1, 8), eager=True).alias("session")
    kept = within_membership(days.to_frame().with_columns(symbol=pl.lit("XOM")), universe)["session"].to_list()
    assert kept == [date(2020, 1, day) for day in (3, 4, 5, 6, 7)]


def test_a_name_that_left_is_followed_for_some_sessions_and_until_it_rejoins_at_most(read):
    universe = pl.concat(
        [
            read(changed(0, from_session="2022-01-05", to_session="2022-01-14")),  # a Friday before a holiday
            read(changed(0, from_session="2022-01-21")).filter(pl.col("symbol") == "XOM"),
        ]
    )

    def ends(sessions):
        rows = until_sold(universe, exchanges=exchanges(), sessions=sessions)
        return rows.filter(pl.col("symbol") == "XOM")["to_session"].to_list()

    assert ends(2) == [date(2022, 1, 19), None]
    assert ends(60) == [date(2022, 1, 20), None]
    long_ago = read(changed(0, from_session="2012-01-05", to_session="2015-01-14"))
    assert until_sold(long_ago, exchanges=exchanges(), sessions=60)["to_session"].max() == date(2015, 1, 14)
    others = until_sold(universe, exchanges=exchanges(), sessions=2).filter(pl.col("symbol") != "XOM")
    assert others["to_session"].null_count() == others.height


@pytest.mark.parametrize("ticker", ["ON", "NO", "TRUE", "Y", "123"])
def test_a_ticker_that_yaml_reads_as_something_else_is_read_in_quotes_and_never_taken_for_another(read, ticker):
    lines = "from_session: 2020-01-02\nexchange: XNYS\nsymbols:\n  - {symbol: AAPL, tier: core, sector: S}\n"
    quoted = read(f'{lines}  - {{symbol: "{ticker}", tier: core, sector: S}}\n')
    assert ticker in quoted["symbol"]
    bare = f"{lines}  - {{symbol: {ticker}, tier: core, sector: S}}\n"
    if ticker == "Y":  # a boolean in YAML 1.1 but a word to this reader
        assert "Y" in read(bare)["symbol"]
        return
    with pytest.raises(UniverseError, match="put it in quotes"):
        read(bare)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({**GOOD, "symbols": []}, "at least 2 symbols of tier core, was 0; add symbols"),
        ({**GOOD, "symbols": GOOD["symbols"][:1]}, "at least 2 symbols of tier core, was 1; add symbols"),
        (
            changed(0, tier="context") | {"symbols": changed(0, tier="context")["symbols"][:2]},
            "core, was 1; add symbols",
        ),
        (changed(1, symbol="XOM"), "symbol XOM: expected one membership at a time, was a second one from 2020-01-02"),
        (changed(0, to_session="2019-01-02"), "to_session of XOM: expected a date from 2020-01-02 on, was 2019-01-02"),
        (changed(0, symbol="../../etc/passwd"), "symbols.0.symbol: should be a ticker such as AAPL"),
        (changed(0, symbol=True), "symbols.0.symbol: should be a valid string, was True; put it in quotes"),
        (changed(2, symbol=600519), "symbols.2.symbol: should be a valid string, was 600519; put it in quotes"),
        (changed(0, tier="main"), "symbols.0.tier: should be 'core' or 'context', was 'main'; correct it"),
        (changed(0, sector=""), "symbols.0.sector: "),
        (changed(0, sectr="Energy"), "symbols.0.sectr: no such field (value 'Energy'); did you mean 'sector'?"),
        ({**GOOD, "survivor": True}, "survivor: no such field (value True); did you mean 'survivor_only'?"),
        ({**GOOD, "zzz": 1}, "zzz: no such field (value 1); remove it"),
        ({**GOOD, "from_session": "soon"}, "from_session: should be a valid date"),
        ({**GOOD, "symbols": "XOM"}, "symbols: should be a valid"),
        ({"symbols": GOOD["symbols"]}, "from_session: is missing; add it."),
        (
            {**GOOD, "exchange": "nyse"},
            "exchange: String should match pattern '^[A-Z0-9]{4}$', was 'nyse'; correct it.",
        ),
        (changed(0, exchange="XNY"), "symbols.0.exchange: String should match pattern '^[A-Z0-9]{4}$', was 'XNY'"),
        ({**GOOD, "exchange": None}, "exchange of CVX: is missing; add exchange, such as XNYS, to the file"),
        ("[1, 2]", "expected a mapping with exchange, from_session and symbols, was list"),
        ("", "expected a mapping with exchange, from_session and symbols, was NoneType"),
        ("symbols: [a", "cannot be read as YAML"),
        ("symbols: !!python/object/apply:os.system ['true']", "cannot be read as YAML"),
    ],
)
def test_a_fault_is_refused_in_one_sentence_that_names_field_value_and_fix(read, content, sentence):
    with pytest.raises(UniverseError) as refused:
        read(content)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(UniverseError, match=r"one of .*sp500_sample.yaml, was .*no_such.yaml; correct universe.file"):
        read_universe("no_such.yaml")
    with pytest.raises(UniverseError, match="cannot be read as YAML"):
        read_universe(f"{tmp_path}/.")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UniverseError, match="cannot be read as YAML"):
        read_universe(str(tmp_path / "bytes.yaml"))


@pytest.mark.parametrize("symbol", ["AAPL", "BRK-B", "BRK.B", "^GSPC", "M&M.NS", "005930.KS", "A", "RDS-A.L"])
def test_real_tickers_are_allowed(symbol):
    check_symbol(symbol)


@pytest.mark.parametrize(
    "symbol",
    [
        "", " ", "A B", "A\n", "\nA", "../../etc/passwd", "..", ".", "A..B", "A/B", "A\\B", "X?y=1#z", "A%2e", "a",
        "A" * 13, "A.ABCDEF", "A.B.C.D", "\uff21APL", "^", "^^A", "-A", "A-", "A;B", "A'B", 'A"B', "A\x00", "A,B", "&A",
    ],
)  # fmt: skip
def test_anything_that_could_be_a_path_a_query_or_a_trick_is_refused(symbol):
    with pytest.raises(
        BadSymbol, match=r"symbol: expected a ticker such as AAPL, .*, was .*; correct it in the uni"
    ) as refused:
        check_symbol(symbol)
    assert "\n" not in str(refused.value)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_whatever_is_allowed_is_short_and_made_of_safe_characters(text):
    try:
        check_symbol(text)
    except BadSymbol:
        return
    assert len(text) <= 25
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789^&.-")
    assert ".." not in text
