"""Graph drift: the distance, its chance, its episodes, and that nothing of it is known before its time."""

from datetime import date, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from threadpoolctl import threadpool_limits

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError
from gnn_assets.graphs import drift_table
from gnn_assets.graphs.drift import (
    Move,
    compared_columns,
    drift_limit,
    graph_distance,
    largest_moves,
    open_episodes,
    reference_row,
)
from gnn_assets.graphs.drift_checks import drift_checks, drift_tripwire
from gnn_assets.graphs.drift_null import distances, episode_limit, null_statistics, rolling_correlations
from gnn_assets.graphs.drift_table import alarms_by_year, graph_drift
from gnn_assets.graphs.schema import GRAPH_DRIFT
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.lookahead import assert_no_lookahead

WINDOW = 30
DRIFT = {"paths": 40, "path_sessions": 126, "quiet_sessions": 10, "symbols": 8}
CONFIG = build_config("test", {"graphs": {"window": WINDOW, "min_overlap": 20, "drift": DRIFT}}).graphs
DAYS = (date(2018, 7, 2) + timedelta(days=day) for day in range(660))
SESSIONS = tuple(day for day in DAYS if day.weekday() < 5)
SYMBOLS = tuple("ABCDEF")
NASDAQ = Path(__file__).parents[2] / "../shared/data/nasdaq_bars.parquet"
NONE = GRAPH_DRIFT.empty()


def market(rng, length, *, alike=0.5, n_symbols=6, apart=()):
    """Series with one factor; those of `apart` leave it."""
    loading = np.full(n_symbols, np.sqrt(alike))
    loading[list(apart)] = 0.0
    factor = rng.normal(size=(length, 1))
    return 0.01 * (loading * factor + np.sqrt(1 - loading**2) * rng.normal(size=(length, n_symbols)))


@cache
def panel():
    rng = np.random.default_rng(3)
    returns = market(rng, len(SESSIONS))
    returns[rng.random(returns.shape) < 0.02] = np.nan
    returns[0] = np.nan
    return returns


def drift_of(returns, *, before=NONE, config=CONFIG, recipe="recipe", sessions=SESSIONS, symbols=SYMBOLS):
    return graph_drift(returns, sessions=sessions, symbols=symbols, config=config, recipe=recipe, before=before)


@cache
def honest():
    return drift_of(panel())


def with_drift(**changed):
    return CONFIG.model_copy(update={"drift": CONFIG.drift.model_copy(update=changed)})


# The distance


@pytest.mark.parametrize("missing", [0.0, 0.01, 0.2])
def test_correlations_are_those_of_pandas_on_the_shared_sessions(missing):
    rng = np.random.default_rng(5)
    values = market(rng, 90)
    values[rng.random(values.shape) < missing] = np.nan
    ours = rolling_correlations(values, window=40, min_overlap=25)
    assert ours.shape == (15, 51)
    for start in (0, 17, 50):
        theirs = pd.DataFrame(values[start : start + 40]).corr(min_periods=25).to_numpy()
        np.testing.assert_allclose(ours[:, start], theirs[np.triu_indices(6, 1)], atol=1e-10)


@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=12, max_side=24),
        elements=st.floats(-1, 1, width=32) | st.just(0.0) | st.just(float("nan")),
    )
)
@settings(max_examples=60)
def test_whatever_the_returns_a_correlation_is_in_range_or_unknown(values):
    corr = rolling_correlations(values, window=10, min_overlap=5)
    assert ((np.abs(corr) <= 1) | np.isnan(corr)).all()
    distance = distances(corr, corr)
    assert ((distance == 0) | np.isnan(distance)).all()


@pytest.mark.parametrize("dirt", [0.25, np.nan])
def test_a_constant_or_absent_series_has_no_correlation_and_the_others_keep_theirs(dirt):
    values = market(np.random.default_rng(0), 40, n_symbols=4)
    clean = rolling_correlations(values[:, :3], window=40, min_overlap=20)
    values[:, 3] = dirt
    corr = rolling_correlations(values, window=40, min_overlap=20)[:, 0]
    second = np.triu_indices(4, 1)[1]
    assert np.isnan(corr[second == 3]).all()
    np.testing.assert_allclose(corr[second < 3], clean[:, 0], atol=1e-12)


