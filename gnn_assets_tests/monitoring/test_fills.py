"""What a broker reported: read strictly, added up, and held against what the backtests reckon with."""

from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.schema import UNIVERSE
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError, DataError
from gnn_assets.core.hashing import sha256_hex
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets.monitoring.change import cost_drift, cost_limit
from gnn_assets.monitoring.fills import COLUMNS, Fills, cost_signal, costs_of, read_fills
from gnn_assets.monitoring.reasons import Reason

CONFIG = build_config("sample")
WINDOW = CONFIG.drift.window
# 3.5 basis points a side: 0.5 commission, 1.0 half spread, 2.0 slippage.
BPS = 1e-4
NEWEST = date(2022, 12, 28)
SYMBOLS = ("AAA", "BBB", "CCC", "TKY")


@cache
def exchanges():
    span = {"first": date(2020, 1, 2), "until": NEWEST, "grace": timedelta(minutes=30)}
    return Exchanges(
        primary=SessionCalendar.build("XNYS", **span), others={"XTKS": SessionCalendar.build("XTKS", **span)}
    )


def universe():
    rows = {
        "symbol": SYMBOLS,
        "from_session": [date(2020, 1, 2)] * 4,
        # Who left is sold after it left.
        "to_session": [None, date(2021, 6, 30), None, None],
        "tier": ["core"] * 4,
        "sector": ["s"] * 4,
        "survivor_only": [True] * 4,
        "exchange": ["XNYS", "XNYS", "XNYS", "XTKS"],
        "priority": range(4),
    }
    return UNIVERSE.conform(pl.DataFrame(rows, schema=dict(UNIVERSE.columns)))


def read(path, *, now=None):
    at = now or exchanges().primary.available_at(NEWEST)
    return read_fills(path, universe=universe(), exchanges=exchanges(), now=at)


def csv(folder, *lines, header="session,symbol,traded,paid"):
    path = folder / "fills.csv"
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def fills_of(traded_TxN, paid_TxN, *, symbols=SYMBOLS[:3]):
    """A report of one trade a session and symbol, on the newest sessions."""
    sessions = exchanges().primary.between(date(2020, 1, 2), NEWEST)[-len(traded_TxN) :]
    rows = [
        (session, symbol, traded, paid)
        for session, *columns in zip(sessions, traded_TxN, paid_TxN, strict=True)
        for symbol, traded, paid in zip(symbols, *columns, strict=True)
        if traded > 0
    ]
    return Fills(pl.DataFrame(rows, schema=dict(COLUMNS), orient="row"), "fills.csv", "0" * 64)


def quiet(length, *, seed=3):
    """Trades whose costs scatter around what the model says of them; one symbol is traded at every session."""
    rng = np.random.default_rng(seed)
    traded = 1e4 * rng.lognormal(size=(length, 3)) * (rng.random((length, 3)) < [1.0, 0.8, 0.6])
    return traded, traded * BPS * (3.5 + 2.0 * rng.normal(size=(length, 3)))


def signal_of(fills):
    return cost_signal(fills, execution=CONFIG.execution, config=CONFIG.drift, hysteresis=CONFIG.retrain.hysteresis)


# ---- what is read ----------------------------------------------------------------------------------------------------


def test_rows_of_one_session_and_symbol_add_up_in_whatever_order_they_stand(tmp_path):
    path = csv(
        tmp_path, "2022-12-27,BBB,50,-0.5", "2022-12-27,AAA,100,1.25", "2022-12-23,AAA,7,0", "2022-12-27,AAA,20,2"
    )
    expected = [
        (date(2022, 12, 23), "AAA", 7.0, 0.0),
        (date(2022, 12, 27), "AAA", 120.0, 3.25),
        (date(2022, 12, 27), "BBB", 50.0, -0.5),
    ]
    assert read(path).rows.equals(pl.DataFrame(expected, schema=dict(COLUMNS), orient="row"))


def test_the_hash_is_that_of_the_bytes_and_the_evidence_names_it(tmp_path):
    path = csv(tmp_path, "2022-12-27,AAA,100,1")
    fills = read(path)
    assert fills.sha256 == sha256_hex(path.read_bytes())
    assert f"fills.csv, sha256 {fills.sha256}" in signal_of(fills).evidence
    # One trade more is another report, even where nothing can be known of it yet.
    assert read(csv(tmp_path, "2022-12-27,AAA,100,1", "2022-12-27,AAA,1,0")).sha256 != fills.sha256


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"traded": pl.Int64, "paid": pl.Decimal(12, 2), "symbol": pl.Categorical},
        {"session": pl.String, "traded": pl.String},
    ],
)
def test_a_parquet_file_says_the_same_as_a_csv_whatever_its_types(tmp_path, columns):
    expected = read(csv(tmp_path, "2022-12-23,AAA,7,0.25", "2022-12-27,BBB,100,1")).rows
    path = tmp_path / "fills.parquet"
    expected.cast(columns).select("paid", "traded", "session", "symbol").write_parquet(path)
    assert read(path).rows.equals(expected)


