"""Years in which nothing changes: how often each detector is wrong, and how often a challenger is trained for it."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from math import sqrt

import pytest

from gnn_assets.core.config import build_config
from gnn_assets.monitoring.change import cost_drift, cost_limit, residual_drift, residual_reference
from gnn_assets.monitoring.decide import Memory, decide
from gnn_assets.monitoring.drift import feature_drift, feature_reference, prediction_drift, prediction_reference
from gnn_assets.monitoring.reasons import Reason, Signal
from gnn_assets_tests.monitoring.quiet_market import N_SYMBOLS, quiet_market

SETTINGS = build_config("sample")
LEARNED, YEAR = 1008, 252
SYMBOLS = tuple(f"S{number}" for number in range(N_SYMBOLS))
# No setting was chosen by the markets of these seeds; `drift.optimism` was by those from 1000 on.
FIRST_SEED = 2000
KINDS = (Reason.FEATURE_DRIFT, Reason.PREDICTION_DRIFT, Reason.RESIDUAL_DRIFT, Reason.COST_DRIFT)


def watched(market, config):
    """Yields, session by session, what each detector says of a champion that learned from the first sessions."""
    hysteresis = SETTINGS.retrain.hysteresis
    learned = market[:LEARNED]
    features = feature_reference(learned.features, learned.mask, config=config, hysteresis=hysteresis)
    scores = prediction_reference(learned.scores, config=config, hysteresis=hysteresis)
    losses = residual_reference(learned.losses, config=config, hysteresis=hysteresis)
    limit = cost_limit(learned.paid, learned.modelled, learned.traded, config=config, hysteresis=hysteresis)
    lived = market[LEARNED:]
    n_lived = len(lived.losses)
    saw = feature_drift(features, lived.features, lived.mask, newest=n_lived, config=config)
    said = prediction_drift(scores, lived.scores, newest=n_lived, config=config)
    for end in range(1, n_lived + 1):
        newest = lived[max(end - config.window, 0) : end]
        yield (
            saw[end - 1],
            said[end - 1],
            residual_drift(losses, lived.losses[:end], sessions=range(end), config=config),
            cost_drift(limit, newest.paid, newest.modelled, newest.traded, symbols=SYMBOLS, config=config),
        )


def false_alarms(*, champions, years, config):
    """Alarms of each kind, and trainings that were asked for, over champions of so many years each."""
    alarms = Counter(dict.fromkeys([*KINDS, "trainings"], 0))
    for champion in range(champions):
        memory = Memory()
        market = quiet_market(FIRST_SEED + champion, LEARNED + years * YEAR)
        for number, drifts in enumerate(watched(market, config)):
            session = date(2000, 1, 3) + timedelta(days=number)
            signals = [
                Signal(reason, "champion", drift.value, drift.limit, "above", drift.window, "")
                for reason, drift in zip(KINDS, drifts, strict=True)
            ]
            decision = decide(
                signals,
                memory,
                session=session,
                sessions=[session - timedelta(days=back) for back in range(10)],
                now=datetime.combine(session, time(22), tzinfo=UTC),
                config=SETTINGS.retrain,
            )
            alarms.update(set(decision.memory.episodes) - set(memory.episodes))
            alarms["trainings"] += decision.asks
            memory = decision.memory
            if decision.asks:  # the gate finds the challenger no better, and the champion stays
                memory = replace(memory, training=replace(memory.training, state="trained"))
    return alarms


@pytest.mark.slow
def test_quiet_years_alarm_no_more_often_than_stated():
    """The small twin of the drill below: a higher rate, so that few years tell."""
    config = SETTINGS.drift.model_copy(
        update={"paths": 60, "path_sessions": 252, "window": 21, "sessions_per_alarm": 63}
    )
    champions, years = 5, 1
    alarms = false_alarms(champions=champions, years=years, config=config)
    expected = champions * years * YEAR / config.sessions_per_alarm
    # What chance passes of a count so small: alarms of one champion share its reference, and vary twice as much.
    most = expected + 2.5 * sqrt(2 * expected)
    assert all(1 <= alarms[kind] <= most for kind in KINDS), alarms


@pytest.mark.drill
def test_two_hundred_quiet_years_alarm_and_train_no_more_often_than_stated():
    config = SETTINGS.drift
    champions, years = 40, 5
    alarms = false_alarms(champions=champions, years=years, config=config)
    expected = champions * years * YEAR / config.sessions_per_alarm
    print(f"{champions * years} quiet years, {expected:.0f} alarms of a kind stated: {dict(alarms)}")
    assert all(alarms[kind] <= expected for kind in KINDS), alarms
    # Costs only tell.
    assert alarms["trainings"] <= 3 * expected
