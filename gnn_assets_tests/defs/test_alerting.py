"""What people are told of, each kind by what is really stored, and that nothing damaged stops the rest."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent

from gnn_assets.bars.schema import SYMBOL_STATUS
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import CorruptArtefact
from gnn_assets.core.sessions import SessionCalendar, age
from gnn_assets.defs import alerting, conditions, remembered
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.monitoring.decide import Decision, Episode, Memory, Training
from gnn_assets.monitoring.orders import entry_of
from gnn_assets.monitoring.reasons import CHAIN, Reason, Signal
from gnn_assets.store.ledger import Ledger
from gnn_assets_tests.defs.alert_home import (
    SESSION,
    START,
    Watched,
    damage,
    run_assets,
    store_sources,
    store_symbols,
    watched,
)
from gnn_assets_tests.defs.switching_home import add_candidate, judged, lineage, rows_of
from gnn_assets_tests.defs.test_ended_runs import started


@pytest.fixture
def home(tmp_path):
    with watched(tmp_path) as made:
        yield made


# ---- runs ----------------------------------------------------------------------------------------------------------


def test_a_failed_run_is_told_with_what_its_step_said_and_resolved_once_the_asset_is_made(home):
    home.look()
    run_assets(home.instance, ["forecasts"], sound=["returns"])
    assert home.told(after=5) == ["[critical] run_failed: forecasts"]
    (failure,) = home.found("run_failed")
    assert "forecasts found 3 rows, 20 were expected" in failure.sentence
    run_assets(home.instance, [], sound=["forecasts"])
    assert home.told(after=5) == ["[resolved] run_failed: forecasts"]


def test_what_a_failed_run_never_reached_is_told_with_what_failed_before_it(home):
    run_assets(home.instance, ["returns"], below="correlation_graphs")
    told = {failure.subject: failure.sentence for failure in home.found("run_failed")}
    assert told.keys() == {"returns", "correlation_graphs"}
    assert told["correlation_graphs"].startswith("not reached: returns failed before it")


def test_an_asset_that_fails_again_in_another_run_is_one_episode(home):
    run_assets(home.instance, ["returns"])
    assert len(home.told()) == 1
    run_assets(home.instance, ["returns"])
    assert home.told(after=5) == []


def planning(home: Watched, asset: str) -> dg.DagsterRun:
    """A run under way that is to make an asset."""
    run = started(home.instance, pid=None)
    event = DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
        job_name=run.job_name,
        event_specific_data=AssetMaterializationPlannedData(dg.AssetKey(asset)),
    )
    home.instance.report_dagster_event(event, run.run_id)
    return run


def test_a_run_that_tries_again_resolves_nothing_before_the_asset_is_made(home):
    run_assets(home.instance, ["returns"])
    assert len(home.told()) == 1
    again = planning(home, "returns")
    assert home.told(after=5) == []
    home.instance.report_run_canceled(again)
    assert home.told(after=5) == []
    run_assets(home.instance, [], sound=["returns"])
    assert home.told(after=5) == ["[resolved] run_failed: returns"]


def test_a_run_whose_process_was_gone_says_so(home):
    run = planning(home, "returns")
    home.instance.report_run_failed(run, "The run's process 4711 is gone.")
    (failure,) = home.found("run_failed")
    assert (failure.subject, failure.sentence) == ("returns", "The run's process 4711 is gone.")
    assert failure.evidence == f"run {run.run_id[:8]}"


def test_an_asset_that_was_taken_out_of_the_code_has_not_failed_for_good(home):
    run_assets(home.instance, ["returns", "of_former_times"])
    assert [told.subject for told in home.found("run_failed")] == ["returns"]


def test_a_run_under_way_is_no_failure(home):
    planning(home, "returns")
    assert home.found("run_failed") == []


# ---- symbols, sources, ages ----------------------------------------------------------------------------------------


def test_three_symbols_of_twenty_without_bars_are_one_alert_that_lists_them(home):
    store_symbols(home.platform, dict.fromkeys(("S01", "S07", "S11"), "no source gave it"), of=20)
    assert home.told() == ["[warning] 3 alerts: 3 symbols_failed"]
    assert [told.subject for told in home.found("symbols_failed")] == ["S01", "S07", "S11"]
    body = home.platform.ledger.read("alerts")[-1]["body"]
    assert "warning: symbols_failed S07: no new bars, its last good ones are kept: no source gave it" in body
    store_symbols(home.platform, {}, of=20)
    assert home.told(after=5) == ["[resolved] 3 alerts: 3 symbols_failed"]


def test_a_symbol_that_fails_later_is_told_beside_those_that_people_know_of(home):
    store_symbols(home.platform, {"S01": "no source gave it"}, of=20)
    assert home.told() == ["[warning] symbols_failed: S01"]
    store_symbols(home.platform, {"S01": "no source gave it", "S07": "held back"}, of=20)
    assert home.told(after=5) == ["[warning] symbols_failed: S07"]


def test_damage_to_how_the_symbols_fared_is_not_taken_for_all_being_well(home, tmp_path):
    store_symbols(home.platform, {f"S{number:02d}": "no source gave it" for number in range(5)}, of=20)
    assert home.told() == ["[critical] 6 alerts: 5 symbols_failed, 1 data_short"]
    for path in (home.platform.data / "lake" / SYMBOL_STATUS.name).rglob("*.parquet"):
        path.chmod(0o644)
        path.write_bytes(b"damaged")
    # Another process, which remembers nothing.
    remembered._FOUND.clear()
    assert home.told(after=5) == ["[critical] cannot_look: symbols"]
    assert {one.condition.kind for one in home.look().memory.open} == {"symbols_failed", "data_short", "cannot_look"}


@pytest.mark.parametrize(("failed", "short"), [(4, False), (5, True)])
def test_below_four_fifths_of_the_symbols_it_is_critical(home, failed, short):
    store_symbols(home.platform, {f"S{number:02d}": "no source gave it" for number in range(failed)}, of=20)
    assert [told.severity for told in home.found("data_short")] == ["critical"] * short


def test_a_source_that_is_left_alone_is_told_until_it_is_asked_again(home):
    store_sources(home.platform, massive="open", yahoo="closed")
    assert home.told() == ["[warning] source_open: massive"]
    store_sources(home.platform, massive="half_open", yahoo="closed")
    assert home.told(after=5) == []
    store_sources(home.platform, massive="closed", yahoo="closed")
    assert home.told(after=5) == ["[resolved] source_open: massive"]


def test_whatever_day_weights_end_on_the_week_s_challenger_has_a_day_left_before_anybody_is_told():
    ages = build_config("live").ages
    assert {ages[name].age_hours for name in (*CHAIN, "mlflow_mirror")} == {ages["champion"].age_hours}
    calendar = SessionCalendar.build(
        "XNYS", first=date(2010, 1, 4), until=date(2024, 12, 31), grace=timedelta(minutes=30)
    )
    decided = [calendar.available_at(session) + timedelta(minutes=10) for session in calendar.sessions]
    for place, session in enumerate(calendar.sessions[:-20]):
        olds = (age(session, now=moment, calendar=calendar) for moment in decided[place:])
        ordered = next(old for old in olds if old > timedelta(hours=ages["gnn_weights"].age_hours))
        assert ordered + timedelta(days=1) <= timedelta(hours=ages["champion"].age_hours, minutes=30), session


@pytest.mark.parametrize(("hours", "told"), [(170.0, False), (288.0, False), (289.0, True), (None, True)])
def test_weights_are_told_once_they_are_older_than_a_champion_may_be(home, monkeypatch, hours, told):
    row = {"asset": "gnn_weights", "state": "stale", "age_hours": hours, "limit_hours": 168.0, "data_end": "2022-12-16"}
    monkeypatch.setattr(conditions, "platform_status", lambda _: {"assets": [row]})
    assert [found.subject for found in home.found("stale")] == ["gnn_weights"] * told


def test_forecasts_older_than_they_may_be_are_critical_and_what_was_never_made_is_no_alarm(home):
    assert home.found("stale") == []
    version = add_candidate(home.platform, 1)
    home.platform.champion.promote(
        judged(home.platform, version, rule="bootstrap"),
        expected=None,
        lineage=lineage(),
        run_id="run",
        seen=None,
        tell=lambda _moves: None,
    )
    rows = rows_of(FORECASTS, degraded=[False] * 5, symbol=list("ABCDE"))
    home.platform.lake.publish(FORECASTS, rows, lineage=None, data_end=date(2022, 12, 5))
    stale = {told.subject: told for told in home.found("stale")}
    assert stale["forecasts"].severity == stale["champion"].severity == "critical"
    assert stale["gnn_weights"].severity == "warning"
    assert "data to 2022-12-05" in stale["forecasts"].evidence


# ---- decisions -----------------------------------------------------------------------------------------------------


def decided(home: Watched, *signals: Signal, training: Training | None = None) -> None:
    """A decision on which some alarms last."""
    episodes = {signal.reason: Episode(SESSION, signal, answered=False) for signal in signals}
    decision = Decision("none", signals, "", Memory(episodes, training))
    home.platform.ledger.append("decisions", entry_of(decision, session=SESSION, now=START, run_id="run"))


def signal(reason: Reason, asset: str = "graph_drift") -> Signal:
    return Signal(reason, asset, 3.4, 2.1, "above", "60 sessions", "2022-12-28")


def test_drift_and_other_alarms_are_told_while_the_newest_decision_has_them(home):
    decided(home, signal(Reason.GRAPH_DRIFT), signal(Reason.BAD_OUTPUT, "forecasts"))
    assert home.told() == ["[critical] 2 alerts: 1 bad_output, 1 graph_drift"]
    (drift,) = home.found("graph_drift")
    assert drift.sentence == "graph_drift 3.4 > 2.1 over 60 sessions, since 2022-12-28"
    decided(home)
    assert home.told(after=5) == ["[resolved] 2 alerts: 1 bad_output, 1 graph_drift"]


def test_ages_are_told_once_and_not_again_as_alarms_of_the_decision(home):
    decided(home, signal(Reason.GRAPH_STALE), signal(Reason.WEIGHTS_STALE), signal(Reason.DEADLINE))
    assert home.told() == []


def trained(home: Watched, *well: bool) -> None:
    for number, good in enumerate(well, start=1):
        event = {"asset": "gnn_weights", "order": number, "attempt": 1, "run_id": "run"}
        home.platform.ledger.append("events", {"event": "order_taken", **event})
        if good:
            home.platform.ledger.append("events", {"event": "order_answered", **event, "version": "v"})


@pytest.mark.parametrize(
    ("well", "told"),
    [
        ([False] * 4, []),  # too few
        ([True] * 4 + [False], ["4 of the last 5 trainings ended well, below 90%"]),
        ([True] * 9 + [False], []),  # nine tenths
        ([False] * 9 + [True] * 10, []),  # long ago
    ],
)
def test_trainings_that_end_badly_too_often_are_told(home, well, told):
    trained(home, *well)
    assert [one.sentence for one in home.found("training_failing")] == told


def test_a_training_under_way_has_not_failed(home):
    trained(home, *[True] * 5, False)
    asked = Training(6, SESSION, START, 1, (signal(Reason.GRAPH_DRIFT),))
    decided(home, training=asked)
    assert home.found("training_failing") == []
    decided(home, training=replace(asked, state="failed", ended_at=START))
    assert len(home.found("training_failing")) == 1


# ---- what was served -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("net", "told"), [(-0.0199, 0), (-0.02, 0), (-0.0201, 1), (0.03, 0)])
def test_a_loss_beyond_two_per_cent_on_one_session_is_told_once(home, monkeypatch, net, told):
    home.look()
    score(monkeypatch, net)
    titles = home.told(after=5)
    assert titles == ["[critical] daily_loss: forecasts"] * told
    assert home.told(after=3600) == []


def score(monkeypatch, *nets: float) -> None:
    """What was served is scored up to a session, one return a day."""
    sessions = [SESSION + timedelta(days=day) for day in range(len(nets))]
    earned = pl.DataFrame({"session": sessions, "net": list(nets), "net_equal_weight": [-0.01] * len(nets)})
    version = f"v{len(nets)}"
    found = {"forecast_scores": version}
    monkeypatch.setattr(conditions, "version_of", lambda _platform, asset: found.get(asset))
    monkeypatch.setattr(conditions, "served_portfolio", lambda _platform, **_version: earned)


def test_of_sessions_that_become_known_at_once_each_loss_is_told_and_none_of_before_the_first_look(home, monkeypatch):
    score(monkeypatch, -0.05)
    assert home.told() == []
    score(monkeypatch, -0.05, -0.03, -0.01, -0.04, 0.01)
    assert home.told(after=5) == ["[critical] 2 alerts: 2 daily_loss"]
    assert [told.key for told in home.found("daily_loss")] == ["2022-12-29", "2022-12-31"]
    score(monkeypatch, -0.05, -0.03, -0.01, -0.04, 0.01, -0.02, -0.06, 0.0)
    assert home.told(after=5) == ["[critical] daily_loss: forecasts"]


def test_where_the_scores_cannot_be_read_at_the_first_look_events_are_told_all_the_same(home, monkeypatch):
    def damaged(_platform: Any, **_version: Any) -> pl.DataFrame:
        raise CorruptArtefact.of("forecast_scores", expected="a table", was="damage", do="materialize it anew")

    score(monkeypatch, -0.05)
    monkeypatch.setattr(conditions, "served_portfolio", damaged)
    assert home.told() == ["[critical] cannot_look: returns"]
    score(monkeypatch, -0.05)
    home.platform.ledger.append("events", {"event": "promoted", **MOVE})
    assert home.told(after=5)[0].startswith("[resolved] cannot_look: returns")
    assert [told.kind for told in home.look().conditions] == ["promoted"]


def test_forecasts_by_somebody_else_than_the_champion_are_told_until_it_serves_again(home):
    serves = {"asset": "forecasts", "champion": "v1", "model": "ridge", "served_by": "ridge/refit"}
    home.look()
    home.platform.ledger.append("events", {"event": "degraded", **serves, "reason": "ridge serves: NaN from mlp"})
    assert home.told(after=5) == ["[critical] degraded: forecasts"]
    home.platform.ledger.append("events", {"event": "recovered", **serves, "reason": "mlp serves"})
    assert home.told(after=5) == ["[resolved] degraded: forecasts"]


# ---- events --------------------------------------------------------------------------------------------------------

MOVE = {"asset": "champion", "candidate": "abcdef0123456789", "champion": None, "rule": "replace", "reason": "better"}
EVENTS = {
    "refused": ({**MOVE, "reason": "not superior"}, "info"),
    "promoted": (MOVE, "info"),
    "confirmed": ({**MOVE, "by": "ada@desk"}, "info"),
    "rolled_back": ({**MOVE, "by": "the platform"}, "critical"),
    "served_lost": ({"asset": "forecasts", "reason": "2022-11 is damaged"}, "critical"),
    "mirror_failed": ({"asset": "mlflow_mirror", "reason": "no disk"}, "warning"),
    "bars_revised": (
        {"asset": "market_bars", "symbols": [["AAPL", "yahoo", "split", 3]], "forecasts_touched": [], "stored": True},
        "warning",
    ),
}


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_is_told_once_and_what_happened_before_the_first_look_is_history(home, kind):
    event, severity = EVENTS[kind]
    home.platform.ledger.append("events", {"event": kind, **event})
    assert home.told() == []
    home.platform.ledger.append("events", {"event": kind, **event})
    (title,) = home.told(after=5)
    assert title.startswith(f"[{severity}] {kind}: ")
    assert home.told(after=3600) == []


def test_a_persons_rollback_is_no_alarm_of_the_platforms_own(home):
    home.look()
    home.platform.ledger.append("events", {"event": "rolled_back", **MOVE, "by": "ada@desk"})
    (title,) = home.told(after=5)
    assert title.startswith("[warning] rolled_back")


# ---- what cannot be looked at --------------------------------------------------------------------------------------


def test_a_damaged_ledger_is_told_stops_nothing_else_and_ends_no_episode(home):
    home.platform.ledger.append("events", {"event": "promoted", **MOVE})
    decided(home, signal(Reason.GRAPH_DRIFT))
    assert home.told() == ["[warning] graph_drift: graph_drift"]
    damage(home.platform.ledger, "decisions")
    store_sources(home.platform, massive="open")
    (title,) = home.told(after=5)
    assert title.startswith("[critical] 3 alerts: 2 cannot_look, 1 source_open")
    assert home.look(after=3600).titles == []
    unseen = {told.subject: told.sentence for told in home.found("cannot_look")}
    assert unseen.keys() == {"decisions", "trainings"}
    assert "expected a line that matches its checksum" in unseen["decisions"]


def test_without_readable_events_no_event_is_history_yet(home):
    home.platform.ledger.append("events", {"event": "promoted", **MOVE})
    good = (home.platform.ledger.folder / "events.jsonl").read_bytes()
    damage(home.platform.ledger, "events")
    assert "cannot_look" in home.told()[0]
    (home.platform.ledger.folder / "events.jsonl").write_bytes(good)
    assert home.told(after=5)[0].startswith("[resolved]")
    home.platform.ledger.append("events", {"event": "promoted", **MOVE})
    assert len(home.told(after=5)) == 1


def test_a_damaged_ledger_of_alerts_fails_the_look_so_that_its_heartbeat_stops(home):
    run_assets(home.instance, ["returns"])
    home.told()
    damage(home.platform.ledger, "alerts")
    with pytest.raises(CorruptArtefact, match=r"alerts\.jsonl, line 1"):
        home.look(after=5)


# ---- who else looks -----------------------------------------------------------------------------------------------


def test_two_looks_at_the_same_moment_make_one_message(home, monkeypatch):
    store_sources(home.platform, massive="open")
    home.look()
    made: list[list[str]] = []
    whole = alerting.step

    def meanwhile(*given: Any, **named: Any) -> list[dict[str, Any]]:
        """Between a look's reading and its entering, another one enters."""
        found = whole(*given, **named)
        monkeypatch.setattr(alerting, "step", whole)
        made.append(home.look().titles)
        return found

    monkeypatch.setattr(alerting, "step", meanwhile)
    made.append(home.look(after=3).titles)
    assert made == [["[warning] source_open: massive"], []]
    assert [entry["entry"] for entry in home.platform.ledger.read("alerts")] == ["started", "seen", "alert"]


# ---- cost ----------------------------------------------------------------------------------------------------------


def test_where_nothing_is_new_nothing_is_entered_and_no_ledger_is_read_again(home, monkeypatch):
    home.platform.ledger.append("events", {"event": "promoted", **MOVE})
    run_assets(home.instance, ["returns"])
    home.told()
    home.look(after=5)
    size = (home.platform.ledger.folder / "alerts.jsonl").stat().st_size
    read: list[str] = []
    whole = Ledger.read
    monkeypatch.setattr(Ledger, "read", lambda self, kind: read.append(kind) or whole(self, kind))
    for _ in range(3):
        assert home.look(after=5).entries == ()
    assert read == []
    assert (home.platform.ledger.folder / "alerts.jsonl").stat().st_size == size


def test_a_replays_look_goes_by_its_own_time(home):
    run_assets(home.instance, ["returns"])
    first = home.look()
    assert first.entries[0]["at"] == START.isoformat()
    (alert,) = home.look(after=timedelta(days=1).total_seconds()).entries
    assert alert["at"] == (START + timedelta(days=1)).isoformat()
    assert date.fromisoformat(alert["at"][:10]) == date(2026, 3, 3)