def test_a_series_that_stands_still_inside_a_window_alone_has_no_correlation_there():
    values = market(np.random.default_rng(0), 120, n_symbols=3)
    values[40:80, 0] = 0.0
    corr = rolling_correlations(values, window=40, min_overlap=20)
    assert np.isnan(corr[:2, 40]).all()
    assert np.isfinite(corr[2]).all()
    assert np.isfinite(corr[:, :40]).all()


def test_twins_correlate_perfectly_and_opposites_too():
    values = np.tile(np.random.default_rng(0).normal(size=(30, 1)), 3) * [1.0, 5.0, -1.0]
    np.testing.assert_allclose(rolling_correlations(values, window=30, min_overlap=2)[:, 0], [1, -1, -1], atol=1e-12)


def test_the_distance_is_the_frobenius_norm_of_the_difference_for_one_pair():
    returns = np.nan_to_num(panel())
    row, reference = 200, 150
    now, before = (np.corrcoef(returns[last - WINDOW + 1 : last + 1].T) for last in (row, reference))
    pairs = len(SYMBOLS) * (len(SYMBOLS) - 1)
    expected = np.linalg.norm(now - before) / np.sqrt(pairs)
    assert graph_distance(returns, row=row, reference=reference, config=CONFIG) == pytest.approx(expected)
    assert graph_distance(returns, row=row, reference=row, config=CONFIG) == 0


def test_a_distance_without_a_common_pair_is_unknown():
    returns = panel().copy()
    returns[100:140] = np.nan
    assert np.isnan(graph_distance(returns, row=135, reference=80, config=CONFIG))


def test_pairs_that_moved_most_come_first_and_name_who_left():
    rng = np.random.default_rng(1)
    returns = np.vstack([market(rng, 200, alike=0.7), market(rng, 200, alike=0.7, apart=[2])])
    wide = CONFIG.model_copy(update={"window": 120, "min_overlap": 90})
    moves = largest_moves(returns, symbols=SYMBOLS, row=399, reference=199, config=wide, most=5)
    assert all("C" in (move.first, move.second) for move in moves)
    sizes = [abs(move.now - move.before) for move in moves]
    assert sizes == sorted(sizes, reverse=True)
    assert all(move.before > 0.5 and move.now < 0.3 for move in moves)


# Chance


def test_paths_have_the_statistic_of_the_sessions_they_were_drawn_from():
    history = panel()[1:200]
    settings_ = CONFIG.drift.model_copy(update={"paths": 3})
    ours = null_statistics(history, window=WINDOW, lag=WINDOW, min_overlap=20, config=settings_)
    assert ours.shape == (3, 10 + 126)
    rows = drawn_rows(len(history), 2 * WINDOW + 10 + 126 - 1, settings_)
    for path, position in ((0, 0), (1, 70), (2, 135)):
        lived = history[rows[path]]
        end = 2 * WINDOW - 1 + position
        expected = graph_distance(lived, row=end, reference=end - WINDOW, config=CONFIG)
        assert ours[path, position] == pytest.approx(expected, abs=1e-10)


def drawn_rows(n_history, length, config):
    from gnn_assets.graphs.drift_null import _drawn_rows

    return _drawn_rows(n_history, length, config=config)


@given(st.integers(20, 60), st.integers(5, 200))
@settings(max_examples=20)
def test_drawn_sessions_are_those_of_the_history_in_blocks(n_history, length):
    config = CONFIG.drift.model_copy(update={"paths": 5})
    rows = drawn_rows(n_history, length, config)
    assert rows.shape == (5, length)
    assert ((rows >= 0) & (rows < n_history)).all()
    follows = (rows[:, 1:] == (rows[:, :-1] + 1) % n_history).mean()
    assert follows > 1 - 4 / config.block - n_history / (length * n_history)


