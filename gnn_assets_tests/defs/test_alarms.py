"""What is measured, on stored artefacts as they are; and what a decision does to a champion that is beaten."""

import shutil
import sys
from datetime import date, timedelta
from functools import cache
from math import inf, isnan
from pathlib import Path

import polars as pl
import pytest

from gnn_assets.bars.restatements import CORRECTED, REBASED
from gnn_assets.bars.schema import MARKET_BARS, RETURNS, UNIVERSE
from gnn_assets.core.clock import SnapshotClock
from gnn_assets.core.config import build_config
from gnn_assets.core.hashing import json_hash
from gnn_assets.core.settings import Settings
from gnn_assets.defs import deciding, switching
from gnn_assets.defs.alarms import MEASURED_CHECK, alarm_checks, alarms
from gnn_assets.defs.io import _published
from gnn_assets.defs.models import STAGES as MODEL_STAGES
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import StageRun
from gnn_assets.defs.switching import promote_by_hand
from gnn_assets.forecasts.schema import FORECAST_SCORES, FORECASTS
from gnn_assets.graphs.schema import CORRELATION_GRAPHS, GRAPH_DRIFT
from gnn_assets.monitoring.reasons import Reason
from gnn_assets.monitoring.schema import MODEL_DRIFT
from gnn_assets.registry.switch import PLATFORM, ROLLBACK
from gnn_assets.store.versions import Lineage
from gnn_assets_tests.defs import switching_home

# Where the snapshot of the profile `test` stands, the session before it, and one long before.
NEWEST, BEFORE, LONG_AGO = date(2022, 12, 28), date(2022, 12, 27), date(2022, 6, 1)
(DECISION,) = deciding.STAGES
(WEIGHTS,) = (stage for stage in MODEL_STAGES if stage.name == "gnn_weights")
NO_LINEAGE = Lineage(inputs={}, code_version="c", config_hash="h")
WINDOW = build_config("test").live.window_sessions


@cache
def calendar():
    return Platform(settings=Settings(profile="test"), config=build_config("test")).calendar


def platform_at(home, session=NEWEST, **sections):
    """A platform whose clock stands where a session is known."""
    config = build_config("test", sections)
    platform = Platform(settings=Settings(profile="test", home=home), config=config)
    platform.calendar, platform.clock = calendar(), SnapshotClock(calendar().available_at(session))
    return platform


def run_of(platform):
    """A run of the decision, begun now."""
    published = {name: _published(platform, name) for name in DECISION.looks_at}
    return StageRun(
        platform=platform,
        asset=DECISION.name,
        inputs={name: version for name, version in published.items() if version},
        lineage=NO_LINEAGE,
        symbols=(),
        run_id="run",
        log=lambda _: None,
    )


def measured(platform):
    return alarms(run_of(platform))


def signals(platform):
    return {signal.reason: signal for signal in measured(platform).signals}


def publish(platform, table, rows=None, *, data_end=NEWEST):
    rows = table.empty() if rows is None else rows
    return platform.lake.publish(table, rows, lineage=NO_LINEAGE, data_end=data_end)


def train(platform, *, data_end=NEWEST, lineage=NO_LINEAGE):
    """Weights of a few numbers, up to a session."""
    version = platform.weights.save({}, {"data_end": str(data_end)})
    platform.weights.publish(version, lineage=lineage)
    return version


def graph_drift(statistic, limit=2.0):
    rows = {name: [None] for name in GRAPH_DRIFT.columns} | {
        "session": [NEWEST],
        "statistic": [statistic],
        "limit": [limit],
        "alarm": [True],
        "reference": [LONG_AGO],
        "calibrated_on": [LONG_AGO],
        "compared": [3],
        "returns_hash": ["hash"],
    }
    return GRAPH_DRIFT.conform(pl.DataFrame(rows, schema=dict(GRAPH_DRIFT.columns)))


# ---- how old things are ----------------------------------------------------------------------------------------------


def test_a_graph_behind_its_returns_is_stale_by_the_market_s_hours(tmp_path):
    platform = platform_at(tmp_path)
    publish(platform, RETURNS)
    publish(platform, CORRELATION_GRAPHS, data_end=date(2022, 12, 22))
    told = signals(platform)[Reason.GRAPH_STALE]
    lacking = calendar().available_at(date(2022, 12, 23))
    assert told.value == pytest.approx((platform.clock.now() - lacking) / timedelta(hours=1))
    assert told.limit == platform.config.ages["correlation_graphs"].age_hours
    assert told.firing
    assert "data to 2022-12-22, 2022-12-28 to be had" in told.evidence


