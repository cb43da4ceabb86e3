"""The asset correlation_graphs on a small market in a file: only what is new is computed, and nobody can tell."""

import shutil
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
import yaml

from gnn_assets.bars.schema import RETURNS
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import DiskFull
from gnn_assets.core.settings import Settings
from gnn_assets.defs import bars, bars_report, plots
from gnn_assets.defs import graphs as graphs_asset
from gnn_assets.defs.io import stage_asset
from gnn_assets.defs.operate import failures_of as step_failures
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import Stage
from gnn_assets.graphs.correlation import lookback_of, measured_neighbours
from gnn_assets.graphs.neighbours import Neighbours, graph_frame
from gnn_assets.graphs.schema import CORRELATION_GRAPHS, GRAPH_STATISTICS
from gnn_assets.graphs.statistics import graph_statistics
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.defs.market_home import names, sessions

pytestmark = pytest.mark.slow

*_, YESTERDAY, TODAY = DAYS = sessions(70)
SYMBOLS = names(8)
WINDOW, K = 20, 3
# The first close gives no return.
GRAPH_DAYS = DAYS[WINDOW:]
TABLES = (CORRELATION_GRAPHS, GRAPH_STATISTICS)
(GRAPHS,) = graphs_asset.STAGES


HOLE = (pl.col("session") == DAYS[33]) & (pl.col("symbol") == SYMBOLS[2])


def whole_market() -> pl.DataFrame:
    """Closes of four pairs under one market."""
    rng = np.random.default_rng(5)
    pairs_TxN = np.repeat(rng.normal(size=(len(DAYS), 4)), 2, axis=1)
    own_TxN = rng.normal(size=(len(DAYS), len(SYMBOLS)))
    returns_TxN = 0.01 * (0.7 * rng.normal(size=(len(DAYS), 1)) + pairs_TxN + 0.8 * own_TxN)
    closes_TxN = np.exp(4 + returns_TxN.cumsum(axis=0)).round(4)
    told = {
        "symbol": list(SYMBOLS) * len(DAYS),
        "session": [day for day in DAYS for _ in SYMBOLS],
        "close": closes_TxN.ravel(),
    }
    return pl.DataFrame(told).sort("symbol", "session")


def market() -> pl.DataFrame:
    """The same without one bar."""
    return whole_market().filter(~HOLE)


@dataclass(frozen=True)
class Made:
    """What a run of the asset did.

    Args:
        failure: why it failed; empty where it did not.
        metadata: as plain values; empty if nothing was materialized.
        checks: check → its result.
    """

    failure: str
    metadata: dict[str, Any]
    checks: dict[str, dg.AssetCheckEvaluation]

    @property
    def failed(self) -> set[str]:
        return {name for name, check in self.checks.items() if not check.passed}


