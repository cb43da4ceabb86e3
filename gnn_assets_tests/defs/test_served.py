"""What was served, entered beside the forecasts: the last word before the fill, and never another one after it."""

from datetime import date, timedelta
from functools import cache
from types import SimpleNamespace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.core.clock import SnapshotClock
from gnn_assets.core.config import build_config
from gnn_assets.core.settings import Settings
from gnn_assets.defs import forecasts as forecasts_assets
from gnn_assets.defs.forecasts import ForecastsShelf
from gnn_assets.defs.io import _told_version
from gnn_assets.defs.resources import Platform
from gnn_assets.forecasts.schema import FORECASTS, SERVED_BEFORE_DEGRADED, SERVED_FORECASTS
from gnn_assets.store.schema import Table
from gnn_assets.store.versions import Lineage

# The last session of November, and the first of December.
DAYS = [date(2022, 11, 28), date(2022, 11, 29), date(2022, 11, 30), date(2022, 12, 1), date(2022, 12, 2)]
SHELF = ForecastsShelf(FORECASTS)


@cache
def market_of(session):
    """Clock and calendar where a session ends: what costs time to make."""
    platform = Platform(settings=Settings(profile="test"), config=config_of(session))
    return platform.clock, platform.calendar


def config_of(session):
    return build_config("test", {"clock": {"session": session}})


def platform_at(home, session):
    """A platform whose clock stands at the end of a session."""
    platform = Platform(settings=Settings(profile="test", home=home), config=config_of(session))
    platform.clock, platform.calendar = market_of(session)
    return platform


def lineage(name):
    return Lineage(inputs={"champion": name}, code_version="c", config_hash="h")


def forecasts_of(platform, champion, newest, *, symbols="ABC", history=1):
    """Forecasts of a session and some before it, as one champion makes them."""
    calendar, lag = platform.calendar, platform.config.execution.fill_lag
    rows = [
        {
            "session": session,
            "symbol": symbol,
            "horizon": 5,
            "score": float(len(champion)),
            "expected_return": 0.0,
            "lower": -0.1,
            "upper": 0.1,
            "rank": 1,
            "target_start": calendar.offset(session, lag),
            "target_end": calendar.offset(session, lag + 5),
            "champion": champion,
            "graph_session": session,
            "source": "s",
            "served_by": "refit",
            "degraded": False,
            "status": "ok",
            "verdict": "SCALE",
            "card_id": f"{champion} {session}",
        }
        for session in (calendar.offset(newest, -back) for back in range(history + 1))
        for symbol in symbols
    ]
    return FORECASTS.conform(pl.DataFrame(rows, schema=dict(FORECASTS.columns)))


def run_of(platform):
    return SimpleNamespace(platform=platform, run_id="run")


def publish(home, champion, newest, *, at=None, **rows):
    """A run at the end of session `at`, which is the newest one unless told; reused if it was made before."""
    platform = platform_at(home, at or newest)
    run = run_of(platform)
    made = lineage(f"{champion} {newest}")
    if SHELF.reuse(run, made) is None:
        SHELF.publish(run, forecasts_of(platform, champion, newest, **rows), lineage=made, data_end=newest)
    return platform


def served(home):
    rows = platform_at(home, DAYS[-1]).lake.read(SERVED_FORECASTS)
    champions = rows.select("session", "champion").unique()
    assert champions["session"].is_unique().all()
    return dict(champions.iter_rows())


def test_the_newest_session_alone_is_entered(tmp_path):
    publish(tmp_path, "one", DAYS[2], history=2)
    assert served(tmp_path) == {DAYS[2]: "one"}


def test_sessions_accumulate_and_a_later_champion_changes_none_of_them(tmp_path):
    publish(tmp_path, "one", DAYS[1])
    before = platform_at(tmp_path, DAYS[1]).lake.read(SERVED_FORECASTS)
    platform = publish(tmp_path, "another", DAYS[2], history=2)
    # The present champion says of the past what it would have said ...
    assert set(platform.lake.read(FORECASTS)["champion"]) == {"another"}
    # ... and what was served was served.
    assert served(tmp_path) == {DAYS[1]: "one", DAYS[2]: "another"}
    after = platform.lake.read(SERVED_FORECASTS)
    assert after.filter(pl.col("session") == DAYS[1]).equals(before)


def test_published_again_before_its_fill_the_last_word_stands(tmp_path):
    publish(tmp_path, "one", DAYS[1], symbols="ABCD")
    publish(tmp_path, "another", DAYS[1], symbols="ABC")
    assert served(tmp_path) == {DAYS[1]: "another"}
    # Nothing is left of a symbol that the last word leaves out.
    assert platform_at(tmp_path, DAYS[1]).lake.read(SERVED_FORECASTS)["symbol"].to_list() == ["A", "B", "C"]
    publish(tmp_path, "one", DAYS[1], symbols="ABCD")
    assert served(tmp_path) == {DAYS[1]: "one"}


