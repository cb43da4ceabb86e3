"""A walk that nobody walked: half a year with a crash in its middle, alarms, trainings, refusals and a failed run."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np

from gnn_assets.monitoring.walk import Happened, Measured, Ran, Walk, Walked

FOLLOWERS = ("market_bars", "returns", "correlation_graphs", "graph_drift", "forecasts", "forecast_scores")
SESSIONS, CRASH = 125, (35, 60)  # how many, and between which of them the market falls
VERSIONS = tuple(f"{number:x}" * 8 for number in (0x1F3A09C2, 0x7B20D4E8, 0xC94E1A55))


def made_up_walk() -> Walk:
    first, random = date(2020, 1, 2), np.random.default_rng(20)
    days = [day for shift in range(200) if (day := first + timedelta(days=shift)).weekday() < 5]
    crashing = np.array([CRASH[0] <= place < CRASH[1] for place in range(SESSIONS)])
    market_T, served_T = (
        np.cumprod(1 + random.normal(np.where(crashing, fall, rise), np.where(crashing, 0.03, 0.01))) - 1
        for fall, rise in ((-0.014, 0.0015), (-0.01, 0.001))
    )
    drift_T = 1.2 + random.normal(0, 0.15, SESSIONS) + np.convolve(crashing, np.full(12, 0.26))[:SESSIONS]
    sessions = []
    for place, (market, served, drift) in enumerate(zip(market_T, served_T, drift_T, strict=True)):
        known = place >= 2
        told = {
            "market": market,
            "served": served if known else None,
            "equal_weight": market - 0.004 if known else None,
            "drift": over(drift, 2.1) if place else None,
        }
        sessions.append(_walked(place, days[place], told, _measured(place, drift, random)))
    return Walk(name="2020-01", profile="sample", label="a made-up half year", sessions=tuple(sessions), seconds=412.5)


def over(value: float, limit: float) -> Measured:
    return Measured(value=value, limit=limit, alarm=bool(value > limit))


def _walked(place: int, day: date, told: dict[str, Any], measured: dict[str, Measured]) -> Walked:
    trains = (place % 5 == 0 and place > 0) or place in {37, 61}
    action = "train" if trains else "hold" if CRASH[0] < place < CRASH[1] + 10 else "none"
    drift = measured["graph_drift"]
    why = f"graph_drift {drift.value:.4g} > 2.1" if drift.alarm else "weights_stale 170 > 168"
    return Walked(
        session=day,
        moment=datetime.combine(day, time(22, 20), tzinfo=UTC),
        runs=tuple(_runs(place, day, why if trains else "")),
        versions={"market_bars": f"{place:016x}"},
        measured=measured,
        decision=action,
        why="" if action == "none" else why,
        cause="2 sessions have passed, of 5 to pause" if action == "hold" else "",
        events=tuple(_events(place, trains=trains)),
        alerts=("graph_drift 2.4 > 2.1 over 63 sessions",) if place in {38, 44, 70} else (),
        champion=VERSIONS[(place >= 52) + (place >= 90)],
        **told,
    )


def _runs(place: int, day: date, training: str) -> list[Ran]:
    daily = Ran(assets=FOLLOWERS, why=dict.fromkeys(FOLLOWERS, f"new_session {day}"), failed={}, seconds=2.25)
    if place == 48:
        failed = {"market_bars": "source simulated: expected an answer, was a timeout; ask again"}
        return [daily, Ran(assets=("market_bars",), why={}, failed=failed, seconds=0.5)]
    if training:
        why = {"gnn_weights": training, "champion": "upstream_changed gnn_weights"}
        return [daily, Ran(assets=tuple(why), why=why, failed={}, seconds=9.0)]
    return [daily]


def _events(place: int, *, trains: bool) -> list[Happened]:
    told = f"{place:08x}abcd against {VERSIONS[0][:12]} by rule replace: refused by non_inferiority -0.031 < -0.02."
    if place in {52, 90}:
        return [Happened(event="promoted", what=VERSIONS[1 + (place == 90)], reason="by rule replace: passed.")]
    if place in {57, 58}:
        event = "degraded" if place == 57 else "recovered"
        return [Happened(event=event, what="forecasts", reason="weights could not be read")]
    return [Happened(event="refused", what=f"{place:064x}", reason=told)] if trains and place not in {50, 90} else []


def _measured(place: int, drift: float, random: np.random.Generator) -> dict[str, Measured]:
    bad, known = CRASH[0] <= place < CRASH[1] + 15, place >= 21
    sharpe = random.normal(-1.4 if bad else 1.2, 0.3)
    coverage = random.normal(0.79 if bad else 0.9, 0.012)
    unknown = Measured(value=None, limit=None, alarm=False)
    return {
        "graph_drift": over(drift, 2.1),
        "sharpe_below_benchmark": Measured(value=sharpe, limit=0.5, alarm=sharpe < 0.5) if known else unknown,
        "coverage_miss": Measured(value=coverage, limit=0.85, alarm=coverage < 0.85) if known else unknown,
        "accuracy_drop": over(random.normal(1.02 + 0.09 * bad, 0.02), 1.1) if known else unknown,
        "feature_drift": over(random.normal(0.6 + 0.8 * bad, 0.1), 1.0),
        "prediction_drift": over(1.797e308 if place == 70 else random.normal(0.5, 0.1), 1.0),
        "residual_drift": over(max(0.0, random.normal(1 + 5 * bad, 0.6)), 5.0),
        "code_changed": over(0.0, 0.0),
    }