values_strategy = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(9, 40)), elements=st.integers(0, 12))


@given(values_strategy, st.integers(1, 8), st.integers(1, 60))
def test_at_the_limit_episodes_keep_to_the_rate_and_just_below_they_do_not(statistics, quiet, sessions_per_alarm):
    limit = episode_limit(statistics, quiet_sessions=quiet, sessions_per_alarm=sessions_per_alarm)
    counted = statistics[:, quiet:]

    def episodes(level):
        """Counted one session after the other, as the definition says."""
        begun = [open_episodes(path > level, quiet_sessions=quiet) for path in statistics]
        starts = [
            (path[position] > level) and not (path[position - quiet : position] > level).any()
            for path in statistics
            for position in range(quiet, len(path))
        ]
        follow = sum(len({s for s in one[quiet:] if s >= quiet}) for one in begun)
        assert follow == sum(starts)
        return sum(starts)

    allowed = counted.size / sessions_per_alarm
    levels = np.unique(counted)
    assert limit in levels
    assert all(episodes(level) <= allowed for level in levels[levels >= limit])
    below = levels[levels < limit]
    assert below.size == 0 or episodes(below[-1]) > allowed


def test_what_is_unknown_is_never_above_a_limit():
    statistics = np.array([[0.0, 1.0, np.nan, 3.0, 2.0]])
    with_gap = episode_limit(statistics, quiet_sessions=1, sessions_per_alarm=40)
    assert with_gap == episode_limit(np.nan_to_num(statistics, nan=-9), quiet_sessions=1, sessions_per_alarm=40)


@pytest.mark.slow
def test_markets_that_do_not_change_alarm_at_about_the_rate_that_was_set():
    """Other seeds than those of the calibration, and no bootstrap: new sessions of the same market."""
    rate = 126
    config = with_drift(paths=100, sessions_per_alarm=rate)
    counts, watched = 0, 0
    for seed in range(12):
        returns = market(np.random.default_rng(seed), 600 + 4 * 252)
        limit = drift_limit(returns[:600], config=config)
        corr = rolling_correlations(returns[600:], window=WINDOW, min_overlap=20)
        statistic = distances(corr[:, WINDOW:], corr[:, :-WINDOW])
        counts += len(set(open_episodes(statistic > limit, quiet_sessions=10)) - {-1})
        watched += statistic.size
    assert 0.6 < counts / watched * rate < 1.5


def test_a_stricter_rate_is_a_higher_limit_and_another_seed_another_limit():
    history = panel()[:300]
    loose, strict = (drift_limit(history, config=with_drift(sessions_per_alarm=rate)) for rate in (60, 1000))
    assert strict > loose
    assert drift_limit(history, config=with_drift(seed=1)) != drift_limit(history, config=with_drift(seed=2))
    assert drift_limit(history, config=CONFIG) == drift_limit(history.copy(), config=CONFIG)


def test_the_number_of_threads_changes_no_bit():
    made = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            made.append(drift_of(panel()[:200], sessions=SESSIONS[:200]))
    assert made[0].equals(made[1])


# Episodes


@given(st.lists(st.booleans(), max_size=80), st.integers(1, 12))
def test_an_episode_begins_with_an_alarm_and_lasts_until_so_many_quiet_sessions(above, quiet):
    begun = open_episodes(np.array(above, dtype=bool), quiet_sessions=quiet)
    for position, start in enumerate(begun):
        recent = above[max(position - quiet + 1, 0) : position + 1]
        assert (start >= 0) == any(recent)
        if start >= 0:
            assert above[start]
            assert not any(above[max(start - quiet, 0) : start])
            assert start <= position
        if above[position]:
            assert start >= 0


