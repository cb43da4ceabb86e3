import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.backtests.alike import thinned
from gnn_assets.core.config import build_config

SIZING = build_config(
    "test", {"backtests": {"sizing": {"forecast": {"window": 40, "half_life": 20}, "correlation": {"limit": 0.7}}}}
).backtests.sizing


def _returns(groups, *, n_sessions=50, seed=0):
    """Names of one group move nearly as one, the groups as they like."""
    rng = np.random.default_rng(seed)
    common_TxG = rng.normal(size=(n_sessions, max(groups) + 1))
    return 0.02 * common_TxG[:, groups] + 0.004 * rng.normal(size=(n_sessions, len(groups)))


def _thinned(weights, groups=(0, 0, 1, 0), *, scores=None, returns=None, **changed):
    config = SIZING.model_copy(update={"correlation": SIZING.correlation.model_copy(update=changed)})
    returns_TxN = _returns(list(groups)) if returns is None else returns
    scores_TxN = None if scores is None else np.tile(np.array(scores, dtype=float), (len(returns_TxN), 1))
    return thinned(np.array([weights]), np.array([49]), returns_TxN, scores_TxN=scores_TxN, config=config)[0].tolist()


def test_of_names_that_move_as_one_the_best_is_held():
    assert _thinned([0.25, 0.25, 0.25, 0.25], scores=[1, 3, 0, 2]) == [0, 0.25, 0.25, 0]


def test_or_all_of_them_share_the_best_ones_part():
    assert _thinned([0.1, 0.3, 0.2, 0.2], scores=[1, 3, 0, 2], way="share") == pytest.approx([0.1, 0.1, 0.2, 0.1])


def test_without_scores_the_largest_is_the_best_and_of_equals_the_first():
    assert _thinned([0.2, 0.3, 0.2, 0.2]) == [0, 0.3, 0.2, 0]
    assert _thinned([0.25, 0.25, 0.25, 0.25]) == [0.25, 0, 0.25, 0]


def test_a_name_without_a_score_is_the_worst():
    assert _thinned([0.25, 0.25, 0.25, 0.25], scores=[np.nan, -5, 0, -9]) == [0, 0.25, 0.25, 0]


def test_of_short_positions_the_lowest_score_is_the_best():
    assert _thinned([-0.3, -0.3, -0.2, 0], scores=[-1, -3, 0, 2]) == [0, -0.3, -0.2, 0]


def test_a_short_position_is_no_double_of_a_long_one():
    assert _thinned([0.5, -0.5, 0, 0], scores=[1, -1, 0, 0]) == [0.5, -0.5, 0, 0]


def test_a_name_gives_way_only_to_one_that_is_held():
    # The middle one moves with both ends, which do not move with each other.
    rng = np.random.default_rng(1)
    one_T, other_T = rng.normal(size=(2, 50))
    returns_TxN = 0.01 * np.stack([one_T, (one_T + other_T) / np.sqrt(2), other_T], axis=1)
    limit = {"limit": 0.5, "returns": returns_TxN}
    assert _thinned([0.3, 0.3, 0.3], scores=[3, 2, 1], **limit) == [0.3, 0, 0.3]
    assert _thinned([0.3, 0.3, 0.3], scores=[2, 3, 1], **limit) == [0, 0.3, 0]


def test_names_whose_correlation_is_not_known_are_held():
    returns_TxN = _returns([0, 0, 1, 0])
    returns_TxN[25:, 1] = np.nan
    returns_TxN[:, 3] = np.nan
    assert _thinned([0.25] * 4, returns=returns_TxN, scores=[1, 3, 0, 2]) == [0.25] * 4


@given(seed=st.integers(0, 500), limit=st.floats(0.05, 0.95), way=st.sampled_from(["leave_out", "share"]))
@settings(max_examples=40, deadline=None)
def test_no_two_names_that_are_left_are_alike_and_nothing_grows(seed, limit, way):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 3, 8)
    returns_TxN = _returns(groups, seed=seed) + 0.03 * rng.normal(size=(50, 8)) * rng.random(8)
    weights = np.round(rng.normal(size=8), 1)
    result = np.array(_thinned(weights, returns=returns_TxN, limit=limit, way=way))
    assert (np.abs(result) <= np.abs(weights) + 1e-12).all() if way == "leave_out" else True
    for sign in (1, -1):
        side = sign * weights > 0
        assert (sign * result[side] >= 0).all()
        assert np.abs(result[side]).sum() <= np.abs(weights[side]).sum() + 1e-12
        if way == "leave_out":
            left = np.flatnonzero(sign * result > 0)
            weight_W = 0.5 ** (np.arange(40)[::-1] / 20)
            for one in left:
                for other in left[left > one]:
                    pair = np.cov(returns_TxN[10:, [one, other]].T, aweights=weight_W)
                    assert pair[0, 1] <= (limit + 1e-6) * np.sqrt(pair[0, 0] * pair[1, 1])
