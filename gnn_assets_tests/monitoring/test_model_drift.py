"""A champion's drift, session by session: what is found, when it is known, what is taken over, what is said of it."""

from dataclasses import replace
from datetime import date, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.monitoring import model_drift as module
from gnn_assets.monitoring.model_drift import KINDS, drift_signals, model_drift
from gnn_assets.monitoring.quiet import compute
from gnn_assets.monitoring.reasons import Reason
from gnn_assets.monitoring.schema import MODEL_DRIFT
from gnn_assets.monitoring.watch import Said, Seen, Watched
from gnn_assets_tests.monitoring.quiet_market import quiet_market

# A rate so low that half a year has no alarm by chance: what is found was planted.
CONFIG = build_config("sample").drift.model_copy(
    update={"paths": 50, "path_sessions": 252, "window": 21, "sessions_per_alarm": 5040}
)
LEARNED, LIVED, PURGE = 504, 126, 6
DAYS = [date(2018, 1, 1) + timedelta(days=day) for day in range(LEARNED + LIVED)]
LIVE = DAYS[LEARNED:]


@cache
def market():
    return quiet_market(12, LEARNED + LIVED)


def watched(*, learned=LEARNED, features=None, scores=None, losses=None):
    """A champion of the quiet market, or of one that changes after the end of its data."""
    features = {**market().features, **(features or {})}
    scores = market().scores if scores is None else scores
    losses = market().losses if losses is None else losses
    past, since = slice(0, learned), slice(LEARNED, LEARNED + LIVED)

    def seen(rows):
        return Seen(
            DAYS[rows], {name: of[rows].astype(np.float32) for name, of in features.items()}, market().mask[rows]
        )

    def said(rows):
        return Said(DAYS[rows], scores[rows], losses[rows])

    return Watched(seen(past), said(past), seen(since), said(since), purge=PURGE)


def drift_of(champion, *, version="v1", hashes=None, before=None, recall=lambda _kind: compute):
    return model_drift(
        champion,
        version=version,
        hashes=[f"hash {day}" for day in LIVE] if hashes is None else hashes,
        before=MODEL_DRIFT.empty() if before is None else before,
        config=CONFIG,
        hysteresis=0.1,
        recall=recall,
    )


@cache
def quiet():
    return drift_of(watched())


def of_kind(drift, kind):
    return drift.filter(pl.col("kind") == str(kind))


def alarms(drift, kind):
    """Sessions on which the kind is above its limit."""
    return of_kind(drift, kind).filter(pl.col("value") > pl.col("limit"))["session"].to_list()


def later(values, change, *, start=LEARNED):
    """The values, changed from a row on."""
    changed = values.copy()
    changed[start:] = change(changed[start:])
    return changed


# What is found


def test_a_market_that_does_not_change_is_quiet_and_every_session_has_a_row_of_each_kind():
    assert quiet().height == LIVED * len(KINDS)
    assert all(not alarms(quiet(), kind) for kind in KINDS)
    assert set(quiet()["offenders"]) == {""}


@pytest.mark.parametrize(
    ("changed", "kind", "named"),
    [
        ({"features": {"fast": later(market().features["fast"], lambda x: x + 0.8)}}, KINDS[0], "fast "),
        ({"features": {"slow": later(market().features["slow"], lambda x: 3 * x)}}, KINDS[0], "slow "),
        ({"scores": later(market().scores, lambda x: 0.4 * x)}, KINDS[1], "s"),
        ({"losses": later(market().losses, lambda x: x + 1.0)}, KINDS[2], "20"),
    ],
)
def test_a_planted_change_is_found_by_its_own_kind_alone_and_named(changed, kind, named):
    drift = drift_of(watched(**changed))
    found = alarms(drift, kind)
    assert found
    assert found[0] <= LIVE[62]
    assert of_kind(drift.filter(pl.col("session") == found[0]), kind)["offenders"][0].startswith(named)
    assert all(not alarms(drift, other) for other in KINDS if other is not kind)


def test_a_champion_younger_than_a_window_is_not_judged_and_the_row_says_so():
    drift = drift_of(watched(losses=later(market().losses, lambda x: x + 9.0)))
    young = drift.filter(pl.col("session") < LIVE[CONFIG.window - 1])
    assert young["value"].null_count() == young.height > 0
    assert set(young["offenders"]) == {""}
    assert young.filter(pl.col("session") == LIVE[3])["window"].unique().to_list() == ["4 of 21 sessions"]
    first = drift.filter(pl.col("session") == LIVE[CONFIG.window - 1])
    assert first["value"].null_count() == 0


def test_a_short_reference_has_no_limit_and_gives_no_alarm():
    drift = drift_of(watched(learned=60))
    assert drift["limit"].null_count() == drift.height
    assert not any(signal.firing for signal in drift_signals(drift))


