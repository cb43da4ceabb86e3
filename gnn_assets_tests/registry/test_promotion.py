"""Every guard of the gate is shown to stop what it is there for, and sound evidence to pass."""

import json
from dataclasses import asdict, replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from gnn_assets.backtests.schema import PORTFOLIO_RETURNS
from gnn_assets.core.config import build_config
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.registry.probe import Probe
from gnn_assets.registry.promotion import Contender, Evidence, judge, live_track
from gnn_assets.store.panel import from_panel

CONFIG = build_config("test")
DAYS = [date(2018, 1, 1) + timedelta(days=offset) for offset in range(400)]
SYMBOLS = [f"S{number}" for number in range(20)]
HARD = {
    *("executable", "training_succeeded", "scores_finite", "scores_out_of_sample", "symbols_scored", "newest_mean"),
    *("newest_spread", "newest_outside", "refit_agrees", "no_look_ahead", "rmse_over_naive"),
}


def test_the_first_candidate_needs_the_hard_checks_alone():
    report = judge(_evidence(), config=CONFIG)
    assert (report.rule, report.passed, report.promotes) == ("bootstrap", True, True)
    assert {check.name for check in report.checks} == HARD
    assert report.reason == "w2 against no champion yet by rule bootstrap: passed."


def test_the_champion_itself_is_left_alone():
    same = _contender(version="w2", failure="whatever")
    report = judge(_evidence(candidate=same, champion=same), config=CONFIG)
    assert (report.rule, report.passed, report.promotes, report.checks) == ("already_champion", True, False, ())


# --- the hard checks, one fault each -------------------------------------------------------------------------------


def test_weights_that_trade_at_the_close_they_were_made_from_are_never_served():
    check = _refused_by("executable", candidate=_contender(fill="close_same"))
    assert check.value == "close_same"


def test_a_failed_training_is_refused():
    _refused_by("training_succeeded", candidate=_contender(failure="fold 3: loss is NaN"))


@pytest.mark.parametrize("score", [float("nan"), float("inf"), None])
def test_an_out_of_sample_score_that_is_not_a_number_is_refused(score):
    check = _refused_by("scores_finite", candidate=_contender(predictions=_spoil(_predictions(), "score", score)))
    assert check.value == 1
    assert check.offenders[0].startswith("S0 2018-01-01")


def test_no_out_of_sample_scores_at_all_are_refused():
    _refused_by("scores_finite", candidate=_contender(predictions=OOS_PREDICTIONS.empty()))


@pytest.mark.parametrize("training_end", [DAYS[0], DAYS[1], None])
def test_a_score_whose_model_knew_the_session_is_refused(training_end):
    predictions = _spoil(_predictions(), "training_end", training_end)
    _refused_by("scores_out_of_sample", candidate=_contender(predictions=predictions))


@pytest.mark.parametrize(("missing", "passed"), [(4, True), (5, False), (20, False)])
def test_exactly_the_least_share_of_symbols_is_enough(missing, passed):
    newest_N = _newest()
    newest_N[:missing] = np.nan
    check = _checks(newest_scores_N=newest_N)["symbols_scored"]
    assert check.passed is passed
    assert check.offenders == tuple(SYMBOLS[: min(missing, 10)])


def test_an_infinite_newest_score_does_not_count_as_a_score():
    newest_N = _newest()
    newest_N[:5] = np.inf
    _refused_by("symbols_scored", newest_scores_N=newest_N)


def test_newest_scores_that_are_all_shifted_are_refused():
    _refused_by("newest_mean", newest_scores_N=_newest() + 2)


@pytest.mark.parametrize("scale", [0.0, 0.1, 10.0])
def test_newest_scores_of_another_spread_are_refused(scale):
    _refused_by("newest_spread", newest_scores_N=_newest() * scale)


def test_one_name_far_outside_is_borne_and_two_are_refused():
    one_N, two_N = _newest(), _newest()
    one_N[3] = 5.0
    two_N[[3, 4]] = 5.0, -5.0
    assert _checks(newest_scores_N=one_N)["newest_outside"].passed
    check = _refused_by("newest_outside", newest_scores_N=two_N)
    assert check.offenders == ("S3", "S4")
    assert (check.value, check.threshold) == (0.1, 0.05)


