from datetime import timedelta

import polars as pl
import pytest

from gnn_assets.bars.checks import bars_checks, returns_checks
from gnn_assets.bars.findings import SCHEMA
from gnn_assets.bars.schema import QUARANTINE, RETURNS, UNIVERSE
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets_tests.bars.market import bars, calendar, config, sessions

DAYS = sessions(5)
SYMBOLS = ("A", "B", "C", "D", "E")
NO_FINDINGS = pl.DataFrame(schema=SCHEMA)
NAMES = [f"S{number:03}" for number in range(100)]


def latest(symbols=SYMBOLS, *, source="sample", basis="split_div", dates=DAYS):
    closes = {symbol: [10.0 + place for place in range(len(dates))] for symbol in symbols}
    return bars(closes, dates=dates).with_columns(source=pl.lit(source), basis=pl.lit(basis))


def universe(symbols=SYMBOLS, *, exchange="XNYS", tier="core", last=None):
    rows = [
        {"symbol": symbol, "from_session": DAYS[0], "to_session": last, "tier": tier, "sector": "",
         "survivor_only": False, "exchange": exchange, "priority": place}
        for place, symbol in enumerate(symbols)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=dict(UNIVERSE.columns))


LATEST = latest()


def checks_of(frame=LATEST, *, refused=None, failures=None, findings=NO_FINDINGS, members=None, now=None, others=None):
    result = bars_checks(
        frame,
        refused=QUARANTINE.empty() if refused is None else refused,
        findings=findings,
        failures=failures or {},
        universe=universe() if members is None else members,
        exchanges=Exchanges(calendar(), others or {}),
        now=now or calendar().available_at(DAYS[-1]),
        config=config().bars,
    )
    return {check.name: check for check in result}


def refused_rows(count, rule="r{}", session=DAYS[0]):
    rows = [
        {"symbol": "A", "session": session, "source": "sample", "rule": rule.format(number), "close": 0.0}
        for number in range(count)
    ]
    return pl.DataFrame(rows, schema=dict(QUARANTINE.columns))


def finding(name, symbol="B", *, first=DAYS[0], last=DAYS[-1], value=2.0):
    row = {"symbol": symbol, "source": "sample", "finding": name, "first": first, "last": last, "sessions": 5, "value": value}  # fmt: skip
    return pl.DataFrame([row], schema=SCHEMA)


def test_good_bars_pass_every_check_with_value_and_threshold():
    checks = checks_of()
    assert list(checks) == [
        "symbols_complete", "symbols_failed", "newest_session_present", "no_future_sessions", "quarantine_share",
        "one_basis", "bad_sessions", "session_coverage", "stale_symbols", "gaps", "split_like",
    ]  # fmt: skip
    assert all(check.passed for check in checks.values())
    assert (checks["symbols_complete"].value, checks["symbols_complete"].threshold) == (1.0, 0.8)
    assert checks["newest_session_present"].value == checks["newest_session_present"].threshold == str(DAYS[-1])
    assert not any(check.offenders for check in checks.values())
    blocking = {name for name, check in checks.items() if check.severity == "error"}
    assert blocking == {"symbols_complete", "no_future_sessions", "quarantine_share", "one_basis"}


@pytest.mark.parametrize(("usable", "passes"), [(79, False), (80, True), (81, True)])
def test_of_a_hundred_symbols_seventy_nine_stop_everything_and_eighty_do_not(usable, passes):
    failures = dict.fromkeys(NAMES[usable:], "no source has it")
    checks = checks_of(latest(NAMES), members=universe(NAMES), failures=failures)
    assert checks["symbols_complete"].passed is passes
    assert checks["symbols_complete"].blocks is not passes
    assert checks["symbols_complete"].value == usable / 100
    assert checks["symbols_failed"].value == 100 - usable
    assert len(checks["symbols_failed"].offenders) == 10