@given(st.lists(st.booleans(), min_size=1, max_size=80), st.integers(1, 12), st.data())
def test_what_comes_later_does_not_change_whether_an_episode_is_open(above, quiet, data):
    keep = data.draw(st.integers(0, len(above)))
    whole = open_episodes(np.array(above, dtype=bool), quiet_sessions=quiet)
    np.testing.assert_array_equal(whole[:keep], open_episodes(np.array(above[:keep], dtype=bool), quiet_sessions=quiet))


# The symbols compared


def test_a_symbol_must_have_its_share_of_the_history_and_of_the_last_window():
    history = panel()[:200].copy()
    history[:120, 1] = np.nan
    history[-WINDOW:, 4] = np.nan
    assert compared_columns(history, symbols=SYMBOLS, config=CONFIG).tolist() == [0, 2, 3, 5]


@given(st.sets(st.integers(0, 500), min_size=12, max_size=40), st.data())
@settings(max_examples=30)
def test_a_symbol_that_leaves_changes_at_most_one_place_of_the_draw(numbers, data):
    symbols = [f"S{number}" for number in sorted(numbers)]
    gone = data.draw(st.integers(0, len(symbols) - 1))
    returns = np.zeros((40, len(symbols)))
    chosen = {symbols[column] for column in compared_columns(returns, symbols=symbols, config=CONFIG)}
    fewer = symbols[:gone] + symbols[gone + 1 :]
    rest = {fewer[column] for column in compared_columns(returns[:, 1:], symbols=fewer, config=CONFIG)}
    assert len(chosen) == len(rest) == CONFIG.drift.symbols
    assert len(chosen - rest) == (symbols[gone] in chosen)


# The table


def test_rows_begin_with_the_first_year_that_has_a_history_and_limits_change_with_the_year():
    drift = honest()
    assert drift.schema == NONE.schema
    new_years = [day for before, day in pairwise(SESSIONS) if day.year > before.year]
    assert drift["session"].to_list() == [day for day in SESSIONS if day >= new_years[0]]
    assert drift["calibrated_on"].unique().sort().to_list() == new_years
    assert drift["limit"].n_unique() == 2
    assert set(drift["compared"]) == {6}
    row = drift.row(100, named=True)
    position = SESSIONS.index(row["session"])
    assert row["reference"] == SESSIONS[reference_row(position, config=CONFIG)] == SESSIONS[position - WINDOW]
    assert row["statistic"] == graph_distance(panel(), row=position, reference=position - WINDOW, config=CONFIG)
    assert row["limit"] == drift_limit(panel()[: SESSIONS.index(row["calibrated_on"])], config=CONFIG)
    assert drift["alarm"].to_list() == (drift["statistic"] > drift["limit"]).to_list()
    alarms = drift.filter(pl.col("alarm"))
    assert alarms.height == 0 or alarms["episode"].null_count() == 0


def test_a_history_too_short_for_a_limit_or_a_pair_has_no_rows():
    assert drift_of(panel()[:100], sessions=SESSIONS[:100]).equals(NONE)
    assert drift_of(panel()[:, :1], symbols=SYMBOLS[:1]).equals(NONE)
    assert alarms_by_year(NONE).is_empty()


def test_a_change_is_found_within_a_window_and_counted_in_its_year():
    rng = np.random.default_rng(8)
    change = SESSIONS.index(date(2019, 9, 2))
    returns = np.vstack([market(rng, change, alike=0.2), market(rng, len(SESSIONS) - change, alike=0.8)])
    drift = drift_of(returns)
    first = drift.filter(pl.col("alarm") & (pl.col("session") >= SESSIONS[change]))["session"].min()
    assert SESSIONS.index(first) - change < WINDOW
    years = alarms_by_year(drift)
    assert years["year"].to_list() == [2019, 2020]
    assert years["sessions"].sum() == drift.height
    assert years["episodes_begun"].sum() == drift["episode"].drop_nulls().n_unique()
    assert years["alarm_sessions"][0] > 10


