"""The loop without a daemon: what is asked for, when, how often, and what it says was the reason."""

import random
from datetime import timedelta
from itertools import pairwise

import dagster as dg
import pytest

from gnn_assets.defs import deciding
from gnn_assets.defs.stage import TableShelf
from gnn_assets.defs.why import made_by_itself
from gnn_assets.monitoring.reasons import Reason
from gnn_assets.store.ledger import Ledger
from gnn_assets_tests.defs.loop_home import BY_ITSELF, Loop, LoopMaker, alarm

pytestmark = pytest.mark.slow

HOUR = timedelta(hours=1)
CUT_OFF = 0.4  # chance of each step


@pytest.fixture
def loop_of(tmp_path, monkeypatch) -> LoopMaker:
    def make(**settings) -> Loop:
        instance = dg.DagsterInstance.ephemeral(tempdir=str(tmp_path / "dagster"))
        return Loop(tmp_path / "home", instance, monkeypatch, **settings)

    (tmp_path / "dagster").mkdir()
    return make


@pytest.fixture
def loop(loop_of) -> Loop:
    made = loop_of()
    made.settle()
    return made


# ---- an alarm becomes one challenger -----------------------------------------------------------------------------


def test_an_alarm_trains_one_challenger_which_goes_to_the_gate(loop):
    loop.signals = [alarm()]
    assert loop.run("retrain_decision", **BY_ITSELF)
    asked = loop.ticks(6)
    assert asked[:5] == [
        {"gnn_weights"},
        {"oos_predictions"},
        {"portfolio_returns"},
        {"backtest_scores"},
        {"champion"},
    ]
    assert loop.words.trained == ["word 1", "word 2"]


def test_the_run_says_why(loop):
    loop.signals = [alarm(), alarm(Reason.SHARPE_BELOW_BENCHMARK, 5.0, 4.0)]
    loop.run("retrain_decision", **BY_ITSELF)
    assert loop.tick() == {"gnn_weights"}
    tags = loop.instance.get_run_by_id(loop.newest.run_id).tags
    assert tags["gnn_assets/reason"] == "graph_drift,sharpe_below_benchmark"
    assert tags["gnn_assets/value"] == "3.4,5"
    assert tags["gnn_assets/limit"] == "2.1,4"
    (made,) = loop.newest.get_asset_materialization_events()
    assert made.materialization.metadata["why"].value == "graph_drift 3.4 > 2.1; sharpe_below_benchmark 5 > 4"


def test_a_run_by_hand_says_manual_and_answers_nothing_it_was_not_asked(loop):
    assert loop.run("gnn_weights")
    assert loop.instance.get_run_by_id(loop.newest.run_id).tags["gnn_assets/reason"] == "manual"
    assert not [event for event in loop.platform.ledger.read("events") if event["event"].startswith("order")]


def test_no_alarm_no_order_and_no_wave(loop):
    for _ in range(3):
        loop.next_session()
        loop.ticks(10)
    assert loop.times_asked("gnn_weights") == 0
    assert loop.times_asked("oos_predictions") == 0


def test_an_alarm_that_lasts_trains_once(loop):
    loop.signals = [alarm()]
    for _ in range(7):
        loop.next_session()
        loop.ticks(4, after=HOUR)
    assert loop.times_asked("gnn_weights") == 1
    assert loop.actions.count("train") == 1


def test_the_pause_is_kept_through_ten_ticks_and_over_boundaries_of_the_clock(loop):
    loop.signals = [alarm()]
    loop.tick(after=HOUR)
    loop.ticks(8)
    assert loop.times_asked("gnn_weights") == 1
    loop.signals = [alarm(), alarm(Reason.FEATURE_DRIFT)]
    # Eleven looks over five hours, each across a tick of the clock.
    loop.ticks(11, after=timedelta(minutes=31))
    assert loop.times_asked("gnn_weights") == 1
    assert loop.decisions[-1]["action"] == "hold"
    for _ in range(loop.config.retrain.pause_sessions):
        loop.next_session()
        loop.ticks(3, after=HOUR)
    assert loop.times_asked("gnn_weights") == 2
    assert loop.decisions[-1]["memory"]["training"]["signals"][0]["reason"] == "feature_drift"


# ---- what two ticks may have between them ------------------------------------------------------------------------


def test_weights_and_backtest_that_end_between_two_ticks_are_not_lost(loop):
    loop.signals = [alarm()]
    loop.run("retrain_decision", **BY_ITSELF)
    loop.tick()
    assert loop.run("oos_predictions", "portfolio_returns", "backtest_scores")
    # The gate has not seen them, and is asked.
    assert loop.tick() == {"champion"}
    assert loop.tick() == frozenset()


def test_an_order_given_between_two_ticks_is_not_lost(loop):
    loop.signals = [alarm()]
    loop.run("correlation_graphs", "retrain_decision", **BY_ITSELF)
    loop.run("retrain_decision", **BY_ITSELF)
    assert "gnn_weights" in loop.tick()