@pytest.mark.parametrize(("usable", "passes"), [(79, False), (80, True)])
def test_a_symbol_without_the_newest_session_is_not_usable_though_nothing_failed(usable, passes):
    frame = pl.concat([latest(NAMES[:usable]), latest(NAMES[usable:], dates=DAYS[:-1])])
    checks = checks_of(frame, members=universe(NAMES))
    assert checks["symbols_complete"].passed is passes
    assert checks["symbols_failed"].offenders[0] == (
        f"{NAMES[usable]}: no close on {DAYS[-1]}, the newest session of its exchange"
    )


@pytest.mark.parametrize("share", [0.1, 0.3, 0.55, 0.7, 0.8, 0.9])
def test_exactly_the_share_passes_for_every_number_of_symbols(share):
    settings = config().bars.model_copy(update={"min_success_share": share})
    for total in (20, 40, 60, 100):
        enough = round(share * total)
        for usable, passes in ((enough, True), (enough - 1, False)):
            result = bars_checks(
                latest(NAMES[:total]), refused=QUARANTINE.empty(), findings=NO_FINDINGS,
                failures=dict.fromkeys(NAMES[usable:total], "x"), universe=universe(NAMES[:total]),
                exchanges=Exchanges(calendar(), {}), now=calendar().available_at(DAYS[-1]), config=settings,
            )  # fmt: skip
            assert result[0].passed is passes


def test_three_of_five_hundred_are_named_with_their_reasons_and_stop_nothing():
    names = [f"N{number:03}" for number in range(500)]
    failures = {names[7]: "not fetched", names[8]: "held back", names[9]: "too few closes"}
    checks = checks_of(latest(names), members=universe(names), failures=failures)
    assert checks["symbols_complete"].passed
    assert not checks["symbols_failed"].passed
    assert not checks["symbols_failed"].blocks
    assert checks["symbols_failed"].value == 3
    assert checks["symbols_failed"].offenders == ("N007: not fetched", "N008: held back", "N009: too few closes")


def test_only_core_symbols_that_belong_to_the_universe_at_the_newest_session_count():
    members = pl.concat([universe(), universe(["INDEX"], tier="context"), universe(["GONE"], last=DAYS[2])])
    checks = checks_of(members=members, failures={"INDEX": "x", "GONE": "x"})
    assert (checks["symbols_complete"].value, checks["symbols_failed"].value) == (1.0, 0)
    assert not checks_of(members=universe().clear())["symbols_complete"].passed


def test_a_missing_newest_session_is_named_with_the_symbols_that_lack_it():
    late = checks_of(now=calendar().available_at(sessions(6)[-1]))["newest_session_present"]
    assert not late.passed
    assert (late.value, late.threshold) == (str(DAYS[-1]), str(sessions(6)[-1]))
    assert late.offenders == SYMBOLS
    assert not late.blocks
    assert not checks_of(LATEST.clear())["newest_session_present"].passed


def test_each_exchange_has_a_newest_session_of_its_own():
    london = SessionCalendar.build("XLON", first=calendar().sessions[0], until=DAYS[-1], grace=timedelta(minutes=30))
    members = pl.concat([universe(["A"]), universe(["L"], exchange="XLON")])
    # London's Friday is complete while New York still trades.
    now = london.available_at(DAYS[-1])
    frame = pl.concat([latest(["A"], dates=DAYS[:-1]), latest(["L"], dates=DAYS[1:])])
    checks = checks_of(frame, members=members, now=now, others={"XLON": london})
    assert checks["symbols_complete"].passed
    assert checks["newest_session_present"].passed
    assert checks["newest_session_present"].value == f"XLON {DAYS[-1]}, XNYS {DAYS[-2]}"
    assert checks["no_future_sessions"].passed
    early = pl.concat([latest(["A"]), latest(["L"], dates=DAYS[1:])])
    assert checks_of(early, members=members, now=now, others={"XLON": london})["no_future_sessions"].offenders == (
        f"A {DAYS[-1]}",
    )


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


def test_rows_that_only_lost_a_value_are_not_counted_as_refused():
    assert checks_of(refused=refused_rows(20, "open_zero"))["quarantine_share"].value == 0