def test_a_report_without_trades_is_one(tmp_path):
    signal = signal_of(read(csv(tmp_path)))
    assert np.isnan([signal.value, signal.limit]).all()
    assert "no session with trades" in signal.evidence


def test_a_session_that_is_not_over_is_left_out_until_it_is(tmp_path):
    path = csv(tmp_path, "2022-12-27,AAA,100,1", "2022-12-28,AAA,100,1")
    complete = exchanges().primary.available_at(NEWEST)
    assert read(path, now=complete - timedelta(microseconds=1)).rows["session"].to_list() == [date(2022, 12, 27)]
    assert read(path, now=complete).rows["session"].to_list() == [date(2022, 12, 27), NEWEST]


def test_each_symbol_is_dated_by_its_own_exchange(tmp_path):
    """Thanksgiving is a session in Tokyo, and the newest session there is over before it begins in New York."""
    path = csv(tmp_path, "2022-11-24,TKY,100,1", "2022-12-28,TKY,100,1")
    assert read(path, now=datetime(2022, 12, 28, 12, tzinfo=UTC)).rows.height == 2
    with pytest.raises(DataError, match=r"row 1, column 'session': expected a session of the symbol's exchange"):
        read(csv(tmp_path, "2022-11-24,AAA,100,1"))


@pytest.mark.parametrize("symbol", ["AAA", "TKY"])
def test_a_session_lies_in_the_future_until_it_opens_on_the_symbol_s_own_exchange(tmp_path, symbol):
    path = csv(tmp_path, f"2022-12-28,{symbol},100,1")
    opening = exchanges().of("XTKS" if symbol == "TKY" else "XNYS").open_at(NEWEST)
    assert read(path, now=opening).rows.is_empty()  # what is known of it so far is a part
    with pytest.raises(DataError, match=r"row 1, column 'session': expected a session that has begun, was 2022-12-28"):
        read(path, now=opening - timedelta(microseconds=1))


def test_who_left_the_universe_is_known_still(tmp_path):
    assert read(csv(tmp_path, "2022-12-27,BBB,100,1")).rows.height == 1


GOOD = "2022-12-27,AAA,100,1"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("2022-12-27,ZZZ,100,1", r"row 2, column 'symbol': expected a symbol of the universe, was ZZZ; correct it, or"),
        ("2022-12-27,,100,1", r"row 2, column 'symbol': .* was nothing;"),
        ("2022-12-26,AAA,100,1", r"row 2, column 'session': expected a session of .*, was 2022-12-26; correct the row"),
        ("27.12.2022,AAA,100,1", r"row 2, column 'session': .* was 27\.12\.2022;"),
        (",AAA,100,1", r"row 2, column 'session': .* was nothing;"),
        ("2022-12-29,AAA,100,1", r"row 2, column 'session': expected a session that has begun, was 2022-12-29;"),
        ("2022-12-27,AAA,0,1", r"row 2, column 'traded': expected a number above 0 \(quote currency\), was 0;"),
        ("2022-12-27,AAA,-5,1", r"row 2, column 'traded': .* was -5;"),
        ("2022-12-27,AAA,,1", r"row 2, column 'traded': .* was nothing;"),
        ("2022-12-27,AAA,inf,1", r"row 2, column 'traded': .* was inf;"),
        ("2022-12-27,AAA,NaN,1", r"row 2, column 'traded': .* was NaN;"),
        ('2022-12-27,AAA,"1,000",1', r"row 2, column 'traded': .* was 1,000;"),
        ("2022-12-27,AAA,100,-inf", r"row 2, column 'paid': expected a number \(quote currency\), was -inf;"),
        ("2022-12-27,AAA,100,nan", r"row 2, column 'paid': .* was nan;"),
        ("2022-12-27,AAA,100,much", r"row 2, column 'paid': .* was much;"),
        ("2022-12-27,AAA,100", r"row 2, column 'paid': .* was nothing;"),
        ("2022-12-27,AAA,100,1,USD", r"fills\.csv: is broken \(.*\); make the file anew"),
        ('2022-12-27,"AAA,100,1', r"fills\.csv"),
    ],
)
def test_a_row_that_is_not_in_order_refuses_the_file_and_is_named(tmp_path, line, sentence):
    assert read(csv(tmp_path, GOOD)).rows.height == 1
    with pytest.raises(DataError, match=rf"^live\.fills.*{sentence}") as refused:
        read(csv(tmp_path, GOOD, line, GOOD))
    assert "fills.csv" in str(refused.value)