@dataclass(frozen=True)
class GraphsHome:
    """A platform in a folder whose bars come from a file in it.

    Args:
        path: the folder.
        instance: where Dagster keeps its records, of all homes alike: nothing here is read from them.
    """

    path: Path
    instance: dg.DagsterInstance

    @classmethod
    def fresh(
        cls, path: Path, told: pl.DataFrame, instance: dg.DagsterInstance, *, members: Sequence[Mapping[str, Any]] = ()
    ) -> "GraphsHome":
        (path / "told").mkdir(parents=True)
        home = cls(path, instance)
        home.tell(told, members=members)
        return home

    def tell(self, told: pl.DataFrame, *, members: Sequence[Mapping[str, Any]] = ()) -> None:
        """From now on the file and the universe say this."""
        told.write_parquet(self.path / "told" / "bars.parquet")
        listed = [
            {"tier": "core", "sector": "Energy", **member} for member in members or [{"symbol": s} for s in SYMBOLS]
        ]
        content = {"survivor_only": False, "from_session": DAYS[0], "exchange": "XNYS", "symbols": listed}
        (self.path / "universe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    def platform(self, session: date, graphs: Mapping[str, Any] | None = None) -> Platform:
        """The platform, its clock standing where a session's bars are available."""
        absent = dict.fromkeys(("open", "high", "low", "volume"))
        settings = {
            "clock": {"session": session},
            # Calendars are built for every run; a short one takes a tenth of the time.
            "calendar": {"first_session": "2021-06-01"},
            "universe": {"file": str(self.path / "universe.yaml")},
            # A whole history is asked for again each time: a correction may be old.
            "bars": {"sources": ["files"], "from_session": DAYS[0], "overlap_sessions": len(DAYS)},
            "sources": {"files": {"folder": str(self.path / "told"), "columns": absent}},
            "graphs": {"window": WINDOW, "min_overlap": 15, "k": K},
            "runtime": {"retries": 0},
        }
        config = build_config("test", settings, {"graphs": graphs or {}})
        return Platform(settings=Settings(profile="test", home=self.path), config=config)

    def refresh(self, session: date) -> None:
        """Makes universe, bars and returns."""
        result = self._run(self.platform(session), bars.STAGES)
        assert result.success, step_failures(result)

    def graphs(self, session: date, graphs: Mapping[str, Any] | None = None, *, stage: Stage = GRAPHS) -> Made:
        """Makes the graphs of the returns there are."""
        result = self._run(self.platform(session, graphs), (stage,))
        made = [event.materialization for event in result.get_asset_materialization_events()]
        return Made(
            failure=" ".join(step_failures(result).values()),
            metadata={name: value.value for name, value in made[0].metadata.items()} if made else {},
            checks={check.check_name: check for check in result.get_asset_check_evaluations()},
        )

    def _run(self, platform: Platform, stages: Sequence[Stage]) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [stage_asset(stage, platform.config) for stage in stages],
            instance=self.instance,
            resources={"platform": platform},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    def with_returns_of(self, session: date) -> "GraphsHome":
        """The same home, its returns being those published while the clock stood at a session."""
        platform = self.platform(session)
        versions = platform.versions(RETURNS.name)
        made = next(made for made in versions.good() if made.note["data_end"] == str(session))
        versions.publish(made.version, lineage=made.lineage, note=made.note)
        return self

    def copy(self, path: Path) -> "GraphsHome":
        return replace(self, path=Path(shutil.copytree(self.path, path)))

    def content(self) -> dict[str, tuple[str, pl.DataFrame]]:
        """Version and rows of both tables."""
        lake = self.platform(TODAY).lake
        return {table.name: (current(lake.manifest(table)).version, lake.read(table)) for table in TABLES}

    def month_files(self) -> dict[str, str]:
        """Month → the file that holds its edges."""
        return {file.month: file.name for file in current(self.platform(TODAY).lake.manifest(CORRELATION_GRAPHS)).files}

    def file(self, table: str, pattern: str) -> Path:
        """The newest file of a table that has such a name."""
        return max((self.path / "data/lake" / table).glob(pattern), key=lambda path: path.stat().st_mtime_ns)


def current(published):
    assert published is not None
    return published


def at_once(home: GraphsHome, session: date, graphs: Mapping[str, Any] | None = None) -> dict[str, pl.DataFrame]:
    """Both tables of the home's returns by the pure functions, every session at once and nothing stored."""
    platform = home.platform(session, graphs)
    config, returns = platform.config.graphs, platform.lake.read(RETURNS)
    symbols, days = tuple(returns["symbol"].unique().sort()), tuple(platform.sessions_of(returns))
    returns_TxN = to_panel(returns, "close_return", sessions=days, symbols=symbols)
    found = measured_neighbours(returns_TxN, config=config)
    statistics = graph_statistics(found, returns_TxN=returns_TxN, sessions=days)
    return {CORRELATION_GRAPHS.name: graph_frame(found, days, symbols), GRAPH_STATISTICS.name: statistics}


def assert_equals_at_once(home: GraphsHome, session: date, graphs: Mapping[str, Any] | None = None) -> None:
    wanted = at_once(home, session, graphs)
    assert not wanted[CORRELATION_GRAPHS.name].is_empty()
    for name, (_, rows) in home.content().items():
        assert rows.equals(wanted[name]), name


def assert_same_content(home: GraphsHome, other: GraphsHome) -> None:
    """Equal bit for bit, versions included."""
    mine, theirs = home.content(), other.content()
    for table in TABLES:
        assert mine[table.name][0] == theirs[table.name][0], table.name
        assert mine[table.name][1].equals(theirs[table.name][1]), table.name


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


PICTURES = ("heat_map", "network", "lines")


@pytest.fixture(scope="module", autouse=True)
def unpainted() -> Generator[None]:
    """Pictures take half of a run's time and change nothing; one test has them painted."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (bars, bars_report, graphs_asset):
            for picture in PICTURES:
                if hasattr(module, picture):
                    patch.setattr(module, picture, lambda *_, **__: "unpainted")
        yield


@pytest.fixture
def painted(monkeypatch):
    for picture in PICTURES:
        monkeypatch.setattr(graphs_asset, picture, getattr(plots, picture))


@pytest.fixture
def computed(monkeypatch) -> list[list[int]]:
    """Rows of the returns whose graphs are asked of the kernel, call by call; the tripwire's call is the last."""
    calls: list[list[int]] = []

    def counted(returns_TxN, *, sessions, **settings):
        calls.append([int(row) for row in sessions])
        return measured_neighbours(returns_TxN, sessions=sessions, **settings)

    monkeypatch.setattr(graphs_asset, "measured_neighbours", counted)
    return calls


@pytest.fixture(scope="module")
def instance(tmp_path_factory) -> Generator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


@pytest.fixture(scope="module")
def grown(tmp_path_factory, instance) -> GraphsHome:
    """Graphs of yesterday, returns of today; read it, and take a copy to change something."""
    home = GraphsHome.fresh(tmp_path_factory.mktemp("graphs") / "home", market(), instance)
    home.refresh(YESTERDAY)
    made = home.graphs(YESTERDAY)
    assert not made.failure
    assert not made.failed
    home.refresh(TODAY)
    return home


@pytest.fixture(scope="module")
def fresh(tmp_path_factory, instance) -> GraphsHome:
    """Everything made today, and never before."""
    home = GraphsHome.fresh(tmp_path_factory.mktemp("graphs") / "fresh", market(), instance)
    home.refresh(TODAY)
    assert home.graphs(TODAY).metadata["sessions_made"] == len(GRAPH_DAYS)
    return home


@pytest.fixture
def home(grown, tmp_path) -> GraphsHome:
    return grown.copy(tmp_path / "home")


# What is new, and what was corrected.


def test_one_more_session_computes_one_and_gives_the_bits_of_a_fresh_home(home, fresh, computed, painted):
    kept = home.month_files()
    made = home.graphs(TODAY)
    assert made.metadata["sessions_made"] == 1
    # The session before is what the new one is compared with; it is also what the tripwire makes again.
    last = len(DAYS) - 2
    assert computed == [[last - 1, last], [last - 1]]
    assert not made.failed
    assert_same_content(home, fresh)
    assert_equals_at_once(home, TODAY)
    now = home.month_files()
    assert len(now) == 3
    assert {month for month in now if now[month] != kept.get(month)} == {f"{TODAY:%Y-%m}"}
    assert made.metadata["sessions"] == len(GRAPH_DAYS)
    assert made.metadata["dagster/row_count"] == home.content()[CORRELATION_GRAPHS.name][1].height
    assert all(made.metadata[picture].startswith("![") for picture in ("heat_map", "network", "change"))


def test_the_same_again_computes_nothing_and_says_the_same(home, computed):
    first = home.graphs(TODAY)
    computed.clear()
    again = home.graphs(TODAY)
    assert again.metadata["reused"] is True
    assert len(computed) == 1  # the tripwire's
    assert not again.failed
    said = ("version", "sessions", "dagster/row_count", "density", "churn", "communities", "data_end")
    assert [again.metadata[name] for name in said] == [first.metadata[name] for name in said]


def test_a_correction_is_computed_from_its_session_on_and_gives_the_bits_of_a_fresh_home(home, tmp_path, instance):
    corrected = DAYS[48]
    wrong = (pl.col("session") == corrected) & (pl.col("symbol") == SYMBOLS[0])
    told = market().with_columns(close=pl.when(wrong).then(pl.col("close") * 1.05).otherwise("close"))
    kept, before = home.month_files(), home.content()[CORRELATION_GRAPHS.name][1]
    home.tell(told)
    home.refresh(TODAY)
    made = home.graphs(TODAY)
    assert made.metadata["sessions_made"] == len(DAYS[48:])
    other = GraphsHome.fresh(tmp_path / "other", told, instance)
    other.refresh(TODAY)
    other.graphs(TODAY)
    assert_same_content(home, other)
    assert corrected.day > 7  # inside a month, so that a part of it stays
    now = home.month_files()
    assert {month for month in kept if now[month] != kept[month]} == {f"{corrected:%Y-%m}", f"{TODAY:%Y-%m}"}
    after = home.content()[CORRELATION_GRAPHS.name][1]
    assert not after.filter(session=corrected).equals(before.filter(session=corrected))


def test_a_bar_that_comes_late_is_computed_from_its_session_on(home):
    home.tell(whole_market())
    home.refresh(TODAY)
    assert home.graphs(TODAY).metadata["sessions_made"] == len(DAYS[33:])
    assert_equals_at_once(home, TODAY)


def test_returns_that_end_earlier_than_the_graphs_take_what_is_later_away(home):
    home.graphs(TODAY)
    home.with_returns_of(YESTERDAY)
    # Forgotten, or the graphs of yesterday would be taken as they are.
    shutil.rmtree(home.path / "data/lake/correlation_graphs/memo")
    made = home.graphs(YESTERDAY)
    assert (made.metadata["reused"], made.metadata["sessions_made"]) == (False, 1)
    assert home.content()[CORRELATION_GRAPHS.name][1]["session"].max() == YESTERDAY
    assert_equals_at_once(home, YESTERDAY)


# What graphs are made by, and what they are not made by.


@pytest.mark.parametrize(
    "setting",
    [{"window": WINDOW + 1}, {"k": K - 1}, {"min_overlap": 20}],
    ids=lambda setting: next(iter(setting)),
)
def test_another_graph_is_computed_from_the_first_session_on(home, setting):
    made = home.graphs(TODAY, setting)
    first = lookback_of(home.platform(TODAY, setting).config.graphs)
    assert made.metadata["sessions_made"] == len(DAYS) - first
    assert not made.failure
    assert_equals_at_once(home, TODAY, setting)


def test_other_code_computes_everything(home, fresh):
    other = replace(GRAPHS, code=(*GRAPHS.code, "gnn_assets.graphs.drift"))
    assert home.graphs(TODAY, stage=other).metadata["sessions_made"] == len(GRAPH_DAYS)
    assert_same_content(home, fresh)


def test_another_universe_computes_everything(home):
    home.tell(market(), members=[{"symbol": symbol} for symbol in SYMBOLS[1:]])
    home.refresh(TODAY)
    made = home.graphs(TODAY)
    assert made.metadata["sessions_made"] == len(GRAPH_DAYS)
    assert SYMBOLS[0] not in set(home.content()[CORRELATION_GRAPHS.name][1]["src"])
    assert_equals_at_once(home, TODAY)


def test_what_makes_no_graph_computes_nothing(home, monkeypatch):
    settings = {
        "max_density_change": 0.9,
        "max_churn_excess": 0.9,
        "history_sessions": 30,
        "drift": {"paths": 50, "symbols": 5},
        "factors": {"window": 100, "count": 4, "projected": 2},
        "temporal": {"lags": [0, 3]},
    }
    home.with_returns_of(YESTERDAY)
    monkeypatch.setattr(graphs_asset, "graph_statistics", lambda *_, **__: pytest.fail("computed again"))
    assert home.graphs(YESTERDAY, settings).metadata["reused"] is True


# Damage and loss.


@pytest.mark.parametrize("pattern", [f"files/{DAYS[30]:%Y-%m}*", f"files/{TODAY:%Y-%m}*", "manifests/*"])
def test_damage_to_what_was_to_stay_makes_all_of_it_again(home, fresh, computed, pattern):
    flip_a_bit(home.file(CORRELATION_GRAPHS.name, pattern))
    made = home.graphs(TODAY)
    assert not made.failure
    assert list(range(WINDOW - 1, len(DAYS) - 1)) in computed
    assert_same_content(home, fresh)


@pytest.mark.parametrize("pattern", ["current", "publications/*"])
def test_damage_to_the_record_of_what_was_published_costs_time_at_most(home, fresh, pattern):
    flip_a_bit(home.file(CORRELATION_GRAPHS.name, pattern))
    assert not home.graphs(TODAY).failure
    assert_same_content(home, fresh)


def test_damage_heals_where_nothing_else_has_changed_either(home, fresh):
    home.graphs(TODAY)
    flip_a_bit(home.file(CORRELATION_GRAPHS.name, f"files/{DAYS[30]:%Y-%m}*"))
    assert home.graphs(TODAY).metadata["reused"] is False
    assert_same_content(home, fresh)


@pytest.mark.parametrize("pattern", ["files/*", "current"])
def test_damaged_statistics_are_made_again(home, fresh, pattern):
    flip_a_bit(home.file(GRAPH_STATISTICS.name, pattern))
    assert not home.graphs(TODAY).failure
    assert_same_content(home, fresh)


def test_lost_statistics_are_made_again(home, fresh):
    shutil.rmtree(home.path / "data/lake/graph_statistics")
    made = home.graphs(TODAY)
    assert made.metadata["sessions_made"] == len(GRAPH_DAYS)
    assert_same_content(home, fresh)


def test_statistics_older_than_the_edges_are_not_continued(home, fresh, grown):
    home.graphs(TODAY)
    folder = Path("data/lake/graph_statistics")
    shutil.rmtree(home.path / folder)
    shutil.copytree(grown.path / folder, home.path / folder)
    assert not home.graphs(TODAY).failure
    assert_same_content(home, fresh)


@pytest.mark.parametrize("setting", [{}, {"k": K - 1}], ids=["of the same graphs", "of others"])
def test_a_run_that_dies_between_statistics_and_edges_leaves_the_graphs_of_before_and_the_next_is_right(
    home, fresh, grown, monkeypatch, setting
):
    with monkeypatch.context() as patch:

        def dies(*_, **__):
            raise DiskFull("no space left")

        patch.setattr(graphs_asset.GraphShelf, "_publish_edges", dies)
        assert home.graphs(TODAY, setting).failure
    before, after = grown.content(), home.content()
    assert after[CORRELATION_GRAPHS.name][0] == before[CORRELATION_GRAPHS.name][0]
    assert after[GRAPH_STATISTICS.name][0] != before[GRAPH_STATISTICS.name][0]
    made = home.graphs(TODAY)
    assert made.metadata["sessions_made"] == 1
    assert_same_content(home, fresh)


def test_panels_that_are_gone_are_built_again_and_cost_no_graph(home, fresh):
    shutil.rmtree(home.path / "data/panels")
    assert home.graphs(TODAY).metadata["sessions_made"] == 1
    assert_same_content(home, fresh)


def test_without_the_returns_of_before_nobody_knows_what_was_corrected_and_everything_is_computed(home, fresh):
    shutil.rmtree(home.path / "data/panels")
    lake = home.platform(TODAY).lake
    then = next(made for made in lake.versions(RETURNS.name).good() if made.note["data_end"] == str(YESTERDAY))
    (home.path / "data/lake/returns/manifests" / f"{then.version}.json").unlink()
    assert home.graphs(TODAY).metadata["sessions_made"] == len(GRAPH_DAYS)
    assert_same_content(home, fresh)


# Every measure.


@pytest.mark.parametrize(
    ("measure", "signed"),
    [
        ("pearson", False),
        ("spearman", False),
        ("exponential", False),
        ("shrunk", False),
        ("residual", False),
        ("lead_lag", False),
        ("pearson", True),
        ("lead_lag", True),
    ],
)
def test_a_measure_materializes_passes_its_checks_and_goes_on_session_by_session(home, measure, signed):
    # Lagged and residual correlations of so few are weak.
    setting = {"measure": measure, "signed": signed, "min_abs_corr": 0.1}
    home.with_returns_of(YESTERDAY)
    first = home.graphs(YESTERDAY, setting)
    lookback = lookback_of(home.platform(YESTERDAY, setting).config.graphs)
    assert first.metadata["sessions_made"] == len(DAYS) - 1 - lookback
    assert not first.failed
    home.with_returns_of(TODAY)
    made = home.graphs(TODAY, setting)
    assert made.metadata["sessions_made"] == 1
    assert set(made.checks) == {*graphs_asset.GRAPH_CHECKS, "age"}
    assert not made.failed
    assert_equals_at_once(home, TODAY, setting)
    edges = home.content()[CORRELATION_GRAPHS.name][1]
    assert (edges["corr"] < 0).any() is not signed or measure == "pearson"
    skipped = "Nothing is asked" in (made.checks["symmetric"].description or "")
    assert skipped is (measure == "lead_lag")


# Symbols that enter and leave.


ENTERS, LEAVES = DAYS[30], DAYS[40]
LATE, EARLY = SYMBOLS[5], SYMBOLS[6]


def changing_universe(path: Path, instance: dg.DagsterInstance) -> GraphsHome:
    """A home one of whose symbols enters while another leaves."""
    before = (pl.col("symbol") == LATE) & (pl.col("session") < ENTERS)
    after = (pl.col("symbol") == EARLY) & (pl.col("session") > LEAVES)
    terms = {LATE: {"from_session": ENTERS}, EARLY: {"to_session": LEAVES}}
    members = [{"symbol": symbol, **terms.get(symbol, {})} for symbol in SYMBOLS]
    return GraphsHome.fresh(path, market().filter(~(before | after)), instance, members=members)


def test_a_symbol_has_neighbours_only_while_it_has_returns(tmp_path, instance):
    home = changing_universe(tmp_path / "home", instance)
    home.refresh(LEAVES)
    assert not home.graphs(LEAVES).failed
    home.refresh(TODAY)
    assert not home.graphs(TODAY).failed
    assert_equals_at_once(home, TODAY)
    edges = home.content()[CORRELATION_GRAPHS.name][1]
    days = {
        symbol: set(edges.filter((pl.col("src") == symbol) | (pl.col("dst") == symbol))["session"])
        for symbol in (LATE, EARLY)
    }
    overlap = home.platform(TODAY).config.graphs.min_overlap
    assert min(days[LATE]) >= DAYS[30 + overlap]
    assert max(days[LATE]) == TODAY
    assert min(days[EARLY]) == GRAPH_DAYS[0]
    assert max(days[EARLY]) <= DAYS[40 + WINDOW - overlap]


def test_a_symbol_that_left_before_the_first_run_is_in_the_graphs_of_its_time(tmp_path, instance):
    home = changing_universe(tmp_path / "home", instance)
    home.refresh(TODAY)
    assert not home.graphs(TODAY).failed
    assert EARLY in set(home.platform(TODAY).lake.read(RETURNS)["symbol"])
    assert_equals_at_once(home, TODAY)


# What is wrong is not published.


def beyond_one(returns_TxN, **settings):
    """Graphs with one impossible value."""
    found = measured_neighbours(returns_TxN, **settings)
    corr_SxNxk = found.corr_SxNxk.copy()
    corr_SxNxk[-1, 0, 0] = 1.5
    return Neighbours(found.sessions_S, found.dst_SxNxk, corr_SxNxk, found.overlap_SxNxk)


def seeing_the_future(returns_TxN, *, sessions, **settings):
    """Graphs of windows that end five sessions later, where there is so much."""
    later = [min(row + 5, len(returns_TxN) - 1) for row in sessions]
    found = measured_neighbours(returns_TxN, sessions=later, **settings)
    return Neighbours(np.array(sessions), found.dst_SxNxk, found.corr_SxNxk, found.overlap_SxNxk)


@pytest.mark.parametrize(
    ("planted", "check"), [(beyond_one, "correlations_in_range"), (seeing_the_future, "no_look_ahead")]
)
def test_an_impossible_graph_is_refused_and_the_last_good_one_stays(home, grown, monkeypatch, planted, check):
    monkeypatch.setattr(graphs_asset, "measured_neighbours", planted)
    # Code that has changed makes every session again: so would code that leaks.
    made = home.graphs(TODAY, stage=replace(GRAPHS, code=(*GRAPHS.code, "gnn_assets.graphs.drift")))
    assert check in made.failed
    assert "the last good version stays" in made.failure
    assert_same_content(home, grown)
    (event,) = (row for row in home.platform(TODAY).ledger.read("events") if row["event"] == "stage_refused")
    assert event["asset"] == "correlation_graphs"
    assert f"{check} failed" in event["reason"]
    monkeypatch.undo()
    assert not home.graphs(TODAY).failed


def test_a_leak_is_caught_on_an_ordinary_day_too(home, monkeypatch):
    """What was stored yesterday is made again from what is known today."""
    monkeypatch.setattr(graphs_asset, "measured_neighbours", seeing_the_future)
    made = home.graphs(TODAY)
    assert "no_look_ahead" in made.failed
    assert "the last good version stays" in made.failure


def test_the_planted_leak_breaks_no_other_check(home, monkeypatch):
    monkeypatch.setattr(graphs_asset, "measured_neighbours", seeing_the_future)
    assert home.graphs(TODAY, {"k": K - 1}).failed == {"no_look_ahead"}