def test_bars_of_one_source_on_two_bases_are_named_and_two_sources_may_differ():
    raw = pl.col("session") < DAYS[2]
    mixed = LATEST.with_columns(basis=pl.when((pl.col("symbol") == "C") & raw).then(pl.lit("raw")).otherwise("basis"))
    check = checks_of(mixed)["one_basis"]
    assert (check.passed, check.offenders) == (False, ("C sample",))
    assert checks_of(pl.concat([LATEST, latest(source="other", basis="raw")]))["one_basis"].passed


def test_sessions_refused_whole_are_counted_and_named():
    check = checks_of(refused=refused_rows(1, "bad_session_jump", DAYS[2]))["bad_sessions"]
    assert (check.passed, check.blocks, check.value) == (False, False, 1)
    assert check.offenders == (f"{DAYS[2]} sample bad_session_jump",)


def test_a_session_with_few_of_its_neighbours_symbols_is_named():
    thin = LATEST.filter((pl.col("session") != DAYS[2]) | pl.col("symbol").is_in(["A", "B", "C"]))
    check = checks_of(thin)["session_coverage"]
    assert (check.passed, check.value, check.threshold) == (False, 0.6, 0.8)
    assert check.offenders == (f"XNYS {DAYS[2]} 3 5.0",)
    enough = LATEST.filter((pl.col("session") != DAYS[2]) | (pl.col("symbol") != "E"))
    assert checks_of(enough)["session_coverage"].passed


@pytest.mark.parametrize(
    ("name", "check"), [("stale_run", "stale_symbols"), ("gap", "gaps"), ("split_like", "split_like")]
)
def test_a_finding_about_a_symbol_warns_with_its_name(name, check):
    result = checks_of(findings=finding(name))[check]
    assert (result.passed, result.blocks, result.value) == (False, False, 1)
    assert result.offenders == (f"B sample {DAYS[0]} 5 2.0",)
    others = {"stale_symbols", "gaps", "split_like"} - {check}
    assert all(checks_of(findings=finding(name))[other].passed for other in others)


def test_a_stale_run_that_ended_is_history():
    assert checks_of(findings=finding("stale_run", last=DAYS[3]))["stale_symbols"].passed


def returns_of(symbols):
    rows = [
        {
            "session": session,
            "symbol": symbol,
            "close_return": 0.0,
            "fill_return": 0.0,
            "held_return": 0.0,
            "source": "sample",
        }
        for symbol in symbols
        for session in DAYS[1:]
    ]
    return RETURNS.conform(pl.DataFrame(rows, schema=dict(RETURNS.columns)))


def test_returns_that_are_finite_and_cover_the_symbols_pass():
    whole = returns_of(SYMBOLS)
    finite, coverage = returns_checks(whole, symbols=SYMBOLS, sessions=DAYS[1:], config=config().bars)
    assert finite.passed
    assert (coverage.passed, coverage.value) == (True, 1.0)


def test_coverage_counts_symbols_without_any_return_and_exactly_the_limit_passes():
    four = returns_of(SYMBOLS[:4])
    _, coverage = returns_checks(four, symbols=SYMBOLS, sessions=DAYS[1:], config=config().bars)
    assert (coverage.passed, coverage.value, coverage.offenders) == (True, 0.8, ("E 0.0",))
    three = returns_of(SYMBOLS[:3])
    _, coverage = returns_checks(three, symbols=SYMBOLS, sessions=DAYS[1:], config=config().bars)
    assert not coverage.passed


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("column", ["close_return", "fill_return", "held_return"])
def test_a_return_that_is_not_finite_is_named_and_a_null_is_not(value, column):
    good = returns_of(SYMBOLS)
    second = (pl.col("symbol") == "B") & (pl.col("session") == DAYS[2])
    broken = good.with_columns(pl.when(second).then(value).otherwise(column).alias(column))
    finite, _ = returns_checks(broken, symbols=SYMBOLS, sessions=DAYS[1:], config=config().bars)
    assert (finite.passed, finite.value, finite.offenders) == (False, 1, (f"B {DAYS[2]}",))
    absent = good.with_columns(pl.when(second).then(None).otherwise(column).alias(column))
    assert returns_checks(absent, symbols=SYMBOLS, sessions=DAYS[1:], config=config().bars)[0].passed
