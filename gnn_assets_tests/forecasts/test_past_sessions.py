"""Past sessions are published beside the newest one, each from what was known at its own moment.

A vendor corrects a bar, or tells of an action late, between two sessions: forecasts of sessions before that moment stay
what they were, those after it follow. The stage's own functions work on a small lake here; only the training is left
out.
"""

from datetime import date, timedelta

import polars as pl
import pytest

from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS, RETURNS, UNIVERSE
from gnn_assets.core.config import build_config
from gnn_assets.core.settings import Settings
from gnn_assets.defs import forecast_sessions as stage
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import StageRun
from gnn_assets.forecasts.publish import forecast_session
from gnn_assets.graphs.schema import CORRELATION_GRAPHS
from gnn_assets.store.schema import MOMENT
from gnn_assets.store.versions import Lineage
from gnn_assets_tests.forecasts.market import (
    CONFIG,
    SYMBOLS,
    UNTIL,
    calendar,
    features_count,
    fetched,
    graph_of,
    market,
    recorded,
    returns_frame,
    universe_frame,
)

SESSIONS = market().data.sessions[-8:]
# The vendor changes its mind in the night after this session ...
BEFORE = SESSIONS[3]
MOMENT_OF_CHANGE = calendar().available_at(BEFORE) + timedelta(hours=3)
# ... about a bar that every forecast below has in its features and its graph.
CHANGED = SESSIONS[1]
NO_ACTIONS = CORPORATE_ACTIONS.empty()


@pytest.fixture(scope="module", autouse=True)
def _a_model_that_reads_everything():
    """A leak through a feature or the graph must show as well."""
    with pytest.MonkeyPatch.context() as patch:
        features_count(patch)
        yield


@pytest.fixture(scope="module")
def untouched(tmp_path_factory) -> dict[date, pl.DataFrame]:
    """What is published where the vendor never changes its mind."""
    return published(run_on(tmp_path_factory.mktemp("untouched"), market().bars, NO_ACTIONS))


def corrected() -> pl.DataFrame:
    """The history with one bar corrected at the moment of change."""
    wrong = (pl.col("session") == CHANGED) & (pl.col("symbol") == "B")
    said = fetched().filter(pl.col("session") <= BEFORE)
    said = said.with_columns(close=pl.when(wrong).then(pl.col("close") * 1.5).otherwise("close"))
    early = recorded(MARKET_BARS.empty(), fetched(), at=MOMENT_OF_CHANGE - timedelta(hours=1))
    history = recorded(early, said, at=MOMENT_OF_CHANGE)
    assert history.filter(pl.col("rev") > 0).height == 1
    return recorded(history, fetched().filter(pl.col("session") > BEFORE))


def late_dividend() -> pl.DataFrame:
    """A dividend that the source tells of when its session's bar has long been known."""
    return CORPORATE_ACTIONS.conform(
        pl.DataFrame(
            {
                "symbol": "B",
                "session": CHANGED,
                "kind": "dividend",
                "source": CONFIG.bars.sources[0],
                "rev": 0,
                "value": 10.0,
                "known_at": MOMENT_OF_CHANGE,
                "fetched_at": MOMENT_OF_CHANGE,
                "payload_hash": "",
                "run_id": "",
            },
            schema_overrides={"rev": pl.Int32, "known_at": MOMENT, "fetched_at": MOMENT},
        )
    )


def run_on(home, history, actions, *, config=CONFIG) -> StageRun:
    """A lake with everything that the forecasts are made from, as the stages before would leave it."""
    platform = Platform(settings=Settings(profile="test", home=home), config=_until_the_end(config))
    returns = returns_frame(history, actions)
    versions: dict[str, str] = {}
    for table, frame in (
        (UNIVERSE, universe_frame()),
        (MARKET_BARS, history),
        (CORPORATE_ACTIONS, actions),
        (RETURNS, returns),
        (CORRELATION_GRAPHS, graph_of(returns)),
    ):
        lineage = Lineage(inputs=dict(versions), code_version="", config_hash="")
        versions[table.name] = platform.lake.publish(table, frame, lineage=lineage, data_end=UNTIL).version
    return StageRun(
        platform=platform,
        asset="forecasts",
        inputs=versions,
        lineage=Lineage(inputs=versions, code_version="", config_hash=""),
        symbols=SYMBOLS,
        run_id="r",
        log=lambda _text: None,
    )


def _until_the_end(config):
    return config.model_copy(update={"clock": config.clock.model_copy(update={"session": UNTIL})})


def published(run: StageRun, *, config=None) -> dict[date, pl.DataFrame]:
    """The forecasts of every session, made as the stage makes them."""
    config = config or run.config
    market_of = stage._market(run, config, stage._moments(run, SESSIONS))
    return {
        session: forecast_session(
            session,
            served=market().served,
            market=market_of(session),
            calendar=run.platform.calendar,
            config=config,
            status="ok",
            degraded=False,
        ).rows
        for session in SESSIONS
    }


CHANGES = {
    "a corrected bar": lambda: (corrected(), NO_ACTIONS),
    "an action told late": lambda: (market().bars, late_dividend()),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_two_sessions_reaches_those_after_it_and_none_before(tmp_path, untouched, change):
    made = published(run_on(tmp_path, *CHANGES[change]()))
    assert [session for session in SESSIONS if not made[session].equals(untouched[session])] == list(SESSIONS[4:])


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_the_moment_of_each_session_that_keeps_it_out(tmp_path, untouched, change, monkeypatch):
    """With one moment for all, the change does reach the sessions before it: there is something to keep out."""
    run = run_on(tmp_path, *CHANGES[change]())
    now = run.platform.clock.now()
    monkeypatch.setattr(stage, "_moments", lambda _run, sessions: dict.fromkeys(sessions, now))
    made = published(run)
    assert [session for session in SESSIONS if not made[session].equals(untouched[session])] == list(SESSIONS[1:])


@pytest.mark.slow
def test_a_champions_older_recipe_keeps_to_the_same_moments(tmp_path):
    """Where the recipe is another one, every session's market is made from bars: the change stays out there too."""
    few = {"features": {"groups": ["returns", "candles"], "compared": ["return_lag0"]}}
    other = build_config("test", CONFIG.model_dump(mode="json"), {"graphs": {"k": 2}, "models": few})
    quiet = published(run_on(tmp_path / "quiet", market().bars, NO_ACTIONS), config=other)
    made = published(run_on(tmp_path / "changed", *CHANGES["a corrected bar"]()), config=other)
    assert [session for session in SESSIONS if not made[session].equals(quiet[session])] == list(SESSIONS[4:])


@pytest.mark.slow
def test_nothing_is_made_anew_where_nothing_came_late(tmp_path, monkeypatch):
    """The stored returns and graphs serve every session before the change was made and all after it."""
    asked = []
    honest = stage.market_at
    monkeypatch.setattr(stage, "market_at", lambda session, **given: asked.append(session) or honest(session, **given))
    published(run_on(tmp_path, *CHANGES["a corrected bar"]()))
    assert asked == list(SESSIONS[1:4])


def test_the_moment_of_a_past_session_is_its_own_and_of_the_newest_now(tmp_path):
    run = run_on(tmp_path, market().bars, NO_ACTIONS)
    moments = stage._moments(run, SESSIONS)
    assert [moments[session] for session in SESSIONS[:-1]] == [calendar().available_at(day) for day in SESSIONS[:-1]]
    assert moments[SESSIONS[-1]] == run.platform.clock.now()
