import dataclasses
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.graphs.checks import graphs_checks, tripwire
from gnn_assets.graphs.correlation import correlation_neighbours
from gnn_assets.graphs.neighbours import Neighbours
from gnn_assets.graphs.statistics import graph_statistics
from gnn_assets_tests.graphs.market import SESSIONS, SYMBOLS, K, kernel, panel, returns_frame, stages

GRAPH = kernel(returns_frame(panel()))
STATISTICS = stages(returns_frame(panel()))["statistics"]
CONFIG = build_config("test").graphs.model_copy(
    update={"k": K, "max_density_change": 1.0, "max_churn_excess": 1.0, "max_churn_deviations": 3.0}
)
# The last session on which A has both its neighbours.
AT = int(np.nonzero(GRAPH.dst_SxNxk[:, 0, 1] >= 0)[0][-1])
DAY = SESSIONS[GRAPH.sessions_S[AT]]
PARTNER = SYMBOLS[GRAPH.dst_SxNxk[AT, 0, 0]]


def checks_of(graph=GRAPH, statistics=STATISTICS, *, directed=False, **changed):
    made = graphs_checks(
        graph,
        statistics,
        sessions=SESSIONS,
        symbols=SYMBOLS,
        config=CONFIG.model_copy(update=changed),
        directed=directed,
    )
    return {check.name: check for check in made}


def planted(**values):
    """The graph with other neighbours or correlations of A on its day, strongest first."""
    arrays = {name: getattr(GRAPH, name).copy() for name in ("dst_SxNxk", "corr_SxNxk")}
    for name, value in values.items():
        arrays[f"{name}_SxNxk"][AT, 0, : len(value)] = value
    return dataclasses.replace(GRAPH, **arrays)


def failures(checks):
    return {name for name, check in checks.items() if not check.passed}


def with_column(name, values):
    """Statistics of as many sessions, the last of which the graph is of."""
    rows = STATISTICS.tail(len(values)).with_columns(pl.Series(name, values, dtype=pl.Float64))
    newest = Neighbours(GRAPH.sessions_S[-1:], GRAPH.dst_SxNxk[-1:], GRAPH.corr_SxNxk[-1:], GRAPH.overlap_SxNxk[-1:])
    return newest, rows


def test_a_real_graph_passes_every_check():
    checks = checks_of()
    assert failures(checks) == set()
    assert [name for name, check in checks.items() if check.offenders] == []


@pytest.mark.parametrize(
    ("value", "failed"),
    [
        (float("nan"), {"correlations_finite", "correlations_in_range", "symmetric"}),
        (float("inf"), {"correlations_finite", "correlations_in_range", "symmetric"}),
        (1.0001, {"correlations_in_range", "symmetric"}),
        (-1.0001, {"correlations_in_range", "symmetric"}),
    ],
)
def test_an_impossible_correlation_is_named(value, failed):
    checks = checks_of(planted(corr=[value]))
    assert failures(checks) == failed
    assert {checks[name].value for name in failed - {"symmetric"}} == {1}
    assert checks[min(failed)].offenders[0].startswith(f"{DAY} A {PARTNER} ")


def test_a_pair_whose_directions_differ_in_one_bit_is_named_unless_the_measure_is_directed():
    graph = planted(corr=[np.nextafter(GRAPH.corr_SxNxk[AT, 0, 0], np.float32(2))])
    check = checks_of(graph)["symmetric"]
    assert (check.passed, check.value) == (False, 2)
    assert [offender.split()[:3] for offender in check.offenders] == [
        [str(DAY), "A", PARTNER],
        [str(DAY), PARTNER, "A"],
    ]
    assert checks_of(graph, directed=True)["symmetric"].passed


FIRST, SECOND = GRAPH.dst_SxNxk[AT, 0]


@pytest.mark.parametrize(
    "values",
    [
        {"dst": [0]},
        {"dst": [FIRST, FIRST]},
        {"dst": [-1]},
        {"dst": [SECOND, FIRST], "corr": GRAPH.corr_SxNxk[AT, 0, ::-1]},
        {"dst": sorted([FIRST, SECOND], reverse=True), "corr": [0.5, -0.5]},
    ],
    ids=["itself", "one neighbour twice", "gap in ranks", "weaker first", "tie in the wrong order"],
)
def test_a_node_whose_neighbours_cannot_be_is_named(values):
    check = checks_of(planted(**values), directed=True)["degree_bounds"]
    assert (check.passed, check.value, check.offenders) == (False, 1, (f"{DAY} A {2 - values['dst'].count(-1)}",))