def test_settings_that_leave_no_room_for_two_graphs_are_refused():
    with pytest.raises(ConfigError, match="history_windows must be above"):
        build_config("test", {"graphs": {"drift": {"history_windows": 1}}})


# Nothing is known before its time


def table_of(data):
    return {"drift": drift_of(data["returns"])}


@pytest.mark.parametrize("at", [date(2019, 1, 1), date(2019, 7, 1), date(2020, 1, 1), date(2020, 3, 2)])
def test_no_row_changes_whatever_comes_after_it(at):
    assert_no_lookahead(table_of, {"returns": panel()}, at=at, sessions=SESSIONS)


def test_a_limit_made_from_the_whole_history_is_caught(monkeypatch):
    def leaking(data):
        everything = data["returns"]
        monkeypatch.setattr(
            drift_table, "drift_limit", lambda _history, *, config: drift_limit(everything, config=config)
        )
        return table_of(data)

    with pytest.raises(AssertionError, match="look-ahead: drift of 2019-01-01 changed"):
        assert_no_lookahead(leaking, {"returns": panel()}, at=date(2019, 7, 1), sessions=SESSIONS)


def late(monkeypatch):
    """Plants graphs that end three sessions later than they say."""
    honest_graph = drift_table.correlations_at
    monkeypatch.setattr(
        drift_table,
        "correlations_at",
        lambda returns, row, *, config: honest_graph(returns, min(row + 3, len(returns) - 1), config=config),
    )


def test_a_graph_of_later_sessions_is_caught(monkeypatch):
    late(monkeypatch)
    with pytest.raises(AssertionError, match="look-ahead: drift of 2019-06-2"):
        assert_no_lookahead(table_of, {"returns": panel()}, at=date(2019, 7, 1), sessions=SESSIONS)


def wire(drift):
    return drift_tripwire(drift, panel(), sessions=SESSIONS, symbols=SYMBOLS, config=CONFIG, recipe="recipe")


def test_the_tripwire_passes_what_is_honest_and_makes_one_limit_again(monkeypatch):
    made = []
    monkeypatch.setattr(
        drift_table, "drift_limit", lambda history, *, config: made.append(1) or drift_limit(history, config=config)
    )
    assert wire(honest()).passed
    assert len(made) == 1
    assert wire(NONE).passed