def test_the_first_of_many_bad_rows_is_named_and_the_others_are_counted(tmp_path):
    with pytest.raises(DataError, match=r"row 2, column 'traded': .* correct the row \(3 rows are like it\)\."):
        read(csv(tmp_path, GOOD, *["2022-12-27,AAA,0,1"] * 3))


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("session,symbol,traded", "session, symbol, traded"),
        ("session,symbol,traded,cost", "session, symbol, traded, cost"),
        ("session,symbol,traded,paid,paid", "session, symbol, traded, paid, paid_duplicated_0"),
        ("session,symbol,traded,paid,currency", "session, symbol, traded, paid, currency"),
    ],
)
def test_other_columns_are_refused(tmp_path, header, names):
    width = header.count(",") + 1
    line = ",".join(["2022-12-27", "AAA", "100", "1", "x"][:width])
    with pytest.raises(DataError, match=rf"fills\.csv: expected the columns .*paid, was {names}; name them so"):
        read(csv(tmp_path, line, header=header))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("session", [datetime(2022, 12, 27, 15)]),  # noqa: DTZ001 - of which zone it is the date nobody says
        ("session", [20221227]),
        ("symbol", [5930]),
        ("traded", [True]),
        ("paid", [[1.0]]),
        ("paid", pl.Series([None], dtype=pl.Null)),
    ],
)
def test_columns_that_hold_something_else_are_refused(tmp_path, column, values):
    path = tmp_path / "fills.parquet"
    good = {"session": [date(2022, 12, 27)], "symbol": ["AAA"], "traded": [100.0], "paid": [1.0]}
    pl.DataFrame({**good, column: values}).write_parquet(path)
    with pytest.raises(DataError, match=rf"fills\.parquet, column '{column}': expected .*, or text, was .*; convert"):
        read(path)


@pytest.mark.parametrize("name", ["fills.csv", "fills.parquet"])
@pytest.mark.parametrize("data", [b"", b"PAR1\x00\xff broken", b"\xff\xfe\x00s"])
def test_a_broken_file_is_told_by_name(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"^live\.fills.*{name}"):
        read(path)


@pytest.mark.parametrize("days", [-800_000, 4_000_000, 100_000_000, 2**31 - 1])
def test_dates_that_no_calendar_has_are_refused(tmp_path, days):
    """A flipped bit of a Parquet file is a date still, of a year that neither Python nor polars may know."""
    path = tmp_path / "fills.parquet"
    row = {"session": [days], "symbol": ["AAA"], "traded": [100.0], "paid": [1.0]}
    pl.DataFrame(row, schema_overrides={"session": pl.Int32}).cast({"session": pl.Date}).write_parquet(path)
    with pytest.raises(DataError, match=r"^live\.fills.*fills\.parquet"):
        read(path)


def test_a_long_value_is_cut_in_the_message(tmp_path):
    with pytest.raises(DataError, match=r"was Z{60};"):
        read(csv(tmp_path, f"2022-12-27,{'Z' * 5000},100,1"))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(
        DataError, match=r"none\.csv: expected a file, was none; put it there, or set live\.fills to null"
    ):
        read(tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["fills.xlsx", "fills", ""])
def test_a_setting_that_names_no_such_file_is_refused(name):
    with pytest.raises(ConfigError, match=r"live\.fills"):
        build_config("sample", {"live": {"fills": name}})


@given(
    trades=st.lists(
        st.tuples(
            st.sampled_from(["2022-12-22", "2022-12-23", "2022-12-27"]),
            st.sampled_from(SYMBOLS[:3]),
            st.integers(1, 1000),
            st.integers(-50, 50),
        )
    )
)
@settings(max_examples=25)
def test_whatever_is_reported_nothing_is_lost_or_counted_twice(tmp_path_factory, trades):
    path = csv(tmp_path_factory.mktemp("report"), *(",".join(map(str, trade)) for trade in trades))
    costs = costs_of(read(path), execution=CONFIG.execution)
    expected: dict[tuple[str, str], list[int]] = {}
    for session, symbol, traded, paid in trades:
        cell = expected.setdefault((session, symbol), [0, 0])
        cell[0], cell[1] = cell[0] + traded, cell[1] + paid
    found = {
        (str(session), symbol): [costs.traded_TxN[t, n], costs.paid_TxN[t, n]]
        for t, session in enumerate(costs.sessions)
        for n, symbol in enumerate(costs.symbols)
        if np.isfinite(costs.traded_TxN[t, n])
    }
    assert found == expected
    np.testing.assert_allclose(costs.modelled_TxN, costs.traded_TxN * 3.5 * BPS, rtol=1e-12)