def test_in_a_large_universe_the_share_decides():
    symbols = [f"S{number}" for number in range(200)]
    candidate = _contender(predictions=_predictions(names=200))
    newest_N = np.random.default_rng(77).uniform(-1.5, 1.5, size=200)
    for outside, passed in ((4, True), (5, False)):
        newest_N[:outside] = 9.0
        evidence = _evidence(candidate=candidate, newest_scores_N=newest_N, symbols=symbols)
        check = {check.name: check for check in judge(evidence, config=CONFIG).checks}["newest_outside"]
        assert (check.passed, check.threshold) == (passed, 0.02)


def test_without_any_newest_score_nothing_about_them_passes():
    checks = _checks(newest_scores_N=np.full(20, np.nan))
    assert not any(checks[name].passed for name in ("symbols_scored", "newest_mean", "newest_spread", "newest_outside"))


def test_scores_centred_by_construction_are_not_refused_for_rounding_dust():
    panel_TxN = np.random.default_rng(1).normal(size=(400, 20))
    panel_TxN = (panel_TxN - panel_TxN.mean(1, keepdims=True)) / panel_TxN.std(1, keepdims=True)
    newest_N = panel_TxN[-1].astype(np.float32) + np.float32(3e-7)
    candidate = _contender(predictions=_predictions(panel_TxN=panel_TxN))
    assert judge(_evidence(candidate=candidate, newest_scores_N=newest_N), config=CONFIG).passed


def test_a_refit_that_is_not_the_model_its_folds_are_is_refused():
    _refused_by("refit_agrees", probe=replace(_probe(), refit_SxN=_probe().refit_SxN[:, ::-1]))


def test_scores_that_change_without_the_future_are_refused():
    _refused_by("no_look_ahead", probe=replace(_probe(), again_KxN=_probe().again_KxN + 1))


def test_weights_that_nobody_asked_are_refused_by_both():
    checks = _checks(probe=Probe())
    assert [checks[name].blocks for name in ("refit_agrees", "no_look_ahead")] == [True, True]


def test_a_model_that_turned_against_its_past_is_refused_for_its_error():
    _refused_by("rmse_over_naive", candidate=_contender(ic_T=np.r_[np.full(65, 0.9), np.full(70, -0.9)]))


def test_too_few_outcomes_for_an_error_are_refused():
    check = _refused_by("rmse_over_naive", candidate=_contender(ic_T=_ic()[:40]))
    assert check.value == "not defined"


# --- refresh: the champion's recipe on newer data ------------------------------------------------------------------


def test_the_same_scores_on_newer_data_pass_as_a_refresh():
    report = judge(_evidence(champion=_contender(version="w1")), config=CONFIG)
    assert (report.rule, report.promotes) == ("refresh", True)
    assert {check.name for check in report.checks} == HARD | {
        *("same_target", "rmse_over_champion", "common_sessions", "not_inferior")
    }


@pytest.mark.parametrize(("loss", "passed"), [(0.003, True), (0.007, False)])
def test_a_refresh_may_lose_less_than_the_margin(loss, passed):
    champion = _contender(version="w1", ic_T=_ic() + loss)
    check = _checks(champion=champion)["not_inferior"]
    assert (check.passed, check.threshold) == (passed, -0.005)


def test_a_refresh_whose_difference_is_too_noisy_to_tell_is_refused():
    noise_T = np.random.default_rng(4).normal(scale=0.3, size=400)
    _refused_by("not_inferior", champion=_contender(version="w1", ic_T=_ic() + noise_T))


def test_a_candidate_with_a_larger_error_than_the_champion_is_refused():
    champion = _contender(version="w1", ic_T=np.full(400, 0.7) + np.random.default_rng(0).normal(scale=0.01, size=400))
    _refused_by("rmse_over_champion", champion=champion)


def test_only_sessions_out_of_sample_for_both_are_compared():
    # Where they overlap they agree; the champion's splendid early sessions are not the candidate's to match.
    early = _contender(version="w1", ic_T=np.r_[np.full(100, 0.3), _ic()[100:]])
    late = _contender(ic_T=_ic()[100:], days=DAYS[100:])
    checks = _checks(candidate=late, champion=early)
    assert checks["common_sessions"].value == 300
    assert checks["not_inferior"].value == 0


