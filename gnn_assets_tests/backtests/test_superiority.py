import math

import numpy as np
import pytest
from arch.bootstrap import SPA, StepM

from gnn_assets.backtests.significance import draw_counts
from gnn_assets.backtests.superiority import superior_models
from gnn_assets.core.config import build_config

CONFIG = build_config("test").backtests
SESSIONS = 400


def studentised(excess_TxM):
    return excess_TxM / (draw_counts(len(excess_TxM), config=CONFIG) @ excess_TxM).std(axis=0)


def settings():
    return {"block_size": CONFIG.bootstrap_block, "reps": CONFIG.bootstrap_resamples, "seed": CONFIG.seed}


def family(seed, skills, sessions=SESSIONS):
    rng = np.random.default_rng(seed)
    benchmark_T = rng.normal(0.0003, 0.01, size=sessions)
    noise_TxM = rng.normal(scale=0.01, size=(sessions, len(skills)))
    return benchmark_T[:, None] + noise_TxM + np.array(skills), benchmark_T


def test_p_values_and_the_stepwise_set_are_the_librarys():
    candidates_TxM, benchmark_T = family(0, [0.0, 0.003, 0.0, 0.0012, -0.001])
    losses_TxM = -studentised(candidates_TxM - benchmark_T[:, None])
    spa = SPA(np.zeros(SESSIONS), losses_TxM, **settings())
    spa.compute()
    steps = StepM(np.zeros(SESSIONS), losses_TxM, size=1 - CONFIG.confidence, **settings())
    steps.compute()
    found = superior_models(candidates_TxM, benchmark_T, config=CONFIG)
    assert (found.p_lower, found.p_value, found.p_upper) == tuple(spa.pvalues)
    assert found.superior == tuple(steps.superior_models)
    assert 1 in found.superior
    assert found.p_lower <= found.p_value <= found.p_upper


def test_noise_is_called_superior_in_about_one_family_of_twenty():
    config = CONFIG.model_copy(update={"bootstrap_block": 5})
    found = [superior_models(*family(seed, [0.0] * 8, sessions=200), config=config) for seed in range(40)]
    assert sum(bool(one.superior) for one in found) <= 5
    assert np.mean([one.p_value for one in found]) == pytest.approx(0.5, abs=0.12)


def test_a_wild_candidate_does_not_hide_a_calm_one():
    candidates_TxM, benchmark_T = family(1, [0.0, 0.0])
    candidates_TxM[:, 0] = benchmark_T + 20 * (candidates_TxM[:, 0] - benchmark_T)
    candidates_TxM[:, 1] += 0.003
    assert superior_models(candidates_TxM, benchmark_T, config=CONFIG).superior == (1,)
    # As the library takes it, the wild one's luck is the bar for both.
    plain = SPA(benchmark_T, -candidates_TxM, **settings())
    plain.compute()
    assert list(plain.better_models(0.05)) == []


def test_the_last_candidates_may_be_found_in_a_later_step():
    candidates_TxM = np.random.default_rng(6).normal(scale=0.01, size=(SESSIONS, 3)) + np.array([0.01, 0.001, 0.001])
    losses_TxM = -studentised(candidates_TxM)
    spa = SPA(np.zeros(SESSIONS), losses_TxM, **settings())
    spa.compute()
    assert list(spa.better_models(0.05)) == [0, 2]
    assert superior_models(candidates_TxM, np.zeros(SESSIONS), config=CONFIG).superior == (0, 1, 2)
    # The library's own loop goes on with no candidate left. When this passes, ours can go.
    with pytest.raises(ValueError, match="zero-size array"):
        StepM(np.zeros(SESSIONS), losses_TxM, size=0.05, **settings()).compute()


def test_the_benchmark_itself_and_a_constant_difference_cannot_be_tested():
    candidates_TxM, benchmark_T = family(2, [0.004])
    with_idle_TxM = np.c_[benchmark_T, candidates_TxM, benchmark_T]
    assert superior_models(with_idle_TxM, benchmark_T, config=CONFIG).superior == (1,)
    nothing = superior_models(np.c_[benchmark_T, benchmark_T], benchmark_T, config=CONFIG)
    assert nothing.superior == ()
    assert all(math.isnan(p) for p in (nothing.p_value, nothing.p_lower, nothing.p_upper))


def test_the_seed_decides():
    ask = family(3, [0.0, 0.001])
    assert superior_models(*ask, config=CONFIG) == superior_models(*ask, config=CONFIG)