@pytest.mark.parametrize("end", [NEWEST, LONG_AGO])
def test_a_graph_level_with_its_returns_is_not_however_old(tmp_path, end):
    """There is nothing newer to build it from: what is late are the bars, and those are told."""
    platform = platform_at(tmp_path)
    for table in (MARKET_BARS, RETURNS, CORRELATION_GRAPHS):
        publish(platform, table, data_end=end)
    told = signals(platform)
    assert told[Reason.GRAPH_STALE].value == 0
    assert told[Reason.DEADLINE].firing == (end == LONG_AGO)


def test_no_graph_at_all_is_a_stale_one_once_there_are_returns(tmp_path):
    platform = platform_at(tmp_path)
    assert not signals(platform)[Reason.GRAPH_STALE].firing
    publish(platform, RETURNS)
    assert signals(platform)[Reason.GRAPH_STALE].firing


def test_no_weights_at_all_are_stale_ones_once_there_is_a_graph(tmp_path):
    platform = platform_at(tmp_path)
    assert not signals(platform)[Reason.WEIGHTS_STALE].firing
    publish(platform, CORRELATION_GRAPHS)
    assert signals(platform)[Reason.WEIGHTS_STALE].firing
    train(platform)
    assert not signals(platform)[Reason.WEIGHTS_STALE].firing


def test_weights_behind_the_graph_are_stale_after_a_week_of_the_market(tmp_path):
    platform = platform_at(tmp_path)
    publish(platform, CORRELATION_GRAPHS)
    train(platform, data_end=BEFORE)
    assert not signals(platform)[Reason.WEIGHTS_STALE].firing
    train(platform, data_end=LONG_AGO)
    assert signals(platform)[Reason.WEIGHTS_STALE].firing


@pytest.mark.parametrize("damaged", ["current", "artefacts/{version}/manifest.json"])
@pytest.mark.parametrize("how", ["overwritten", "gone"])
def test_damaged_weights_stop_nothing_and_count_as_none(tmp_path, damaged, how):
    platform = platform_at(tmp_path)
    publish(platform, CORRELATION_GRAPHS)
    publish(platform, GRAPH_DRIFT, graph_drift(3.4))
    version = train(platform)
    whole = signals(platform)
    path = platform.weights.root / damaged.format(version=version)
    assert path.is_file()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(b"damaged")
    told = measured(platform_at(tmp_path))
    assert told.damaged == ()
    assert {signal.reason for signal in told.signals} == set(whole)
    (stale,) = (signal for signal in told.signals if signal.reason is Reason.WEIGHTS_STALE)
    assert stale.firing
    assert "data to nothing" in stale.evidence
    assert next(signal for signal in told.signals if signal.reason is Reason.GRAPH_DRIFT) == whole[Reason.GRAPH_DRIFT]


# ---- what is damaged -------------------------------------------------------------------------------------------------


def checks(told):
    return {check.name: check for check in alarm_checks(told)}


def test_a_damaged_table_is_told_and_stops_no_other_alarm(tmp_path):
    platform = platform_at(tmp_path)
    publish(platform, RETURNS)  # and no graph
    publish(platform, GRAPH_DRIFT, graph_drift(3.4))
    whole = measured(platform)
    assert checks(whole)[MEASURED_CHECK].passed
    assert not checks(whole)[Reason.GRAPH_DRIFT].passed
    (file,) = (tmp_path / "data" / "lake" / GRAPH_DRIFT.name / "files").iterdir()
    file.write_bytes(b"damaged")
    told = measured(platform_at(tmp_path))
    check = checks(told)[MEASURED_CHECK]
    assert (check.passed, check.value, check.severity) == (False, 1, "warn")
    assert GRAPH_DRIFT.name in check.offenders[0]
    assert not checks(told)[Reason.GRAPH_STALE].passed
    assert checks(told)[Reason.GRAPH_DRIFT].value == "not known yet"
    # NaN is not equal to itself, and its text is.
    expected = [str(signal) for signal in whole.signals if signal.reason is not Reason.GRAPH_DRIFT]
    assert [str(signal) for signal in told.signals] == expected