# ---- what it says ----------------------------------------------------------------------------------------------------


def test_the_model_is_the_three_costs_a_side_of_what_was_traded():
    execution = CONFIG.execution.model_copy(
        update={"commission_bps": 1.0, "half_spread_bps": 4.0, "slippage_bps": 5.0, "impact": 3.0}
    )
    costs = costs_of(fills_of(np.array([[2e5, 0.0, 1e4]]), np.ones((1, 3))), execution=execution)
    np.testing.assert_allclose(costs.modelled_TxN, [[200.0, 10.0]])
    assert costs.symbols == ("AAA", "CCC")


def test_costs_as_modelled_are_quiet_and_known():
    signal = signal_of(fills_of(*quiet(500)))
    assert signal.reason is Reason.COST_DRIFT
    assert np.isfinite([signal.value, signal.limit]).all()
    assert signal.limit >= CONFIG.drift.least_cost_bps
    assert not signal.firing
    assert "above the model" not in signal.evidence


def test_costs_exactly_as_modelled_are_an_excess_of_nothing_against_the_least_limit():
    traded, _ = quiet(500)
    signal = signal_of(fills_of(traded, 3.5 * BPS * traded))
    assert signal.value == pytest.approx(0, abs=1e-9)
    assert signal.limit == CONFIG.drift.least_cost_bps


def test_a_rise_of_two_basis_points_is_found_and_says_who_is_behind_it():
    traded, paid = quiet(500)
    paid[-WINDOW:, 1] += 6 * BPS * traded[-WINDOW:, 1]
    signal = signal_of(fills_of(traded, paid))
    assert signal.firing
    newest = slice(-WINDOW, None)
    excess = paid[newest].sum() - 3.5 * BPS * traded[newest].sum()
    assert signal.value == pytest.approx(excess / traded[newest].sum() / BPS)
    assert signal.evidence.split("most above the model: ")[1].startswith("BBB +")
    assert signal.window == f"{WINDOW} sessions with trades"


def test_cheaper_than_modelled_is_no_alarm():
    traded, paid = quiet(500)
    paid[-WINDOW:] -= 6 * BPS * traded[-WINDOW:]
    signal = signal_of(fills_of(traded, paid))
    assert signal.value < -signal.limit
    assert not signal.firing


def test_value_and_limit_are_those_of_the_two_halves():
    """The limit knows nothing of the newest window, and the value nothing of what was before."""
    traded, paid = (np.where(values == 0, np.nan, values) for values in quiet(500))
    signal = signal_of(fills_of(np.nan_to_num(traded), np.nan_to_num(paid)))
    costs = (paid, 3.5 * BPS * traded, traded)
    past, newest = ([panel[rows] for panel in costs] for rows in (slice(None, -WINDOW), slice(-WINDOW, None)))
    limit = cost_limit(*past, config=CONFIG.drift, hysteresis=CONFIG.retrain.hysteresis)
    drift = cost_drift(limit, *newest, symbols=SYMBOLS[:3], config=CONFIG.drift)
    assert (signal.value, signal.limit) == pytest.approx((drift.value, drift.limit), rel=1e-12)


def test_windows_are_of_sessions_with_trades():
    """Who trades every fifth session is judged on as many trades as who trades every day."""
    traded, paid = quiet(400)
    paid[-WINDOW:] += 6 * BPS * traded[-WINDOW:]
    every = signal_of(fills_of(traded, paid))
    # The same trades, and between each two of them a session without any.
    apart = [np.zeros((750, 3)) for _ in range(2)]
    short = slice(-375, None)
    for panel, values in zip(apart, (traded, paid), strict=True):
        panel[1::2] = values[short]
    rare = signal_of(fills_of(*apart))
    assert rare.value == pytest.approx(every.value)
    assert rare.firing


@pytest.mark.parametrize(
    ("length", "known"), [(WINDOW - 1, (False, False)), (WINDOW, (True, False)), (5 * WINDOW - 1, (True, False))]
)
def test_with_too_little_nothing_is_an_alarm(length, known):
    traded, paid = quiet(400)
    signal = signal_of(fills_of(traded[:length], 100 * paid[:length]))
    assert tuple(np.isfinite([signal.value, signal.limit])) == known
    assert not signal.firing
    enough = signal_of(fills_of(traded[: 5 * WINDOW], paid[: 5 * WINDOW]))
    assert np.isfinite([enough.value, enough.limit]).all()


def test_the_same_report_gives_the_same_bits():
    report = fills_of(*quiet(400))
    assert signal_of(report) == signal_of(report)
