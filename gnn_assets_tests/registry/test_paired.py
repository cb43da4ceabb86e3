"""How often the gate errs, known beforehand and counted on simulated candidates."""

from datetime import date, timedelta
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.linalg import toeplitz

from gnn_assets.core.config import build_config
from gnn_assets.registry.paired import family_size, paired_checks

CONFIG = build_config("sample")
# Two years, out of sample, of five-session labels that overlap.
SESSIONS, OVERLAP, SPREAD = 504, 5, 0.1
# One recipe trained twice: what two trainings do not share is small beside what they do.
ALONE = 0.2
LEVEL = (1 - CONFIG.backtests.confidence) / 2
NORMAL = NormalDist()


def noise(rng: np.random.Generator, sessions: int = SESSIONS) -> np.ndarray:
    """Daily ICs of a model that knows nothing."""
    drawn = rng.normal(size=sessions + OVERLAP - 1)
    return SPREAD * np.convolve(drawn, np.ones(OVERLAP), mode="valid") / OVERLAP**0.5


def noise_covariance(sessions: int) -> np.ndarray:
    """Covariance (T, T) of `noise`: two values h sessions apart share OVERLAP − h of their OVERLAP draws."""
    return SPREAD**2 * toeplitz(np.maximum(1 - np.arange(sessions) / OVERLAP, 0))


def errors(covariance_TxT: np.ndarray) -> tuple[float, float]:
    """Standard error of a series' mean, and the one that the stationary bootstrap finds on average.

    D. Politis, J. Romano, The stationary bootstrap, JASA 89(428), 1994, lemma 1. Its blocks break what lies across two of
    them and its mean is the sample's own: of these series it finds about nine tenths of the error.
    """
    n = len(covariance_TxT)
    apart, stays = np.arange(n), 1 - 1 / CONFIG.backtests.bootstrap_block
    share = (1 - apart / n) * stays**apart + apart / n * stays ** (n - apart)
    # About the sample's mean.
    centred_TxT = covariance_TxT - covariance_TxT.mean(axis=0) - covariance_TxT.mean(axis=1)[:, None]
    centred_TxT += covariance_TxT.mean()
    autocovariance = np.array([np.trace(centred_TxT, offset=lag) for lag in apart]) / n
    found = (share[0] * autocovariance[0] + 2 * share[1:] @ autocovariance[1:]) / n
    return float(np.sqrt(covariance_TxT.mean())), float(np.sqrt(found))


def series(ic_T: np.ndarray) -> pl.DataFrame:
    days = [date(2020, 1, 1) + timedelta(days=number) for number in range(len(ic_T))]
    return pl.DataFrame({"session": days, "ic": ic_T})


def decided(candidate_T, champion_T, *, replaces, judged=1):
    found = paired_checks(
        series(candidate_T), series(champion_T), replaces=replaces, candidates_judged=judged, config=CONFIG
    )
    return {check.name: check for check in found}["superior" if replaces else "not_inferior"].passed


def promotes_noise(seed: int, *, candidates: int) -> bool:
    """Whether any of so many candidates without skill would have replaced a champion without skill."""
    rng = np.random.default_rng(seed)
    champion_T = noise(rng)
    return any(decided(noise(rng), champion_T, replaces=True, judged=number) for number in range(1, candidates + 1))


def found_rate(seeds: range, *, gain: float, judged: int) -> tuple[float, float]:
    """Share of candidates better by a true gain that are promoted, and the share theory expects."""
    passed = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        passed.append(decided(noise(rng) + gain, noise(rng), replaces=True, judged=judged))
    true, found = errors(2 * noise_covariance(SESSIONS))
    reach = stats.t.isf(LEVEL / family_size(judged), SESSIONS / CONFIG.backtests.bootstrap_block - 1)
    return float(np.mean(passed)), NORMAL.cdf((gain - reach * found) / true)


def refresh_rate(seeds: range, *, new: int) -> tuple[float, float]:
    """Share of refreshes, as good as their champion, that pass with so many new sessions, and what theory expects."""
    passed = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        shared_T = noise(rng, SESSIONS - new)
        common_T = noise(rng, new)
        candidate_T, champion_T = (np.append(shared_T, common_T + ALONE * noise(rng, new)) for _ in range(2))
        passed.append(decided(candidate_T, champion_T, replaces=False))
    covariance_TxT = np.zeros((SESSIONS, SESSIONS))
    covariance_TxT[-new:, -new:] = 2 * ALONE**2 * noise_covariance(new)
    true, found = errors(covariance_TxT)
    reach = NORMAL.inv_cdf(1 - LEVEL)
    return float(np.mean(passed)), NORMAL.cdf((CONFIG.gate.non_inferiority_margin - reach * found) / true)


def test_the_parts_of_the_error_rate_add_up_to_one_however_many_candidates_come():
    parts = [1 / family_size(number) for number in range(1, 10_001)]
    assert parts == sorted(parts, reverse=True)
    assert sum(parts) == pytest.approx(1, abs=2e-4)


@pytest.mark.slow
def test_of_many_noise_candidates_hardly_ever_one_replaces_the_champion():
    assert sum(promotes_noise(seed, candidates=20) for seed in range(20)) <= 1


@pytest.mark.drill
def test_of_fifty_noise_candidates_over_two_years_at_most_five_of_a_hundred_families_promote_one():
    promoted = sum(promotes_noise(seed, candidates=50) for seed in range(100))
    print(f"{promoted} of 100 families of 50 promoted one")
    assert promoted <= 5


@pytest.mark.parametrize(("judged", "gain"), [(1, 0.035), (10, 0.06)])
def test_a_real_gain_is_found_as_often_as_theory_says(judged, gain):
    found, expected = found_rate(range(60), gain=gain, judged=judged)
    assert found == pytest.approx(expected, abs=0.15)
    assert 0.3 < expected < 0.98


@pytest.mark.parametrize("new", [21, 126, 504])
def test_a_refresh_as_good_as_its_champion_passes_as_often_as_theory_says(new):
    found, expected = refresh_rate(range(60), new=new)
    assert found == pytest.approx(expected, abs=0.15)


def test_a_refresh_whose_weights_were_shuffled_is_refused():
    rng = np.random.default_rng(1)
    skilled_T = noise(rng) + 0.05
    shuffled_T = np.append(skilled_T[:252], noise(rng, 252))
    assert not decided(shuffled_T, skilled_T, replaces=False)
    assert decided(skilled_T, skilled_T, replaces=False)


@pytest.mark.parametrize("replaces", [True, False])
def test_nothing_in_common_is_not_enough(replaces):
    later = series(np.ones(5)).with_columns(pl.col("session").dt.offset_by("10y"))
    checks = paired_checks(series(np.ones(5)), later, replaces=replaces, candidates_judged=1, config=CONFIG)
    assert [(check.name, check.passed, check.value) for check in checks] == [("common_sessions", False, 0)]