def test_every_check_is_answered_whatever_is_there(tmp_path):
    assert tuple(checks(measured(platform_at(tmp_path)))) == DECISION.checks(build_config("test"))


@pytest.mark.parametrize("value", [inf, -inf])
def test_what_is_farther_than_any_number_is_told_and_entered(tmp_path, value):
    platform = platform_at(tmp_path)
    publish(platform, GRAPH_DRIFT, graph_drift(value))
    run = run_of(platform)
    (told,) = (signal for signal in alarms(run).signals if signal.reason is Reason.GRAPH_DRIFT)
    assert told.value == (sys.float_info.max if value > 0 else -sys.float_info.max)
    assert told.firing == (value > 0)
    decided = DECISION.compute(run)
    DECISION.shelf.publish(run, decided, lineage=NO_LINEAGE, data_end=NEWEST)
    (entry,) = platform.ledger.read("decisions")
    assert [signal["reason"] for signal in entry["signals"]] == (["graph_drift"] if value > 0 else [])
    assert DECISION.report(run, decided).checks == alarm_checks(decided.measured)


@pytest.mark.parametrize(("statistic", "limit"), [(None, 2.0), (3.0, None), (None, None)])
def test_a_drift_that_is_not_known_yet_is_no_alarm(tmp_path, statistic, limit):
    platform = platform_at(tmp_path)
    publish(platform, GRAPH_DRIFT, graph_drift(statistic, limit))
    told = signals(platform)[Reason.GRAPH_DRIFT]
    assert not told.firing
    assert (isnan(told.value), isnan(told.limit)) == (statistic is None, limit is None)


def test_drift_of_the_newest_session_is_what_counts(tmp_path):
    platform = platform_at(tmp_path)
    rows = {name: ["x"] for name in MODEL_DRIFT.columns} | {
        "kind": ["feature_drift"],
        "limit": [2.0],
        "reference_first": [None],
        "reference_last": [None],
    }
    frames = [
        pl.DataFrame({**rows, "session": [session], "value": [value]}, schema=dict(MODEL_DRIFT.columns))
        for session, value in ((BEFORE, 9.0), (NEWEST, 1.0))
    ]
    publish(platform, MODEL_DRIFT, MODEL_DRIFT.conform(pl.concat(frames)))
    assert signals(platform)[Reason.FEATURE_DRIFT].value == 1.0


# ---- what the broker said --------------------------------------------------------------------------------------------


def universe(platform, symbols="ABCD", tier="core"):
    rows = {
        "symbol": list(symbols),
        "from_session": [LONG_AGO] * len(symbols),
        "to_session": [None] * len(symbols),
        "tier": [tier] * len(symbols),
        "sector": ["s"] * len(symbols),
        "survivor_only": [False] * len(symbols),
        "exchange": ["XNYS"] * len(symbols),
        "priority": range(len(symbols)),
    }
    publish(platform, UNIVERSE, UNIVERSE.conform(pl.DataFrame(rows, schema=dict(UNIVERSE.columns))))


def report(home, *, excess_bps):
    """A broker's report of 500 sessions, whose newest window cost so much more than the model says."""
    sessions = calendar().between(date(2020, 1, 2), NEWEST)[-500:]
    late = sessions[-build_config("test").drift.window]
    lines = [f"{session},A,10000,{3.5 + (excess_bps if session >= late else 0)}" for session in sessions]
    (home / "fills.csv").write_text("\n".join(["session,symbol,traded,paid", *lines]), encoding="utf-8")


def test_where_nobody_reports_fills_costs_are_not_measured(tmp_path):
    platform = platform_at(tmp_path)
    universe(platform)
    report(tmp_path, excess_bps=5)
    told = measured(platform)
    assert checks(told)[Reason.COST_DRIFT].description == "Nothing is there to measure it on."
    assert checks(told)[MEASURED_CHECK].passed


