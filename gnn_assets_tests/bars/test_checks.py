from datetime import timedelta

import polars as pl
import pytest

from gnn_assets.bars.checks import bars_checks, returns_checks
from gnn_assets.bars.returns import log_returns
from gnn_assets.bars.schema import QUARANTINE, SYMBOL_STATUS
from gnn_assets.bars.status import stage_status
from gnn_assets_tests.bars.market import calendar, config, sessions, stored_bars

DAYS = sessions(5)
SYMBOLS = ("A", "B", "C", "D", "E")
LATEST = stored_bars({symbol: [10.0, 11.0, 12.0, 11.0, 10.0] for symbol in SYMBOLS})


def checks_of(latest=LATEST, *, refused=None, failures=None, now=None):
    status = stage_status(
        "bars", symbols=SYMBOLS, session=DAYS[-1], failures=failures or {}, waiting={}, before=SYMBOL_STATUS.empty()
    )
    result = bars_checks(
        latest,
        QUARANTINE.empty() if refused is None else refused,
        status,
        stage="bars",
        symbols=SYMBOLS,
        calendar=calendar(),
        now=now or calendar().available_at(DAYS[-1]),
        config=config().bars,
    )
    return {check.name: check for check in result}


def refused_rows(count):
    rows = [
        {"symbol": "A", "session": DAYS[0], "source": "sample", "rule": f"r{n}", "close": 0.0} for n in range(count)
    ]
    return pl.DataFrame(rows, schema=dict(QUARANTINE.columns))


def test_good_bars_pass_every_check_with_value_and_threshold():
    checks = checks_of()
    assert all(check.passed for check in checks.values())
    assert (checks["symbols_complete"].value, checks["symbols_complete"].threshold) == (1.0, 0.8)
    assert checks["newest_session_present"].value == checks["newest_session_present"].threshold == str(DAYS[-1])
    assert not any(check.offenders for check in checks.values())


def test_exactly_four_fifths_of_the_symbols_pass_and_three_fifths_fail_with_names_and_reasons():
    assert checks_of(failures={"B": "x"})["symbols_complete"].passed
    failed = checks_of(failures={"B": "too few closes", "D": "unknown"})["symbols_complete"]
    assert (failed.passed, failed.value) == (False, 0.6)
    assert failed.offenders == ("B: too few closes", "D: unknown")
    assert failed.blocks


def test_a_missing_newest_session_is_named_with_the_symbols_that_lack_it():
    late = checks_of(now=calendar().available_at(sessions(6)[-1]))["newest_session_present"]
    assert not late.passed
    assert late.value == str(DAYS[-1])
    assert late.threshold == str(sessions(6)[-1])
    assert late.offenders == SYMBOLS
    assert not checks_of(LATEST.clear())["newest_session_present"].passed


def test_a_session_that_is_not_complete_is_a_future_one():
    just_before = calendar().available_at(DAYS[-1]) - timedelta(microseconds=1)
    future = checks_of(now=just_before)["no_future_sessions"]
    assert (future.passed, future.value, future.offenders[0]) == (False, 5, f"A {DAYS[-1]}")


@pytest.mark.parametrize(("count", "passes"), [(1, True), (2, False)])
def test_the_share_of_refused_rows_is_held_against_its_limit(count, passes):
    check = checks_of(refused=refused_rows(count))["quarantine_share"]
    assert check.value == pytest.approx(count / (25 + count))
    assert check.passed is passes
    assert check.offenders[0] == f"A {DAYS[0]} r0"


def test_bars_on_two_bases_are_named():
    raw = pl.col("session") < DAYS[2]
    mixed = LATEST.with_columns(basis=pl.when((pl.col("symbol") == "C") & raw).then(pl.lit("raw")).otherwise("basis"))
    check = checks_of(mixed)["one_basis"]
    assert (check.passed, check.offenders) == (False, ("C",))


def returns_of(closes):
    return log_returns(stored_bars(closes), sessions=DAYS, symbols=SYMBOLS, fill="close_next")


def test_returns_that_are_finite_and_cover_the_symbols_pass():
    whole = returns_of({symbol: [1.0] * 5 for symbol in SYMBOLS})
    finite, coverage = returns_checks(whole, symbols=SYMBOLS, sessions=DAYS[1:], config=config().bars)
    assert finite.passed
    assert (coverage.passed, coverage.value) == (True, 1.0)


def test_coverage_counts_symbols_without_any_return_and_exactly_the_limit_passes():
    four = returns_of({symbol: [1.0] * 5 for symbol in SYMBOLS[:4]})
    _, coverage = returns_checks(four, symbols=SYMBOLS, sessions=DAYS[1:], config=config().bars)
    assert (coverage.passed, coverage.value, coverage.offenders) == (True, 0.8, ("E 0.0",))
    three = returns_of({symbol: [1.0] * 5 for symbol in SYMBOLS[:3]})
    _, coverage = returns_checks(three, symbols=SYMBOLS, sessions=DAYS[1:], config=config().bars)
    assert not coverage.passed


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("column", ["close_return", "fill_return"])
def test_a_return_that_is_not_finite_is_named_and_a_null_is_not(value, column):
    good = returns_of({symbol: [1.0] * 5 for symbol in SYMBOLS})
    second = (pl.col("symbol") == "B") & (pl.col("session") == DAYS[2])
    broken = good.with_columns(pl.when(second).then(value).otherwise(column).alias(column))
    finite, _ = returns_checks(broken, symbols=SYMBOLS, sessions=DAYS[1:], config=config().bars)
    assert (finite.passed, finite.value, finite.offenders) == (False, 1, (f"B {DAYS[2]}",))
    absent = good.with_columns(pl.when(second).then(None).otherwise(column).alias(column))
    assert returns_checks(absent, symbols=SYMBOLS, sessions=DAYS[1:], config=config().bars)[0].passed