def test_an_order_that_nobody_takes_up_is_given_again(loop):
    """As it may go where the daemon's memory is lost: the condition has seen the order, and no run came of it."""
    loop.signals = [alarm()]
    loop.run("retrain_decision", **BY_ITSELF)
    loop.cursor = None
    while "gnn_weights" in loop.asks():
        pass
    loop.ticks(24, after=HOUR)
    assert loop.words.trained == ["word 1", "word 2"]
    assert [entry["memory"]["training"]["attempt"] for entry in loop.decisions if entry["action"] == "retry"] == [2]


def test_equal_content_makes_no_wave(loop):
    loop.run("returns")
    loop.run("correlation_graphs")
    assert [names - {"retrain_decision"} for names in loop.ticks(3)] == [frozenset()] * 3


# ---- training that fails -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["gnn_weights", "weights"])
def test_a_failing_training_is_tried_a_few_times_each_after_a_longer_pause(loop, how):
    loop.failing = {how}
    loop.signals = [alarm()]
    loop.ticks(24, after=3 * HOUR)
    times = [moment for moment, names in loop.asked if "gnn_weights" in names]
    assert len(times) == loop.config.retrain.attempts
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[0] >= timedelta(hours=loop.config.retrain.retry_hours)
    assert pauses[1] >= 2 * timedelta(hours=loop.config.retrain.retry_hours)
    assert "given up after 3 tries" in loop.decisions[-1]["cause"]


def test_a_training_that_failed_once_succeeds_at_its_next_try(loop):
    loop.failing = {"gnn_weights"}
    loop.signals = [alarm()]
    loop.tick(after=HOUR)
    loop.tick()
    loop.failing = set()
    loop.ticks(24, after=HOUR)
    assert loop.words.trained == ["word 1", "word 2"]
    assert loop.times_asked("gnn_weights") == 2
    retried = [event for event in loop.platform.ledger.read("events") if event["event"] == "order_answered"]
    assert [(event["order"], event["attempt"]) for event in retried] == [(1, 2)]


def test_what_follows_a_challenger_and_fails_is_asked_for_again_but_not_at_every_tick(loop):
    loop.failing = {"oos_predictions"}
    loop.signals = [alarm()]
    loop.ticks(14, after=timedelta(minutes=43))
    assert 2 <= loop.times_asked("oos_predictions") <= 4
    loop.failing = set()
    loop.ticks(16, after=HOUR)
    assert loop.times_asked("champion") == 1


# ---- the graph ---------------------------------------------------------------------------------------------------


def test_a_graph_found_too_old_is_rebuilt_and_says_why(loop):
    loop.signals = [alarm(Reason.GRAPH_STALE, 31.0, 24.0)]
    loop.run("retrain_decision", **BY_ITSELF)
    assert "correlation_graphs" in loop.tick(after=HOUR)
    assert loop.times_asked("gnn_weights") == 0
    # The decision looks again, finds it fresh, and nothing more is asked.
    loop.signals = []
    loop.run("retrain_decision", **BY_ITSELF)
    assert loop.tick(after=HOUR) & {"correlation_graphs"} == set()


def test_a_graph_that_stays_too_old_is_not_rebuilt_at_every_tick(loop):
    loop.signals = [alarm(Reason.GRAPH_STALE, 31.0, 24.0)]
    loop.ticks(12, after=timedelta(minutes=25))
    assert 2 <= loop.times_asked("correlation_graphs") <= 6


def test_a_graph_that_was_rebuilt_is_not_asked_for_again_before_the_next_decision(loop):
    """While forecasts are made from it the decision waits, and what it said of before still stands."""
    loop.signals = [alarm(Reason.GRAPH_STALE, 31.0, 24.0)]
    loop.run("retrain_decision", **BY_ITSELF)
    assert "correlation_graphs" in loop.asks()
    loop.run("correlation_graphs", **BY_ITSELF)
    assert all("correlation_graphs" not in loop.asks(after=HOUR) for _ in range(3))
    loop.run("retrain_decision", **BY_ITSELF)
    assert "correlation_graphs" in loop.asks()


def test_a_graph_that_was_rebuilt_before_anybody_looked_is_not_asked_for(loop):
    """The decision and what answers it both end between two looks."""
    loop.signals = [alarm(Reason.GRAPH_STALE, 31.0, 24.0)]
    loop.run("retrain_decision", **BY_ITSELF)
    loop.run("correlation_graphs", **BY_ITSELF)
    assert all("correlation_graphs" not in loop.asks(after=HOUR) for _ in range(3))


# ---- two that decide at once -------------------------------------------------------------------------------------


def test_two_decisions_on_the_same_memory_are_one(loop, monkeypatch):
    """Both looked before either was entered: the second fails, and is tried again on what the first has left."""
    honest, looks = deciding.decide, []

    def decide_as_another_run_does(signals, memory, **given):
        looks.append(memory)
        if len(looks) == 1:
            assert loop.run("retrain_decision", **BY_ITSELF)
        return honest(signals, memory, **given)

    monkeypatch.setattr(deciding, "decide", decide_as_another_run_does)
    loop.signals = [alarm()]
    assert loop.run("retrain_decision", **BY_ITSELF)
    assert len(looks) == 3
    assert loop.actions.count("train") == 1