@pytest.mark.parametrize("absolute", [False, True])
def test_a_rise_of_costs_is_an_alarm_and_costs_as_modelled_are_none(tmp_path, absolute):
    """From the home or absolute; before there is a universe nobody knows whose trades these are."""
    name = str(tmp_path / "fills.csv") if absolute else "fills.csv"
    platform = platform_at(tmp_path, live={"fills": name})
    report(tmp_path, excess_bps=0)
    assert Reason.COST_DRIFT not in signals(platform)
    assert checks(measured(platform))[MEASURED_CHECK].passed
    universe(platform)
    quiet = signals(platform)[Reason.COST_DRIFT]
    assert (quiet.value, quiet.firing) == (pytest.approx(0, abs=1e-9), False)
    report(tmp_path, excess_bps=5)
    risen = signals(platform)[Reason.COST_DRIFT]
    assert (risen.value, risen.firing) == (pytest.approx(5), True)
    assert risen.evidence != quiet.evidence


def test_a_report_that_is_not_in_order_is_told_and_stops_no_other_alarm(tmp_path):
    platform = platform_at(tmp_path, live={"fills": "fills.csv"})
    universe(platform)
    publish(platform, RETURNS)
    whole = measured(platform_at(tmp_path))
    told = measured(platform)
    assert [str(signal) for signal in told.signals] == [str(signal) for signal in whole.signals]
    assert "fills.csv: expected a file, was none" in checks(told)[MEASURED_CHECK].offenders[0]
    (tmp_path / "fills.csv").write_text("session,symbol,traded,paid\n2022-12-27,Z,1,1\n", encoding="utf-8")
    assert "row 1, column 'symbol'" in checks(measured(platform))[MEASURED_CHECK].offenders[0]


# ---- the recipe ------------------------------------------------------------------------------------------------------


def recipe_of(platform, **changed):
    now = {
        "code_version": WEIGHTS.code_version(platform.config),
        "config_hash": json_hash(platform.config.slice(*WEIGHTS.sections)),
    }
    return Lineage(inputs={}, **(now | changed))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({}, (0, 0)), ({"code_version": "old"}, (1, 0)), ({"config_hash": "old"}, (0, 1))],
)
def test_weights_of_other_code_or_configuration_are_told_apart(tmp_path, changed, expected):
    platform = platform_at(tmp_path)
    train(platform, lineage=recipe_of(platform, **changed))
    told = signals(platform)
    assert (told[Reason.CODE_CHANGED].value, told[Reason.CONFIG_CHANGED].value) == expected


def test_another_setting_is_another_alarm(tmp_path):
    platform = platform_at(tmp_path)
    train(platform, lineage=recipe_of(platform))
    told = [
        signals(platform_at(tmp_path, models={"training": {"epochs": epochs}}))[Reason.CONFIG_CHANGED]
        for epochs in (7, 8)
    ]
    assert all(signal.firing for signal in told)
    assert told[0].subject != told[1].subject
    # What the weights are not made from changes nothing.
    assert not signals(platform_at(tmp_path, gate={"max_rmse_ratio": 9.0}))[Reason.CONFIG_CHANGED].firing


def test_without_weights_nothing_has_changed(tmp_path):
    told = signals(platform_at(tmp_path))
    assert isnan(told[Reason.CODE_CHANGED].value)
    assert not told[Reason.CONFIG_CHANGED].firing


# ---- events ----------------------------------------------------------------------------------------------------------


def revise(platform, kind, *symbols):
    rows = [(symbol, "source", kind, 1) for symbol in symbols]
    platform.ledger.append("events", {"event": "bars_revised", "asset": "market_bars", "symbols": rows})


def test_corrected_symbols_of_the_universe_count_and_rebased_ones_do_not(tmp_path):
    platform = platform_at(tmp_path)
    assert isnan(signals(platform)[Reason.BARS_REVISED].value)
    universe(platform)
    assert signals(platform)[Reason.BARS_REVISED].value == 0
    revise(platform, REBASED, "A", "B", "C")
    assert not signals(platform)[Reason.BARS_REVISED].firing
    revise(platform, CORRECTED, "A", "Z")
    revise(platform, CORRECTED, "A", "B")
    told = signals(platform)[Reason.BARS_REVISED]
    assert (told.value, told.firing) == (0.5, True)
    assert told.evidence == "A, B, Z"


