import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.backtests.trials import PORTFOLIO_SETTINGS, count_trials, trial_of, trials_behind, uncounted
from gnn_assets.core.config import build_config

CONFIG = build_config("sample")


def trial(model="blend", version="w1", kind="backtest", **settings):
    config = CONFIG.backtests.model_copy(update=settings)
    return trial_of(kind, model=model, version=version, execution=CONFIG.execution, config=config)


def training(model="blend", version="w1"):
    return {"trial": "training", "model": model, "version": version, "graph": "own"}


def test_each_portfolio_counts_once_whoever_looks_at_it():
    records = [trial(), trial(), trial(kind="hypothesis")]
    assert count_trials(records) == 1
    assert count_trials([*records, trial(held=8), trial(version="w2"), trial(model="ridge")]) == 4


def test_a_training_counts_until_a_backtest_of_its_weights_does():
    assert count_trials([training(), training(), training("ridge")]) == 2
    assert count_trials([training(), training("ridge"), trial()]) == 2
    assert count_trials([training(), trial(), trial(held=8)]) == 2


def test_settings_that_only_measure_make_no_other_trial_and_every_other_one_does():
    assert trial(seed=8)["settings"] == trial(bootstrap_resamples=5)["settings"] == trial()["settings"]
    measuring = {"sessions_per_year", "bootstrap_block", "bootstrap_resamples", "confidence", "power", "seed"}
    measuring |= {"min_sessions", "overfitting_blocks", "combinatorial", "regimes"}
    assert set(PORTFOLIO_SETTINGS) == set(type(CONFIG.backtests).model_fields) - measuring
    dearer = CONFIG.execution.model_copy(update={"slippage_bps": 9.0})
    other = trial_of("backtest", model="blend", version="w1", execution=dearer, config=CONFIG.backtests)
    assert other["settings"] != trial()["settings"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(1, 3)), max_size=12))
def test_what_was_counted_is_not_counted_again(wanted):
    records = [trial(model, version, held=held) for model, version, held in wanted]
    added = uncounted(records, [])
    assert count_trials(added) == len(added) == len(set(wanted))
    assert uncounted(records, added) == []


def test_trials_of_unknown_returns_count_in_full_and_copies_as_one():
    rng = np.random.default_rng(4)
    own_T = rng.normal(size=2000)
    copies_TxM = np.column_stack([own_T, 2 * own_T, own_T, rng.normal(size=2000)])
    records = [trial(held=held) for held in range(1, 5)]
    behind = trials_behind(records, copies_TxM)
    assert behind.counted == 4
    assert behind.effective == pytest.approx(2, abs=0.1)
    others = [training("other", str(number)) for number in range(6)]
    more = trials_behind([*records, *others], copies_TxM)
    assert more.counted == 10
    assert more.effective == pytest.approx(behind.effective + 6)


def test_a_ledger_that_lost_count_says_no_fewer_than_the_portfolios_at_hand():
    independent_TxM = np.random.default_rng(5).normal(size=(5000, 3))
    behind = trials_behind([], independent_TxM)
    assert behind.counted == 3
    assert behind.effective == pytest.approx(3, abs=0.2)


def test_without_common_sessions_the_count_stands_alone():
    behind = trials_behind([trial()], np.empty((0, 3)))
    assert (behind.counted, behind.effective) == (3, 3.0)
    assert np.isnan(behind.variance)
