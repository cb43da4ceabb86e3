from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.bars.restatements import classify, restatement_check, to_refetch, touched_sessions
from gnn_assets.bars.revisions import latest
from gnn_assets.core.config import build_config
from gnn_assets_tests.bars.market import LATER, bars, calendar, record, sessions, stored_bars

DAYS = sessions(10)
NOON = LATER + timedelta(days=1)


def walk(seed=0, size=10, decimals=2, level=100.0):
    moves = np.random.default_rng(seed).normal(scale=0.02, size=size)
    return np.round(level * np.exp(moves.cumsum()), decimals)


def changed(old, new, *, basis="split_div", **settings):
    """How the change from one telling of a symbol's bars to another is called."""
    stored = record(stored_bars({}), old, basis=basis)
    again = record(stored, new, at=NOON, basis=settings.pop("new_basis", basis))
    return classify(latest(stored), again, told=new)


def whole_bars(closes, symbol="A", days=DAYS):
    closes = np.asarray(closes)
    frame = bars({symbol: closes}, dates=days[: len(closes)])
    return frame.with_columns(
        open=pl.col("close") * 0.99, high=pl.col("close") * 1.02, low=pl.col("close") * 0.98
    ).with_columns(pl.col("open", "high", "low").round(2))


def scaled(frame, ratio, *, upto=None, decimals=4):
    prices = ["open", "high", "low", "close"]
    moved = pl.col("session") <= (upto or DAYS[-1])
    return frame.with_columns(
        pl.when(moved).then((pl.col(name) * ratio).round(decimals)).otherwise(name).alias(name) for name in prices
    )


def test_a_history_that_moved_by_one_ratio_is_rebased():
    old = whole_bars(walk())
    row = changed(old, scaled(old, 0.5, upto=DAYS[6])).row(0, named=True)
    assert (row["kind"], row["sessions"], row["first"], row["last"]) == ("rebased", 7, DAYS[0], DAYS[6])
    assert row["ratio"] == pytest.approx(0.5, rel=1e-4)
    assert row["to_first"] is True


@pytest.mark.parametrize("ratio", [0.5, 0.1, 0.9962, 3.0, 1 / 3])
@pytest.mark.parametrize("decimals", [2, 3, 4, 6])
def test_the_rounding_of_the_vendors_prices_is_no_correction(ratio, decimals):
    old = whole_bars(walk(level=40.0)).with_columns(pl.col("open", "high", "low", "close").round(decimals))
    kinds = changed(old, scaled(old, ratio, upto=DAYS[8], decimals=decimals))
    assert kinds["kind"].to_list() == ["rebased"]


def test_prices_kept_in_float32_are_compared_as_such():
    old = whole_bars(walk(decimals=6)).with_columns(
        pl.col("open", "high", "low", "close").cast(pl.Float32).cast(pl.Float64)
    )
    new = old.with_columns((pl.col("open", "high", "low", "close") / 7).cast(pl.Float32).cast(pl.Float64))
    assert changed(old, new)["kind"].to_list() == ["rebased"]


def test_a_single_bar_that_changed_among_others_that_did_not_is_corrected():
    old = whole_bars(walk())
    new = old.with_columns(pl.when(pl.col("session") == DAYS[4]).then(99.0).otherwise("close").alias("close"))
    row = changed(old, new).row(0, named=True)
    assert (row["kind"], row["sessions"], row["first"], row["last"]) == ("corrected", 1, DAYS[4], DAYS[4])
    assert row["ratio"] is None
    assert row["to_first"] is False


def test_one_bar_that_moved_by_one_ratio_alone_in_the_middle_is_corrected():
    old = whole_bars(walk())
    new = old.with_columns(
        pl.when(pl.col("session") == DAYS[4]).then(pl.col(name) * 0.5).otherwise(name).alias(name)
        for name in ("open", "high", "low", "close")
    )
    assert changed(old, new)["kind"].to_list() == ["corrected"]


def test_a_bar_corrected_inside_a_rebased_history_makes_it_corrected_and_asked_for_again():
    old = whole_bars(walk())
    new = scaled(old, 0.5).with_columns(
        pl.when(pl.col("session") == DAYS[4]).then(pl.col("close") * 1.01).otherwise("close").alias("close")
    )
    kinds = changed(old, new)
    assert kinds["kind"].to_list() == ["corrected"]
    assert to_refetch(kinds) == {("A", "sample")}


def test_a_price_that_appears_or_goes_is_a_correction():
    old = whole_bars(walk())
    gone = old.with_columns(open=pl.lit(None, dtype=pl.Float64))
    assert changed(old, gone)["kind"].to_list() == ["corrected"]
    assert changed(gone, old)["kind"].to_list() == ["corrected"]