# ---- a platform that begins --------------------------------------------------------------------------------------


def test_what_was_never_made_is_made_once_all_above_it_is_there(loop_of):
    loop = loop_of()
    assert loop.tick() == frozenset()
    # Before Dagster has ever looked it knows of no change: what is there already is no news.
    assert loop.run("returns")
    loop.signals = [alarm(Reason.WEIGHTS_STALE, 149_000.0, 168.0)]
    made = frozenset().union(*loop.ticks(12))
    assert made >= {"correlation_graphs", "retrain_decision", "gnn_weights", "oos_predictions", "champion"}
    assert loop.times_asked("gnn_weights") == 1
    assert loop.words.trained == ["word 1"]


def test_what_was_never_made_and_fails_is_not_asked_for_at_every_tick(loop_of):
    loop = loop_of()
    assert loop.run("returns")
    loop.failing = {"correlation_graphs"}
    loop.ticks(20, after=timedelta(minutes=10))
    assert 1 <= loop.times_asked("correlation_graphs") <= 3


# ---- reasons -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "by_itself"),
    [
        ({}, False),
        ({"reason": "manual"}, False),
        ({"dagster/from_automation_condition": "true"}, True),
        ({"dagster/sensor_name": "champion_switches", "reason": "manual"}, False),
        ({"dagster/sensor_name": "champion_switches", "reason": "bad_output"}, True),
        # Run again from the UI, which takes the tags along; run again by Dagster after its process was gone.
        ({"dagster/from_automation_condition": "true", "dagster/parent_run_id": "a run"}, False),
        (
            {
                "dagster/from_automation_condition": "true",
                "dagster/parent_run_id": "a run",
                "dagster/retry_number": "1",
            },
            True,
        ),
    ],
)
def test_a_run_knows_whether_somebody_asked_for_it(tags, by_itself):
    assert made_by_itself(tags) is by_itself


# ---- cut off between two steps -----------------------------------------------------------------------------------


def test_a_decision_that_was_entered_and_not_published_is_published_by_the_next_look(loop, monkeypatch):
    """Killed between ledger and table: the order is in force, and whoever looks next tells Dagster of it."""
    loop.signals = [alarm()]
    whole = TableShelf.publish

    def cut(*_arguments, **_named):
        raise KeyboardInterrupt

    monkeypatch.setattr(TableShelf, "publish", cut)
    assert not loop.run("retrain_decision", **BY_ITSELF)
    assert loop.actions.count("train") == 1
    monkeypatch.setattr(TableShelf, "publish", whole)
    assert "gnn_weights" not in loop.tick()
    assert loop.run("retrain_decision", **BY_ITSELF)
    assert "gnn_weights" in loop.tick()
    assert loop.actions.count("train") == 1
    assert loop.words.trained == ["word 1", "word 2"]


def test_a_run_cut_off_in_training_and_run_again_answers_its_order_once(loop):
    loop.signals = [alarm()]
    loop.run("retrain_decision", **BY_ITSELF)
    loop.failing = {"gnn_weights"}
    assert "gnn_weights" in loop.tick()
    loop.failing = set()
    assert loop.run("gnn_weights", **BY_ITSELF)
    loop.ticks(6, after=HOUR)
    events = [event["event"] for event in loop.platform.ledger.read("events")]
    assert events.count("order_taken") > 1
    assert events.count("order_answered") == 1
    assert "retry" not in loop.actions
    assert loop.times_asked("gnn_weights") == 1


@pytest.mark.parametrize("seed", range(2))
def test_wherever_it_is_cut_off_nothing_is_lost_or_doubled(loop_of, seed, monkeypatch):
    """A seeded twin of the daemon killed in its tick: each run may be cut off at any of its steps."""
    loop = loop_of()
    loop.settle()
    draw, cut_off = random.Random(seed), []
    steps = {
        (Ledger, "append"): Ledger.append,
        (TableShelf, "publish"): TableShelf.publish,
        (type(loop.words), "publish"): type(loop.words).publish,
    }

    def wrapped(name, whole):
        def step(*arguments, **named):
            if draw.random() < CUT_OFF:
                cut_off.append(name)
                raise KeyboardInterrupt
            return whole(*arguments, **named)

        return step

    loop.signals = [alarm()]
    for (owner, name), whole in steps.items():
        monkeypatch.setattr(owner, name, wrapped(name, whole))
    loop.ticks(20, after=HOUR)
    for (owner, name), whole in steps.items():
        monkeypatch.setattr(owner, name, whole)
    loop.ticks(10, after=3 * HOUR)
    assert cut_off
    training = loop.decisions[-1]["memory"]["training"]
    assert training["number"] == 1
    assert training["state"] == "trained"
    assert loop.actions.count("train") == 1