def test_published_again_after_its_fill_it_changes_nothing(tmp_path):
    publish(tmp_path, "one", DAYS[1])
    publish(tmp_path, "another", DAYS[1], at=DAYS[2])
    assert served(tmp_path) == {DAYS[1]: "one"}


def test_published_after_its_fill_for_the_first_time_it_was_served_to_nobody(tmp_path):
    platform = publish(tmp_path, "one", DAYS[1], at=DAYS[2])
    assert platform.lake.manifest(SERVED_FORECASTS) is None


HALF_DAY = date(2022, 11, 25)
MOMENT = timedelta(microseconds=1)


def publish_at(home, session, fill, moment):
    """A run at a moment, under a fill, that publishes a session's forecasts; the sessions that were served then."""
    config = build_config("test", {"clock": {"session": DAYS[-1]}, "execution": {"fill": fill}})
    platform = Platform(settings=Settings(profile="test", home=home), config=config)
    platform.calendar, platform.clock = market_of(DAYS[-1])[1], SnapshotClock(moment)
    rows = forecasts_of(platform, "one", session)
    SHELF.publish(run_of(platform), rows, lineage=lineage(f"one {session} {moment}"), data_end=session)
    manifest = platform.lake.manifest(SERVED_FORECASTS)
    return platform.lake.read(SERVED_FORECASTS)["session"].unique().to_list() if manifest else []


@pytest.mark.parametrize(("fill", "of"), [("open_next", "open_at"), ("close_next", "close_at")])
@pytest.mark.parametrize("session", [DAYS[1], date(2022, 11, 23)], ids=["whole day", "half day"])
def test_what_is_published_at_its_fill_or_later_could_not_be_had(tmp_path, fill, of, session):
    calendar = market_of(DAYS[-1])[1]
    at = getattr(calendar, of)(calendar.offset(session, 1))
    assert publish_at(tmp_path, session, fill, at + calendar.grace) == []
    assert publish_at(tmp_path, session, fill, at) == []
    assert publish_at(tmp_path, session, fill, at - MOMENT) == [session]


def test_the_fill_of_the_half_day_is_its_own_early_close():
    calendar = market_of(DAYS[-1])[1]
    assert calendar.offset(date(2022, 11, 23), 1) == HALF_DAY
    assert calendar.close_at(HALF_DAY) - calendar.open_at(HALF_DAY) == timedelta(hours=3.5)


@pytest.mark.parametrize("fill", ["open_next", "close_next"])
def test_a_clock_that_stands_where_the_newest_session_is_known_enters_it(tmp_path, fill):
    config = build_config("test", {"clock": {"session": DAYS[1]}, "execution": {"fill": fill}})
    clock = Platform(settings=Settings(profile="test", home=tmp_path), config=config).clock
    assert publish_at(tmp_path, DAYS[1], fill, clock.now()) == [DAYS[1]]


def test_a_fill_at_the_close_that_is_forecast_from_could_be_had_by_nobody(tmp_path):
    calendar = market_of(DAYS[-1])[1]
    assert publish_at(tmp_path, DAYS[1], "close_same", calendar.available_at(DAYS[1])) == []


def test_the_same_again_writes_nothing(tmp_path):
    publish(tmp_path, "one", DAYS[1])
    platform = publish(tmp_path, "one", DAYS[1])
    assert len(platform.versions(SERVED_FORECASTS.name).history()) == 1


def test_what_is_below_hears_of_it(tmp_path):
    (stage,) = forecasts_assets.STAGES
    platform = publish(tmp_path, "one", DAYS[1])
    version = platform.versions(FORECASTS.name).current().version
    told = _told_version(stage, platform, version)
    rows = platform.lake.read(SERVED_FORECASTS).with_columns(champion=pl.lit("another"))
    platform.lake.publish(SERVED_FORECASTS, rows, lineage=None, data_end=None)
    assert _told_version(stage, platform, version) != told