def test_too_few_common_sessions_are_refused():
    needed = CONFIG.backtests.min_sessions
    late = _contender(ic_T=_ic()[400 - needed + 1 :], days=DAYS[400 - needed + 1 :])
    check = _refused_by("common_sessions", candidate=late, champion=_contender(version="w1"))
    assert check.value == needed - 1


def test_without_any_common_session_there_is_no_comparison():
    early = _contender(version="w1", ic_T=_ic()[:200], days=DAYS[:200])
    late = _contender(ic_T=_ic()[200:], days=DAYS[200:])
    report = judge(_evidence(candidate=late, champion=early), config=CONFIG)
    assert "common_sessions" in report.reason
    assert "not_inferior" not in {check.name for check in report.checks}


def test_sessions_whose_outcome_is_unknown_are_not_compared():
    open_T = _ic()
    open_T[-6:] = np.nan
    assert _checks(champion=_contender(version="w1", ic_T=open_T))["common_sessions"].value == 394


@pytest.mark.parametrize(("sign", "passed"), [(1, True), (-1, False)])
def test_what_happened_since_the_champion_was_made_decides_a_refresh(sign, passed):
    """On the sessions both know one recipe scores alike: only the champion's live track tells a bad refresh."""
    champion = _contender(version="w1", ic_T=_ic()[:300])
    served, fresh = _live(sign=1, seed=8), _live(sign=sign, seed=9)
    candidate = _contender(ic_T=np.r_[_ic()[:300], fresh["ic"].to_numpy()])
    blind = _checks(candidate=candidate, champion=champion)
    assert (blind["common_sessions"].value, blind["not_inferior"].passed) == (300, True)
    checks = _checks(candidate=candidate, champion=champion.extended(served))
    assert checks["common_sessions"].value == 400
    assert checks["not_inferior"].passed is passed
    assert judge(_evidence(candidate=candidate, champion=champion.extended(served)), config=CONFIG).promotes is passed


def test_a_live_track_adds_sessions_and_changes_none():
    champion = _contender(version="w1", ic_T=_ic()[:300])
    track = pl.DataFrame({"session": DAYS[298:302], "ic": [9.0, 9.0, 0.5, None]})
    portfolio = champion.extended(track).portfolio
    assert portfolio["session"].to_list() == DAYS[:302]
    assert portfolio.head(300).equals(champion.portfolio)
    assert portfolio["ic"][300:].to_list() == [0.5, None]


def test_a_live_track_has_no_ic_where_the_outcome_is_unknown():
    labels_SxN = np.random.default_rng(2).normal(size=(3, 20))
    labels_SxN[2] = np.nan
    track = live_track(labels_SxN * 2, labels_SxN, sessions=DAYS[:3])
    assert track["session"].to_list() == DAYS[:3]
    assert track["ic"][:2].to_list() == pytest.approx([1.0, 1.0])
    assert track["ic"][2] is None


@pytest.mark.parametrize("other", [{"fill": "open_next"}, {"horizon": 1}])
def test_another_target_is_refused_and_nothing_is_compared(other):
    candidate = _contender(config_hash="another recipe", ic_T=_ic() + 0.1, **other)
    _refused_by("same_target", candidate=candidate, champion=_contender(version="w1"))
    checks = _checks(candidate=candidate, champion=_contender(version="w1"))
    assert not {"superior", "common_sessions", "rmse_over_champion"} & set(checks)


# --- replace: another recipe -----------------------------------------------------------------------------------------


def test_another_recipe_that_is_clearly_better_replaces_the_champion():
    report = judge(_evidence(candidate=_contender(ic_T=_ic() + 0.02), champion=_other_recipe()), config=CONFIG)
    assert (report.rule, report.promotes) == ("replace", True)
    assert "superior" in {check.name for check in report.checks}


def test_another_recipe_that_is_merely_as_good_does_not():
    _refused_by("superior", champion=_other_recipe())


def test_the_more_candidates_were_tried_the_better_the_winner_must_be():
    noise_T = np.random.default_rng(6).normal(scale=0.1, size=400)
    better = _contender(ic_T=_ic() + 0.014 + noise_T - noise_T.mean())
    one, many = (
        _checks(candidate=better, champion=_other_recipe(), candidates_judged=judged)["superior"] for judged in (1, 40)
    )
    assert one.passed
    assert not many.passed
    assert many.value < one.value


