"""What is asked of the weights that would serve: that they are those whose folds were judged, and see no future."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from gnn_assets.core.config import build_config
from gnn_assets.registry.probe import Probe, agreement, probe_checks

GATE = build_config("test").gate
SYMBOLS = [f"S{number}" for number in range(20)]
DAYS = [date(2022, 11, 1) + timedelta(days=day) for day in range(63)]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sound(**changes) -> Probe:
    fold_SxN, scores_KxN = normal(1, 63, 20), normal(2, 2, 20)
    probe = Probe(
        symbols=SYMBOLS,
        refit_SxN=fold_SxN + normal(3, 63, 20),
        fold_SxN=fold_SxN,
        sessions=DAYS[:2],
        scores_KxN=scores_KxN,
        again_KxN=scores_KxN.copy(),
    )
    return replace(probe, **changes)


def checks(probe: Probe):
    return {check.name: check for check in probe_checks(probe, config=GATE)}


def test_a_refit_that_ranks_as_its_fold_does_and_sees_no_future_passes():
    found = checks(sound())
    assert list(found) == ["refit_agrees", "no_look_ahead"]
    assert all(check.passed for check in found.values())
    assert found["refit_agrees"].value == pytest.approx(0.69, abs=0.03)


# The refit is the model that was judged


def test_a_refit_that_ranks_by_chance_is_refused():
    check = checks(sound(refit_SxN=normal(4, 63, 20)))["refit_agrees"]
    assert check.blocks
    assert abs(check.value) < 0.1


@given(seed=st.integers(0, 2**32 - 1), holes=st.floats(0, 0.9))
def test_agreement_is_spearmans_rank_correlation_over_common_names(seed, holes):
    generator = np.random.default_rng(seed)
    first, second = generator.integers(5, size=(2, 4, 8)).astype(np.float32)
    first[generator.random(first.shape) < holes] = np.nan
    for row, found in enumerate(agreement(first, second)):
        known = np.isfinite(first[row])
        one, other = first[row, known], second[row, known]
        if known.sum() >= 3 and np.ptp(one) and np.ptp(other):
            assert found == pytest.approx(spearmanr(one, other).statistic, abs=1e-9)
        else:
            assert found == (1.0 if known.any() and not np.ptp(one) and not np.ptp(other) else 0.0)


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_two_models_without_an_opinion_agree(level):
    flat_SxN = np.full((63, 20), level, dtype=np.float32)
    assert checks(sound(refit_SxN=flat_SxN, fold_SxN=flat_SxN + 1))["refit_agrees"].value == 1.0


@pytest.mark.parametrize("which", ["refit_SxN", "fold_SxN"])
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_model_that_lost_its_opinion_or_all_its_scores_agrees_with_nothing(which, value):
    check = checks(sound(**{which: np.full((63, 20), value, dtype=np.float32)}))["refit_agrees"]
    assert (check.value, check.passed) == (0.0, False)


def test_where_no_session_was_asked_nothing_is_shown():
    check = checks(sound(refit_SxN=np.empty((0, 20)), fold_SxN=np.empty((0, 20))))["refit_agrees"]
    assert (check.value, check.passed) == ("not defined", False)


# It sees no future


def test_one_bit_of_one_score_is_enough_and_says_where():
    scores_KxN = sound().scores_KxN.copy()
    scores_KxN[1, 3] = np.nextafter(scores_KxN[1, 3], np.float32(np.inf))
    check = checks(sound(scores_KxN=scores_KxN))["no_look_ahead"]
    assert (check.blocks, check.value) == (True, 1)
    assert check.offenders[0].startswith(f"S3 {DAYS[1]}: score ")


@pytest.mark.parametrize("side", ["scores_KxN", "again_KxN"])
def test_a_score_that_is_only_there_with_or_without_the_future_is_one_that_changed(side):
    holed_KxN = sound().scores_KxN.copy()
    holed_KxN[0, :4] = np.nan
    assert checks(sound(**{side: holed_KxN}))["no_look_ahead"].value == 4


def test_what_is_masked_out_either_way_is_equal():
    holed_KxN = sound().scores_KxN.copy()
    holed_KxN[0, :4] = np.nan
    assert checks(sound(scores_KxN=holed_KxN, again_KxN=holed_KxN.copy()))["no_look_ahead"].passed


def test_without_a_session_to_look_at_nothing_is_shown():
    empty = np.empty((0, 20), dtype=np.float32)
    assert checks(sound(sessions=(), scores_KxN=empty, again_KxN=empty))["no_look_ahead"].blocks