def test_corrections_count_since_the_newest_session_was_complete(tmp_path):
    universe(platform_at(tmp_path))
    before = platform_at(tmp_path)
    before.clock = SnapshotClock(calendar().available_at(NEWEST) - timedelta(microseconds=1))
    revise(before, CORRECTED, "A")
    assert signals(before)[Reason.BARS_REVISED].value == 0.25
    # The session that is complete since then begins anew.
    assert signals(platform_at(tmp_path))[Reason.BARS_REVISED].value == 0
    revise(platform_at(tmp_path), CORRECTED, "B")
    assert signals(platform_at(tmp_path))[Reason.BARS_REVISED].evidence == "B"


def tell(platform, event, asset=FORECASTS.name):
    platform.ledger.append("events", {"event": event, "asset": asset, "reason": f"because {event}"})


def test_forecasts_refused_or_failed_count_until_they_are_made(tmp_path):
    platform = platform_at(tmp_path)
    assert isnan(signals(platform)[Reason.BAD_OUTPUT].value)
    tell(platform, "stage_refused")
    tell(platform, "stage_failed")
    tell(platform, "stage_failed", asset="returns")
    tell(platform, "shadow_left_out")
    told = signals(platform)[Reason.BAD_OUTPUT]
    assert (told.value, told.firing) == (2.0, True)
    assert told.evidence == "because stage_failed"
    publish(platform, FORECASTS)
    assert signals(platform)[Reason.BAD_OUTPUT].value == 2.0
    tell(platform, "made")
    assert signals(platform)[Reason.BAD_OUTPUT].value == 0.0
    tell(platform, "stage_refused")
    assert signals(platform)[Reason.BAD_OUTPUT].value == 1.0


# ---- the champion before ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def switched(tmp_path_factory):
    """A home whose gate promoted a first candidate, then a second, and refused a third; their versions."""
    home = tmp_path_factory.mktemp("switched") / "home"
    return home, switching_home.fill(home)


@pytest.fixture
def reigns(switched, tmp_path):
    """That home, to be changed."""
    home, versions = switched
    return Path(shutil.copytree(home, tmp_path / "home")), versions


def lived(sessions):
    """The session at which a champion promoted at NEWEST has so many sessions behind it, that one included."""
    return calendar().offset(NEWEST, sessions - 1)


def judge(home, *, sessions, champion, before, better=0.05):
    """Plants the ICs of both on every session since the promotion: the predecessor is better by so much, on the whole.

    None of it was served: what is shown here is who is compared with whom, not what was earned.
    """
    days = calendar().between(NEWEST, lived(sessions))
    rows = [
        {"session": day, "version": version, "ic_share": 0.02 + (place % 5) / 100 + (version == before) * better}
        for place, day in enumerate(days)
        for version in (champion, before)
    ]
    blank = {
        "symbol": pl.lit("A"),
        "horizon": pl.lit(5),
        "served": pl.lit(value=False),
        "score": pl.lit(0.0),
        "target_end": pl.col("session"),
    }
    frame = pl.DataFrame(rows, schema_overrides={"session": pl.Date}).with_columns(**blank)
    missing = {
        name: pl.lit(None, dtype=kind) for name, kind in FORECAST_SCORES.columns.items() if name not in frame.columns
    }
    frame = frame.with_columns(**missing).select(FORECAST_SCORES.columns.keys()).cast(dict(FORECAST_SCORES.columns))
    publish(platform_at(home, lived(sessions)), FORECAST_SCORES, FORECAST_SCORES.conform(frame))


def decide_and_publish(platform, *, meanwhile=lambda: None):
    run = run_of(platform)
    decided = DECISION.compute(run)
    meanwhile()
    DECISION.shelf.publish(run, decided, lineage=NO_LINEAGE, data_end=platform.last_session)
    return decided


def beaten_in(decided):
    return [signal for signal in decided.measured.signals if signal.reason is Reason.CHAMPION_BEATEN]


def test_a_champion_that_the_one_before_it_has_beaten_is_gone_back_from(reigns):
    home, (first, second, _) = reigns
    judge(home, sessions=WINDOW, champion=second, before=first)
    platform = platform_at(home, lived(WINDOW))
    assert platform.champion.current().version == second
    (beaten,) = beaten_in(decide_and_publish(platform))
    assert beaten.firing
    assert beaten.subject == second
    restored = platform_at(home, lived(WINDOW)).champion.current()
    assert (restored.version, restored.rule, restored.by) == (first, ROLLBACK, PLATFORM)
    assert restored.reason.startswith("champion_beaten ")
    assert "0.05" in restored.reason
    # The one who is back is not held against the one that was gone back from.
    assert beaten_in(decide_and_publish(platform_at(home, lived(WINDOW)))) == []
    assert len(platform.champion.moves()) == 3