def test_a_refusal_names_every_check_that_failed():
    report = judge(
        _evidence(candidate=_contender(failure="out of memory"), newest_scores_N=_newest() + 2), config=CONFIG
    )
    assert "training_succeeded failed: value out of memory" in report.reason
    assert "newest_mean failed" in report.reason
    assert not report.promotes


def test_a_report_can_be_kept_as_json():
    broken = _contender(ic_T=np.full(400, np.nan), predictions=OOS_PREDICTIONS.empty())
    report = judge(_evidence(candidate=broken, champion=_other_recipe()), config=CONFIG)
    assert json.loads(json.dumps(asdict(report), allow_nan=False))["passed"] is False


def _refused_by(name, **changes):
    """Judges evidence with one fault: the named check, and the promotion, must fail."""
    report = judge(_evidence(**changes), config=CONFIG)
    check = {check.name: check for check in report.checks}[name]
    assert check.blocks, check.sentence
    assert not report.passed
    assert not report.promotes
    assert name in report.reason
    return check


def _checks(**changes):
    return {check.name: check for check in judge(_evidence(**changes), config=CONFIG).checks}


def _evidence(**changes):
    sound = Evidence(
        candidate=_contender(),
        champion=None,
        symbols=SYMBOLS,
        newest_scores_N=_newest(),
        candidates_judged=1,
        probe=_probe(),
    )
    return replace(sound, **changes)


def _probe():
    scores_SxN = np.random.default_rng(11).normal(size=(5, 20)).astype(np.float32)
    return Probe(
        symbols=SYMBOLS,
        refit_SxN=scores_SxN,
        fold_SxN=scores_SxN,
        sessions=DAYS[:5],
        scores_KxN=scores_SxN,
        again_KxN=scores_SxN,
    )


def _other_recipe():
    return _contender(version="w1", config_hash="another recipe")


def _live(*, sign, seed):
    """ICs of the last 100 days, by scores that point the right way or the wrong one."""
    labels_SxN, shared_SxN = np.random.default_rng(5).normal(size=(2, 100, 20))
    own_SxN = np.random.default_rng(seed).normal(scale=0.3, size=(100, 20))
    return live_track(sign * labels_SxN + 3 * shared_SxN + own_SxN, labels_SxN, sessions=DAYS[300:])


def _contender(
    *,
    version="w2",
    config_hash="recipe",
    fill="close_next",
    horizon=5,
    predictions=None,
    ic_T=None,
    days=None,
    failure="",
):
    ic_T = _ic() if ic_T is None else ic_T
    days = DAYS[: len(ic_T)] if days is None else days
    portfolio = pl.DataFrame(
        {
            "version": version,
            "model": "gnn",
            "session": days,
            "gross": 0.0,
            "net": 0.0,
            "turnover": 0.0,
            "ic": pl.Series(ic_T).fill_nan(None),
            "rank_ic": pl.Series(ic_T).fill_nan(None),
        },
        schema_overrides=dict(PORTFOLIO_RETURNS.columns),
    )
    return Contender(
        version=version,
        config_hash=config_hash,
        fill=fill,
        horizon=horizon,
        predictions=_predictions() if predictions is None else predictions,
        portfolio=PORTFOLIO_RETURNS.conform(portfolio),
        failure=failure,
    )


def _ic():
    return np.random.default_rng(3).normal(loc=0.03, scale=0.2, size=400)


def _newest():
    return np.linspace(-1.65, 1.65, 20)


def _predictions(*, names=20, panel_TxN=None):
    if panel_TxN is None:
        panel_TxN = np.random.default_rng(1).normal(size=(400, names))
    symbols = [f"S{number}" for number in range(names)]
    frame = from_panel(panel_TxN, "score", sessions=DAYS, symbols=symbols).with_columns(
        pl.col("score").cast(pl.Float32),
        version=pl.lit("w2"),
        model=pl.lit("gnn"),
        fold=pl.lit(0, dtype=pl.Int16),
        training_end=pl.lit(date(2017, 12, 20)),
    )
    return OOS_PREDICTIONS.conform(frame)


def _spoil(frame, column, value):
    first = (pl.col("symbol") == "S0") & (pl.col("session") == DAYS[0])
    return frame.with_columns(
        pl.when(first).then(pl.lit(value, dtype=frame.schema[column])).otherwise(column).alias(column)
    )