def test_more_neighbours_than_allowed_are_named():
    check = checks_of(k=1)["degree_bounds"]
    assert check.value == int((GRAPH.dst_SxNxk[:, :, 1] >= 0).sum())
    assert len(check.offenders) == 10


def test_where_signs_count_a_negative_correlation_is_the_weaker():
    graph = planted(dst=sorted([FIRST, SECOND]), corr=[-0.9, 0.8])
    assert checks_of(graph)["degree_bounds"].passed
    assert f"{DAY} A 2" in checks_of(graph, signed=True)["degree_bounds"].offenders


def test_density_may_move_by_exactly_its_limit_and_no_more():
    # Of the two neighbours a symbol can have here: all of them, all of them, half of them.
    graph, rows = with_column("degree_mean", [2.0, 2.0, 1.0])
    assert checks_of(graph, rows, max_density_change=0.5)["density_history"].passed
    check = checks_of(graph, rows, max_density_change=0.4999)["density_history"]
    assert (check.passed, check.value, check.offenders) == (False, 0.5, (f"{SESSIONS[-1]} 0.5",))


def test_only_the_sessions_made_now_are_asked_about_density():
    graph, rows = with_column("degree_mean", [2.0, 0.0, 0.0])
    assert checks_of(graph, rows, max_density_change=0.4)["density_history"].value == 0.0
    graph, rows = with_column("degree_mean", [2.0])
    assert checks_of(graph, rows, max_density_change=0.4)["density_history"].value == 0.0


CALM = [0.1, 0.12, 0.14, 0.16, 0.18] * 4


@pytest.mark.parametrize(
    ("churn", "limits", "passed"),
    [
        (0.239, {"max_churn_excess": 0.1, "max_churn_deviations": 1.0}, True),
        (0.241, {"max_churn_excess": 0.1, "max_churn_deviations": 1.0}, False),
        # The median lies at 0.14, the median distance from it at 0.02.
        (0.14 + 0.999 * 1.4826 * 0.2, {"max_churn_excess": 0.1, "max_churn_deviations": 10.0}, True),
        (0.14 + 1.001 * 1.4826 * 0.2, {"max_churn_excess": 0.1, "max_churn_deviations": 10.0}, False),
        (0.9, {"max_churn_excess": 0.1, "min_history_sessions": 21}, True),
        (0.0, {"max_churn_excess": 0.1, "max_churn_deviations": 1.0}, True),
    ],
)
def test_churn_may_exceed_its_history_by_the_larger_of_two_limits(churn, limits, passed):
    graph, rows = with_column("churn", [*CALM, churn])
    check = checks_of(graph, rows, **{"min_history_sessions": 20, **limits})["churn_history"]
    assert check.passed is passed
    assert check.offenders == (() if passed else (f"{SESSIONS[-1]} {churn}",))
    assert (check.value <= check.threshold) is passed


def test_only_so_many_sessions_before_and_nothing_later_count_as_history():
    graph, rows = with_column("churn", [*[0.9] * 20, *CALM, 0.9])
    limits = {"max_churn_excess": 0.1, "max_churn_deviations": 1.0, "min_history_sessions": 20}
    assert checks_of(graph, rows, history_sessions=41, **limits)["churn_history"].passed
    assert not checks_of(graph, rows, history_sessions=20, **limits)["churn_history"].passed


def test_a_first_session_without_a_churn_is_no_history():
    graph, rows = with_column("churn", [None, *CALM[1:], 0.9])
    limits = {"max_churn_excess": 0.1, "max_churn_deviations": 1.0}
    assert checks_of(graph, rows, min_history_sessions=20, **limits)["churn_history"].passed
    assert not checks_of(graph, rows, min_history_sessions=19, **limits)["churn_history"].passed