def volume_on(frame, *days):
    return frame.with_columns(volume=pl.when(pl.col("session").is_in(days)).then(5.0).otherwise("volume"))


@pytest.mark.parametrize("days", [DAYS, DAYS[:1], DAYS[4:5]])
def test_other_volumes_alone_are_no_correction_and_need_no_more_asking(days):
    old = whole_bars(walk())
    kinds = changed(old, volume_on(old, *days))
    assert kinds.select("kind", "sessions", "first", "last").rows() == [("volume", len(days), days[0], days[-1])]
    assert kinds.select("ratio", "to_first").rows() == [(None, False)]
    assert to_refetch(kinds) == set()


def test_a_price_that_moved_beside_other_volumes_is_a_correction_of_its_own_place():
    old = whole_bars(walk())
    close = pl.when(pl.col("session") == DAYS[4]).then(99.0).otherwise("close")
    kinds = changed(old, volume_on(old, DAYS[0]).with_columns(close=close))
    assert kinds["kind"].to_list() == ["corrected"]
    assert to_refetch(kinds) == set()


def test_other_volumes_beside_a_rebase_leave_it_one():
    old = whole_bars(walk())
    kinds = changed(old, volume_on(scaled(old, 0.5, upto=DAYS[5]), DAYS[2], DAYS[8]))
    assert kinds["kind"].to_list() == ["rebased"]
    assert to_refetch(kinds) == {("A", "sample")}


def test_a_basis_declared_anew_is_a_rebase_whatever_the_prices():
    old = whole_bars(walk())
    kinds = changed(old, old, basis="raw", new_basis="split")
    assert kinds.select("kind", "ratio", "to_first").rows() == [("rebased", None, True)]


def test_closes_alone_are_enough():
    old = bars({"A": walk()})
    assert changed(old, scaled(old, 0.98, upto=DAYS[5]))["kind"].to_list() == ["rebased"]


def test_each_symbol_is_judged_for_itself_and_first_revisions_do_not_count():
    first, second, third = whole_bars(walk(1)), whole_bars(walk(2), "B"), whole_bars(walk(3), "C")
    stored = pl.concat([first, second, third[:6]])
    new = pl.concat([scaled(first, 0.5), second.with_columns(open=pl.col("open") + 0.1), third])
    kinds = changed(stored, new)
    assert kinds.select("symbol", "kind").rows() == [("A", "rebased"), ("B", "corrected")]
    assert to_refetch(kinds) == {("A", "sample"), ("B", "sample")}


def test_what_begins_after_the_first_bar_told_again_needs_no_more_asking():
    old = whole_bars(walk())
    new = old.with_columns(
        pl.when(pl.col("session") > DAYS[0]).then(pl.col("close") + 0.5).otherwise("close").alias("close")
    )
    assert to_refetch(changed(old, new)) == set()


def test_stored_bars_that_were_not_told_again_say_nothing():
    old = whole_bars(walk())
    overlap = scaled(old.filter(pl.col("session") >= DAYS[6]), 0.5)
    row = changed(old, overlap).row(0, named=True)
    assert (row["kind"], row["first"], row["to_first"]) == ("rebased", DAYS[6], True)


def test_nothing_changed_is_nothing_to_say():
    old = whole_bars(walk())
    kinds = changed(old, old)
    assert kinds.is_empty()
    check = restatement_check(kinds, symbols=["A"], touched_forecasts=[], max_share=0.01, min_symbols=1)
    assert check.passed
    assert (check.value, check.offenders) == (0.0, ())


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.5, 0.1, 2.0, 0.97, 1.5]),
    st.integers(0, 9),
    st.floats(0.01, 0.2),
    st.booleans(),
)
def test_one_scattered_close_is_never_taken_for_a_rebase(seed, ratio, place, error, rebased):
    """Half of the time inside a rebased history, half of the time alone: a change beyond rounding shows."""
    old = whole_bars(walk(seed))
    moved = scaled(old, ratio) if rebased else old
    close = pl.when(pl.col("session") == DAYS[place]).then(pl.col("close") * (1 + error)).otherwise("close")
    assert changed(old, moved.with_columns(close.alias("close")))["kind"].to_list() == ["corrected"]


# ---- the check -------------------------------------------------------------------------------------------------------


def kinds_of(corrected, rebased=0):
    rows = [(f"S{number:03d}", "sample", "corrected", 2, DAYS[1], DAYS[3], None, False) for number in range(corrected)]
    rows += [(f"T{number:03d}", "sample", "rebased", 9, DAYS[0], DAYS[8], 0.5, True) for number in range(rebased)]
    schema = changed(whole_bars(walk()), whole_bars(walk())).schema
    return pl.DataFrame(rows, schema=schema, orient="row")


SYMBOLS = [f"S{number:03d}" for number in range(100)] + [f"T{number:03d}" for number in range(100)]