def test_the_tripwire_finds_a_later_graph_and_a_limit_from_later_returns(monkeypatch):
    with monkeypatch.context() as patch:
        late(patch)
        drift = drift_of(panel())
        found = wire(drift)
        assert not found.passed
        assert found.blocks
    middle = honest()["calibrated_on"][honest().height // 2]
    other = drift_limit(panel(), config=CONFIG)
    limit = pl.when(pl.col("calibrated_on") == middle).then(other).otherwise("limit")
    assert not wire(honest().with_columns(limit=limit)).passed


# What was made before


def test_one_more_session_costs_one_distance_and_no_limit(monkeypatch):
    before = drift_of(panel()[:-1], sessions=SESSIONS[:-1])
    asked = []
    graph_at = drift_table.correlations_at
    monkeypatch.setattr(
        drift_table, "correlations_at", lambda returns, row, **rest: asked.append(row) or graph_at(returns, row, **rest)
    )
    monkeypatch.setattr(drift_table, "drift_limit", lambda *_, **__: pytest.fail("a limit was made again"))
    assert drift_of(panel(), before=before).equals(honest())
    last = len(SESSIONS) - 1
    assert asked == [last, last - WINDOW]


@pytest.mark.parametrize("at", [5, 200, len(SESSIONS) - 2])
def test_a_corrected_return_makes_everything_from_its_session_on_again(at):
    corrected = panel().copy()
    corrected[at, 0] = 0.05
    drift = drift_of(corrected, before=honest())
    assert drift.equals(drift_of(corrected))
    changed = drift.filter(~pl.Series(drift["returns_hash"].is_in(honest()["returns_hash"].implode())))
    assert changed["session"].min() == max(SESSIONS[at], drift["session"].min())


@pytest.mark.parametrize(
    "other",
    [{"recipe": "other"}, {"symbols": tuple("ABCDEX")}, {"sessions": tuple(d + timedelta(days=1) for d in SESSIONS)}],
)
def test_rows_of_another_recipe_or_of_other_symbols_or_dates_are_not_taken_over(other):
    marked = honest().with_columns(statistic=pl.lit(9.0), limit=pl.lit(1.0))
    assert drift_of(panel(), before=marked)["statistic"].unique().to_list() == [9.0]
    assert drift_of(panel(), before=marked, **other)["statistic"].max() < 2


# Checks


def checks_of(drift, moves=()):
    return {check.name: check for check in drift_checks(drift, moves, config=CONFIG)}


def newest(**values):
    end = honest()["session"].max()
    return honest().with_columns(
        pl.when(pl.col("session") == end).then(pl.lit(value)).otherwise(name).cast(NONE.schema[name]).alias(name)
        for name, value in values.items()
    )


def test_a_newest_session_within_its_limit_passes_and_names_nobody():
    checks = checks_of(newest(statistic=0.1, limit=0.2, alarm=False, episode=None), [Move("A", "B", 0.1, 0.9)])
    assert checks["statistic_finite"].passed
    assert checks["drift"].passed
    assert checks["drift"].offenders == ()
    assert (checks["drift"].value, checks["drift"].threshold) == (0.1, 0.2)


def test_an_alarm_warns_with_the_window_the_episode_and_the_pairs_that_moved():
    drift = newest(statistic=0.3, limit=0.2, alarm=True, episode=SESSIONS[-3])
    check = checks_of(drift, [Move("A", "B", 0.1, 0.9)])["drift"]
    assert not check.passed
    assert not check.blocks
    assert check.offenders == ("A B +0.10 to +0.90",)
    for said in (f"{WINDOW} sessions to {SESSIONS[-1]}", str(SESSIONS[-1 - WINDOW]), f"began on {SESSIONS[-3]}"):
        assert said in check.description


@pytest.mark.parametrize("column", ["statistic", "limit"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_distance_or_limit_that_is_no_number_is_refused(column, value):
    check = checks_of(newest(**{column: value}))["statistic_finite"]
    assert check.blocks
    assert check.offenders == (str(SESSIONS[-1]),)


def test_without_a_limit_the_check_passes_and_says_so():
    check = checks_of(NONE)["drift"]
    assert check.passed
    assert check.value == "no limit yet"


# Size


@pytest.mark.slow
@pytest.mark.skipif(not NASDAQ.exists(), reason=f"{NASDAQ.name} is not beside the project")
def test_a_thousand_symbols_are_sampled_and_the_sample_is_compared_as_it_is():
    closes = pl.read_parquet(NASDAQ, columns=["symbol", "session", "close"]).cast({"close": pl.Float64})
    sessions = tuple(closes["session"].unique().sort())[:700]
    symbols = tuple(closes["symbol"].unique().sort())
    prices = to_panel(closes.filter(pl.col("close") > 0), "close", sessions=sessions, symbols=symbols)
    returns = np.diff(np.log(prices), axis=0, prepend=np.nan)
    config = build_config("sample", {"graphs": {"drift": {"paths": 5}}}).graphs
    drift = drift_of(returns, sessions=sessions, symbols=symbols, config=config)
    assert set(drift["compared"]) == {config.drift.symbols}
    assert drift["statistic"].is_finite().all()
    columns = compared_columns(returns[: sessions.index(drift["calibrated_on"][-1])], symbols=symbols, config=config)
    theirs = [
        pd.DataFrame(returns[last - 119 : last + 1, columns]).corr(min_periods=90).to_numpy()[np.triu_indices(30, 1)]
        for last in (len(sessions) - 1, len(sessions) - 121)
    ]
    assert drift["statistic"][-1] == pytest.approx(np.sqrt(np.nanmean((theirs[0] - theirs[1]) ** 2)), abs=1e-9)