def test_one_bad_day_of_half_a_market_is_named_and_an_ordinary_year_is_not():
    # Twenty groups of ten; the limits are those of the defaults.
    rng = np.random.default_rng(8)
    n_sessions, n_series = 160, 200
    returns = np.repeat(rng.standard_normal((n_sessions, 20)), 10, axis=1) + rng.standard_normal((n_sessions, n_series))
    bad = returns.copy()
    bad[-1, ::2] = 100 * rng.standard_normal(n_series // 2)
    sessions = [date(2020, 1, 1) + timedelta(days=day) for day in range(n_sessions)]
    graphs = {"window": 60, "k": 10, "min_overlap": 45}
    config = build_config("test", {"graphs": graphs}).graphs

    def outcome(panel_TxN):
        graph = correlation_neighbours(panel_TxN, **graphs, min_abs_corr=config.min_abs_corr)
        statistics = graph_statistics(graph, returns_TxN=panel_TxN, sessions=sessions)
        symbols = [str(node) for node in range(n_series)]
        made = graphs_checks(graph, statistics, sessions=sessions, symbols=symbols, config=config, directed=False)
        return {check.name: check.offenders for check in made if not check.passed}

    assert outcome(returns) == {}
    caught = outcome(bad)
    assert set(caught) == {"churn_history"}
    assert [offender.split()[0] for offender in caught["churn_history"]] == [str(sessions[-1])]


def test_a_data_end_after_its_session_is_a_look_ahead():
    later = STATISTICS.with_columns(data_end=pl.col("data_end") + timedelta(days=1))
    check = checks_of(statistics=later)["data_end_not_later"]
    assert (check.passed, check.value) == (False, later.height)
    assert len(check.offenders) == 10


def made_of(returns_TxN, rows):
    return correlation_neighbours(returns_TxN, window=20, k=3, min_abs_corr=0.1, min_overlap=10, sessions=rows)


RETURNS = np.random.default_rng(5).standard_normal((60, 6))
HONEST = made_of(RETURNS, np.arange(19, 60))


def tripwire_of(graph, make=made_of):
    return tripwire(graph, RETURNS, sessions=SESSIONS, symbols=SYMBOLS, make=make)


def test_the_tripwire_passes_an_honest_graph_and_catches_a_centred_window():
    check = tripwire_of(HONEST)
    assert (check.passed, check.value, check.offenders) == (True, 0, ())
    # A centred window: what stands at a session was made from rows up to ten sessions later.
    leaky = dataclasses.replace(HONEST, sessions_S=HONEST.sessions_S - 10)
    caught = tripwire_of(leaky, lambda returns, rows: made_of(np.pad(returns, ((20, 0), (0, 0))), rows + 20))
    assert caught.blocks
    assert caught.offenders[0] == f"{SESSIONS[leaky.sessions_S[20]]} A"


@pytest.mark.parametrize(("name", "value"), [("dst_SxNxk", 0), ("corr_SxNxk", 2**-30), ("overlap_SxNxk", 1)])
def test_the_tripwire_names_a_node_of_which_one_number_differs(name, value):
    array = getattr(HONEST, name).copy()
    array[20, 4, 1] = value
    check = tripwire_of(dataclasses.replace(HONEST, **{name: array}))
    assert (check.passed, check.value, check.offenders) == (False, 1, (f"{SESSIONS[39]} E",))


def test_the_tripwire_makes_its_graph_from_nothing_later():
    seen = []

    def make(returns, rows):
        seen.append((len(returns), rows.tolist()))
        return made_of(returns, rows)

    assert tripwire_of(HONEST, make).passed
    assert seen == [(40, [39])]


def test_nothing_made_is_nothing_to_look_ahead():
    none = made_of(RETURNS, np.empty(0, dtype=np.int64))
    assert tripwire_of(none).passed
    assert failures(checks_of(none)) == set()


@pytest.mark.parametrize(
    ("check", "column", "values"),
    [("churn_history", "churn", [0.1] * 30 + [1.0]), ("density_history", "degree_mean", [2.0] * 30 + [0.0])],
)
def test_a_torn_market_is_told_and_stops_nothing(check, column, values):
    """What is refused today is there again tomorrow: it would be refused for ever."""
    newest, statistics = with_column(column, values)
    limits = {"max_density_change": 0.5, "max_churn_excess": 0.3}
    told = checks_of(newest, statistics, **limits)[check]
    assert not told.passed
    assert not told.blocks