@pytest.mark.parametrize(("corrected", "passed"), [(0, True), (1, True), (2, True), (3, False)])
def test_more_than_one_in_a_hundred_corrected_fails_however_many_were_rebased(corrected, passed):
    check = restatement_check(
        kinds_of(corrected, rebased=100), symbols=SYMBOLS, touched_forecasts=[], max_share=0.01, min_symbols=1
    )
    assert (check.name, check.passed, check.severity) == ("revisions", passed, "error")
    assert (check.value, check.threshold) == (corrected / 200, 0.01)
    assert check.blocks is not passed


@pytest.mark.parametrize(("corrected", "passed"), [(1, True), (2, True), (3, False)])
def test_a_few_corrected_symbols_of_a_small_universe_do_not_fail(corrected, passed):
    limits = build_config("live").bars
    check = restatement_check(
        kinds_of(corrected),
        symbols=SYMBOLS[:20],
        touched_forecasts=[],
        max_share=limits.max_revised_share,
        min_symbols=limits.min_revised_symbols,
    )
    assert (check.passed, check.value) == (passed, corrected / 20)


def test_symbols_with_other_volumes_alone_are_told_and_not_counted():
    kinds = kinds_of(50).with_columns(kind=pl.lit("volume"))
    check = restatement_check(kinds, symbols=SYMBOLS, touched_forecasts=[], max_share=0.01, min_symbols=1)
    assert (check.passed, check.value) == (True, 0.0)
    assert "0 corrected, 0 moved to another basis, 50 with other volumes alone" in check.description


def test_a_symbol_corrected_at_two_sources_counts_once_and_one_that_does_not_count_never():
    kinds = kinds_of(2)
    twice = pl.concat([kinds, kinds.with_columns(source=pl.lit("other"))])
    assert (
        restatement_check(twice, symbols=SYMBOLS[:50], touched_forecasts=[], max_share=1.0, min_symbols=1).value
        == 2 / 50
    )
    assert (
        restatement_check(twice, symbols=SYMBOLS[1:51], touched_forecasts=[], max_share=1.0, min_symbols=1).value
        == 1 / 50
    )


def test_the_first_offenders_are_corrected_rows_and_the_forecasts_they_touched():
    forecasts = [str(day) for day in DAYS[3:9]]
    check = restatement_check(
        kinds_of(8, rebased=8), symbols=SYMBOLS, touched_forecasts=forecasts, max_share=0.01, min_symbols=1
    )
    assert len(check.offenders) == 10
    assert check.offenders[0] == f"S000 sample: corrected, 2 bars {DAYS[1]} to {DAYS[3]}"
    assert check.offenders[6:] == tuple(f"forecast touched: {day}" for day in DAYS[3:7])
    assert (
        "8 corrected, 8 moved to another basis, 0 with other volumes alone, 6 published forecasts touched"
        in check.description
    )
    rebased = restatement_check(
        kinds_of(0, rebased=1), symbols=SYMBOLS, touched_forecasts=[], max_share=0.01, min_symbols=1
    )
    assert rebased.offenders == (f"T000 sample: rebased by 0.5, 9 bars {DAYS[0]} to {DAYS[8]}",)


# ---- forecasts touched -----------------------------------------------------------------------------------------------


def sessions_of(*days):
    return pl.DataFrame({"session": pl.Series(days, dtype=pl.Date)})


def test_a_changed_bar_touches_the_forecasts_made_from_it_and_no_others():
    # A return of the third session back is made from the close of the session before it.
    assert touched_sessions(sessions_of(DAYS[2]), DAYS, lookback=3, calendar=calendar()) == DAYS[2:6]
    assert touched_sessions(sessions_of(), DAYS, lookback=3, calendar=calendar()) == ()
    assert touched_sessions(sessions_of(DAYS[8]), DAYS[:8], lookback=3, calendar=calendar()) == ()


def test_a_bar_of_a_day_on_which_the_primary_exchange_rested_counts_with_the_next_session():
    holiday, after = date(2022, 1, 17), date(2022, 1, 18)
    published = [date(2022, 1, 14), after, date(2022, 1, 19)]
    assert touched_sessions(sessions_of(holiday), published, lookback=0, calendar=calendar()) == (after,)


@settings(deadline=None)
@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)), st.integers(0, 8))
def test_touched_are_exactly_those_with_a_changed_bar_in_their_lookback(changes, published, lookback):
    days = sessions(21)
    expected = [days[at] for at in sorted(published) if any(at - lookback <= change <= at for change in changes)]
    touched = touched_sessions(
        sessions_of(*(days[at] for at in changes)),
        [days[at] for at in published],
        lookback=lookback,
        calendar=calendar(),
    )
    assert list(touched) == expected