def test_a_champion_that_a_person_has_confirmed_stays_though_it_was_beaten(reigns):
    home, (first, second, _) = reigns
    promote_by_hand(platform_at(home, lived(WINDOW)), second, reason="I have my reasons")
    judge(home, sessions=WINDOW, champion=second, before=first)
    platform = platform_at(home, lived(WINDOW))
    assert beaten_in(decide_and_publish(platform)) == []
    assert platform.champion.current().version == second


def test_nobody_but_the_one_that_has_beaten_it_takes_its_place(reigns, monkeypatch):
    home, (first, second, third) = reigns
    judge(home, sessions=WINDOW, champion=second, before=first)
    platform = platform_at(home, lived(WINDOW))
    # The one before can serve no more; another is there and whole, and has beaten nobody.
    other = switching.record_of(platform, third, tables=switching.scored(platform)[third])
    monkeypatch.setattr(switching, "former_champions", lambda _moves: [other])
    (beaten,) = beaten_in(decide_and_publish(platform))
    assert beaten.firing
    assert platform.champion.current().version == second


@pytest.mark.parametrize(("sessions", "better"), [(WINDOW - 1, 0.05), (WINDOW, 0.0), (WINDOW, -0.05)])
def test_before_the_first_look_or_without_a_difference_the_champion_stays(reigns, sessions, better):
    home, (first, second, _) = reigns
    judge(home, sessions=sessions, champion=second, before=first, better=better)
    platform = platform_at(home, lived(sessions))
    (beaten,) = beaten_in(decide_and_publish(platform))
    assert not beaten.firing
    assert isnan(beaten.value) == (sessions < WINDOW)
    assert platform.champion.current().version == second


def test_another_champion_put_in_place_since_the_look_is_left_there(reigns):
    home, (first, second, third) = reigns
    judge(home, sessions=WINDOW, champion=second, before=first)
    platform = platform_at(home, lived(WINDOW))

    def meanwhile():
        promote_by_hand(platform_at(home, lived(WINDOW)), third, reason="a person knows better")

    (beaten,) = beaten_in(decide_and_publish(platform, meanwhile=meanwhile))
    assert beaten.firing
    assert platform_at(home, lived(WINDOW)).champion.current().version == third


@pytest.mark.parametrize(("followed", "expected"), [(WINDOW, 1), (WINDOW - 1, 0)])
def test_the_one_before_is_held_against_for_as_long_as_it_is_followed(reigns, followed, expected):
    home, (first, second, _) = reigns
    judge(home, sessions=WINDOW, champion=second, before=first)
    platform = platform_at(home, lived(WINDOW), live={"shadow_sessions": followed})
    assert len(beaten_in(decide_and_publish(platform))) == expected
    assert (platform.champion.current().version == first) == (expected == 1)


def test_sessions_before_the_promotion_do_not_count(reigns):
    """With one of them there would be enough for a look; but one of the two was served then, and chosen by it."""
    home, (first, second, _) = reigns
    judge(home, sessions=WINDOW, champion=second, before=first)
    platform = platform_at(home, lived(WINDOW))
    moved = pl.when(pl.col("session") == lived(WINDOW)).then(pl.lit(BEFORE)).otherwise(pl.col("session"))
    rows = platform.lake.read(FORECAST_SCORES).with_columns(session=moved)
    publish(platform, FORECAST_SCORES, FORECAST_SCORES.conform(rows))
    (beaten,) = beaten_in(decide_and_publish(platform))
    assert isnan(beaten.value)
    assert platform.champion.current().version == second


def test_a_champion_that_a_person_put_there_is_not_measured_against_the_one_before(reigns):
    home, (_, second, third) = reigns
    promote_by_hand(platform_at(home), third, reason="a person knows better")
    judge(home, sessions=WINDOW, champion=third, before=second)
    platform = platform_at(home, lived(WINDOW))
    assert beaten_in(decide_and_publish(platform)) == []
    assert platform.champion.current().version == third