@pytest.mark.parametrize("later", [DAYS[1], DAYS[2], DAYS[4]])
def test_a_run_killed_between_the_two_loses_nothing(tmp_path, monkeypatch, later):
    with monkeypatch.context() as patch:
        patch.setattr(forecasts_assets, "failpoint", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            publish(tmp_path, "one", DAYS[1])
    assert platform_at(tmp_path, DAYS[1]).lake.manifest(SERVED_FORECASTS) is None
    publish(tmp_path, "another" if later > DAYS[1] else "one", later)
    assert served(tmp_path)[DAYS[1]] == "one"


def test_forecasts_that_cannot_be_read_stop_nobody(tmp_path):
    platform = publish(tmp_path, "one", DAYS[1])
    (file,) = (platform.data / "lake" / FORECASTS.name / "files").iterdir()
    file.write_bytes(b"damaged")
    for _ in range(2):  # damaged, and then gone
        assert SHELF.reuse(run_of(platform_at(tmp_path, DAYS[2])), lineage("nobody")) is None
    publish(tmp_path, "another", DAYS[2])
    assert served(tmp_path) == {DAYS[1]: "one", DAYS[2]: "another"}


def test_a_damaged_month_costs_that_month_and_is_told(tmp_path):
    for day in DAYS[:4]:
        platform = publish(tmp_path, "one", day)
    november = platform.lake.manifest(SERVED_FORECASTS).files[0]
    (platform.data / "lake" / SERVED_FORECASTS.name / "files" / november.name).write_bytes(b"damaged")
    publish(tmp_path, "another", DAYS[4])
    assert served(tmp_path) == {DAYS[3]: "one", DAYS[4]: "another"}
    (told,) = [event for event in platform.ledger.read("events") if event["event"] == "served_lost"]
    assert "2022-11" in told["reason"]


@given(runs=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["one", "two", "three"])), min_size=1, max_size=7))
@settings(max_examples=6, deadline=None)
def test_whatever_is_published_in_whatever_order_the_past_stays_what_it_was(tmp_path_factory, runs):
    """The clock goes on; at each session some champions publish it, one after another."""
    home = tmp_path_factory.mktemp("home")
    expected = {}
    for day, champion in sorted(runs, key=lambda run: run[0]):
        publish(home, champion, DAYS[day])
        expected[DAYS[day]] = champion
        assert served(home) == expected


# ---- a home of the release before the column `degraded` --------------------------------------------------------------

# As that release declared it: written out here, so that no change of today's moves it.
OLD = {
    **dict.fromkeys(("session", "target_start", "target_end", "graph_session"), pl.Date),
    **dict.fromkeys(("symbol", "champion", "source", "served_by", "status", "verdict", "card_id"), pl.String),
    **dict.fromkeys(("expected_return", "lower", "upper"), pl.Float64),
    "horizon": pl.Int16,
    "score": pl.Float32,
    "rank": pl.Int32,
}
OLD_ORDER = [name for name in FORECASTS.columns if name != "degraded"]


def as_it_was(home, *, sessions):
    """What the old release left: its forecasts of the last session, and all that it served."""
    old = {
        name: Table(
            name=name,
            columns={column: OLD[column] for column in OLD_ORDER},
            key=("session", "symbol", "horizon"),
            monthly=name == "served_forecasts",
        )
        for name in ("forecasts", "served_forecasts")
    }
    platform = platform_at(home, sessions[-1])
    frames = [forecasts_of(platform, f"of {day}", day, history=0).drop("degraded") for day in sessions]
    platform.lake.publish(old["forecasts"], frames[-1], lineage=lineage("old"), data_end=sessions[-1])
    platform.lake.publish(old["served_forecasts"], pl.concat(frames), lineage=None, data_end=None)
    return pl.concat(frames)


def test_what_an_older_release_served_is_carried_over_by_the_next_run_to_the_row(tmp_path):
    before = as_it_was(tmp_path, sessions=DAYS[:3])
    platform = publish(tmp_path, "new", DAYS[3])
    after = platform.lake.read(SERVED_FORECASTS)
    assert served(tmp_path) == {**{day: f"of {day}" for day in DAYS[:3]}, DAYS[3]: "new"}
    kept = after.filter(pl.col("session") < DAYS[3])
    assert kept.drop("degraded").equals(SERVED_BEFORE_DEGRADED.conform(before))
    # Nobody told then, and nothing is made up.
    assert kept["degraded"].null_count() == kept.height
    assert after.filter(pl.col("session") == DAYS[3])["degraded"].to_list() == [False] * 3
    # Once is enough: a later run takes them as they are.
    publish(tmp_path, "newer", DAYS[4])
    assert platform.lake.read(SERVED_FORECASTS).filter(pl.col("session") < DAYS[4]).equals(after)


def test_they_are_carried_over_though_no_forecast_can_be_made(tmp_path):
    """A run whose champion cannot serve publishes nothing: what was served must not wait for it."""
    as_it_was(tmp_path, sessions=DAYS[:3])
    assert SHELF.reuse(run_of(platform_at(tmp_path, DAYS[3])), lineage("unknown")) is None
    assert set(served(tmp_path)) == set(DAYS[:3])


def test_of_a_damaged_month_an_older_release_wrote_the_other_months_are_carried_over(tmp_path):
    as_it_was(tmp_path, sessions=DAYS[:4])
    platform = platform_at(tmp_path, DAYS[3])
    (november,) = (platform.lake.root / "served_forecasts" / "files").glob("2022-11-*")
    november.chmod(0o644)
    november.write_bytes(november.read_bytes()[:-1])
    publish(tmp_path, "new", DAYS[4])
    assert served(tmp_path) == {DAYS[3]: f"of {DAYS[3]}", DAYS[4]: "new"}
    assert [event["event"] for event in platform.ledger.read("events")] == ["served_lost"]
