import dataclasses
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.graphs.checks import graphs_checks, tripwire
from gnn_assets.graphs.correlation import correlation_neighbours
from gnn_assets.graphs.neighbours import graph_frame
from gnn_assets_tests.graphs.market import SYMBOLS, K, panel, returns_frame, stages

TABLES = stages(returns_frame(panel()))
# The last session on which A has both its neighbours.
LAST = TABLES["graph"].filter((pl.col("src") == "A") & (pl.col("rank") == 1))["session"].max()
CONFIG = build_config("test").graphs.model_copy(update={"k": K})
ON_LAST_EDGE = (pl.col("session") == LAST) & (pl.col("src") == "A") & (pl.col("rank") == 0)


def checks_of(graph=TABLES["graph"], statistics=TABLES["statistics"], **changed):
    config = CONFIG.model_copy(update=changed)
    return {check.name: check for check in graphs_checks(graph, statistics, config=config)}


def planted(**values):
    return TABLES["graph"].with_columns(
        pl.when(ON_LAST_EDGE).then(pl.lit(value)).otherwise(name).cast(TABLES["graph"].schema[name]).alias(name)
        for name, value in values.items()
    )


def failures(checks):
    return {name for name, check in checks.items() if not check.passed}


def test_a_real_graph_passes_every_check():
    assert failures(checks_of(max_density_change=1.0)) == set()


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
    checks = checks_of(planted(corr=value), max_density_change=1.0)
    assert failures(checks) == failed
    assert checks[min(failed)].offenders[0].startswith(f"{LAST} A ")


def test_a_null_correlation_is_not_finite():
    assert "correlations_finite" in failures(checks_of(planted(corr=None)))


def test_a_pair_whose_directions_differ_in_one_bit_is_named():
    there = TABLES["graph"].filter(ON_LAST_EDGE)["corr"].item()
    check = checks_of(planted(corr=there - 2**-24))["symmetric"]
    assert (check.passed, check.value) == (False, 2)


@pytest.mark.parametrize(
    "graph",
    [planted(rank=7), planted(dst="A"), TABLES["graph"].filter(~ON_LAST_EDGE)],
    ids=["rank beyond", "self", "gap in ranks"],
)
def test_a_node_with_a_gap_or_itself_as_neighbour_is_named(graph):
    check = checks_of(graph, max_density_change=1.0)["degree_bounds"]
    assert (check.passed, check.offenders[0].split()[:2]) == (False, [str(LAST), "A"])


def test_more_neighbours_than_allowed_are_named():
    assert not checks_of(k=1)["degree_bounds"].passed


def test_a_neighbour_named_twice_is_named():
    other = TABLES["graph"].filter((pl.col("session") == LAST) & (pl.col("src") == "A") & (pl.col("rank") == 1))
    assert not checks_of(planted(dst=other["dst"].item()))["degree_bounds"].passed


def test_density_may_move_by_exactly_its_limit_and_no_more():
    density = pl.Series([0.4, 0.4, 0.2], dtype=pl.Float64)
    rows = TABLES["statistics"].head(3).with_columns(density=density)
    # Two of five possible neighbours: a density of 0.4 is every edge there can be, 0.2 is half of them.
    assert checks_of(statistics=rows, max_density_change=0.5)["density_change"].passed
    check = checks_of(statistics=rows, max_density_change=0.4999)["density_change"]
    assert (check.passed, check.value) == (False, 0.5)
    assert check.offenders == (f"{rows['session'][2]} 0.5",)


def test_one_session_has_no_change():
    assert checks_of(statistics=TABLES["statistics"].head(1))["density_change"].value == 0.0


def test_a_data_end_after_its_session_is_a_look_ahead():
    later = TABLES["statistics"].with_columns(data_end=pl.col("data_end") + timedelta(days=1))
    check = checks_of(statistics=later)["data_end_not_later"]
    assert (check.passed, check.value) == (False, later.height)
    assert len(check.offenders) == 10


def test_the_symbols_of_the_market_are_those_tested():
    assert set(TABLES["graph"]["src"]) <= set(SYMBOLS)


def test_the_tripwire_passes_an_honest_graph_and_catches_a_centred_window():
    returns = np.random.default_rng(5).standard_normal((60, 6))
    sessions = [date(2020, 1, 1) + timedelta(days=day) for day in range(60)]
    symbols = ["A", "B", "C", "D", "E", "F"]
    config = build_config("test", {"graphs": {"window": 20, "min_overlap": 10, "k": 3, "min_abs_corr": 0.1}}).graphs
    honest = correlation_neighbours(returns, window=20, k=3, min_abs_corr=0.1, min_overlap=10)
    check = tripwire(graph_frame(honest, sessions, symbols), returns, sessions=sessions, symbols=symbols, config=config)
    assert (check.passed, check.value) == (True, 0)
    # A centred window: what stands at a session was made from rows up to ten sessions later.
    leaky = graph_frame(dataclasses.replace(honest, sessions_S=honest.sessions_S - 10), sessions, symbols)
    caught = tripwire(leaky, returns, sessions=sessions, symbols=symbols, config=config)
    assert not caught.passed
    assert caught.blocks
    assert caught.offenders