def test_the_reference_is_named_by_its_first_and_last_session():
    losses = market().losses.copy()
    losses[LEARNED - PURGE : LEARNED] = np.nan  # not known when its data ended
    drift = drift_of(watched(losses=losses))
    for kind, last in zip(KINDS, (LEARNED - 1, LEARNED - 1, LEARNED - PURGE - 1), strict=True):
        row = of_kind(drift, kind).row(-1, named=True)
        assert (row["reference_first"], row["reference_last"]) == (DAYS[0], DAYS[last])


# When it is known


@pytest.mark.parametrize("row", [30, 77])
def test_a_session_s_rows_do_not_depend_on_what_comes_later(row):
    rng = np.random.default_rng(row)
    after = LEARNED + row + 1

    def noise(of):
        return later(of, lambda values: rng.normal(size=values.shape) * 50, start=after)

    other = watched(
        features={name: noise(of) for name, of in market().features.items()},
        scores=noise(market().scores),
        # A session's loss is known so many sessions later: those are the future too.
        losses=later(market().losses, lambda x: x + 99.0, start=after - PURGE),
    )
    upto, and_not_later = (drift.filter(pl.col("session") <= LIVE[row]) for drift in (quiet(), drift_of(other)))
    assert upto.equals(and_not_later)
    assert not quiet().equals(drift_of(other))


# What is taken over


def test_rows_made_before_are_taken_over_and_change_no_bit(monkeypatch):
    asked = []
    judge = module.feature_drift
    monkeypatch.setattr(
        module, "feature_drift", lambda *a, newest, **k: asked.append(newest) or judge(*a, newest=newest, **k)
    )
    again = drift_of(watched(), before=quiet().filter(pl.col("session") < LIVE[-3]))
    assert again.equals(quiet())
    assert asked == [3]
    assert drift_of(watched(), before=quiet()).equals(quiet())
    assert asked == [3]  # nothing new, no reference is looked at


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(lambda rows: rows.with_columns(inputs_hash=pl.lit("other")), id="other inputs"),
        pytest.param(lambda rows: rows.with_columns(version=pl.lit("v0")), id="other champion"),
        pytest.param(lambda rows: rows.filter(pl.col("kind") != str(KINDS[1])), id="a kind is missing"),
    ],
)
def test_what_was_made_otherwise_is_made_again(spoilt):
    wrong = spoilt(quiet().with_columns(value=pl.lit(99.0)))
    assert drift_of(watched(), before=wrong).equals(quiet())


def test_a_reference_is_calibrated_once_for_each_kind_however_many_sessions_there_are():
    asked = []

    def recall(kind):
        return lambda arrays, calibrate: asked.append((kind, len(arrays))) or calibrate()

    assert drift_of(watched(), recall=recall).equals(quiet())
    assert [kind for kind, _ in asked] == list(KINDS)


def test_limits_that_were_recalled_are_used_as_they_are():
    drift = drift_of(watched(), recall=lambda _kind: lambda _arrays, calibrate: np.full_like(calibrate(), 2.0))
    assert set(drift["limit"]) == {2.0}


def test_a_champion_without_a_session_yet_has_no_row_and_no_signal():
    champion = watched()
    none = slice(0, 0)
    seen = replace(
        champion.seen,
        sessions=[],
        features={name: of[none] for name, of in champion.seen.features.items()},
        mask_TxN=champion.seen.mask_TxN[none],
    )
    said = Said([], champion.said.scores_TxN[none], champion.said.losses_T[none])
    drift = drift_of(replace(champion, seen=seen, said=said), hashes=[])
    assert drift.is_empty()
    assert drift_signals(drift) == ()


# What is said of it


def test_signals_are_the_newest_session_s_values_and_what_is_not_known_fires_nothing():
    drift = drift_of(watched(scores=later(market().scores, lambda x: 0.4 * x)))
    signals = {signal.reason: signal for signal in drift_signals(drift)}
    assert set(signals) == set(KINDS)
    newest = of_kind(drift, Reason.PREDICTION_DRIFT).row(-1, named=True)
    told = signals[Reason.PREDICTION_DRIFT]
    assert (told.value, told.limit, told.window) == (newest["value"], newest["limit"], "21 sessions")
    assert told.evidence == f"session {LIVE[-1]}, version v1"
    assert [reason for reason, signal in signals.items() if signal.firing] == [Reason.PREDICTION_DRIFT]
    young = drift_signals(drift.filter(pl.col("session") <= LIVE[5]))
    assert len(young) == len(KINDS)
    assert all(np.isnan(signal.value) and not signal.firing for signal in young)
