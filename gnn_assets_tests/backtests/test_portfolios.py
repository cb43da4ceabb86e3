from datetime import date, timedelta

import numpy as np
import pytest

from gnn_assets.backtests.costs import Costs
from gnn_assets.backtests.portfolios import expected_returns, optimised
from gnn_assets.backtests.risk import covariance
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError, DataError, ModelError
from gnn_assets.core.folds import walk_forward
from gnn_assets_tests.lookahead import assert_no_lookahead

METHODS = ("min_variance", "max_ratio", "hierarchical", "risk_budgeting")
EXECUTION = build_config("test").execution
# Importing the optimisers takes seconds.
optimiser = pytest.mark.slow
every_method = pytest.mark.parametrize("method", METHODS)


def _config(method, **backtests):
    forecast = {"window": 40, "half_life": None, "min_share": 0.5}
    return build_config(
        "test", {"backtests": {"portfolios": {"method": method}, "sizing": {"forecast": forecast}, **backtests}}
    ).backtests


def _market(n_sessions=60, n_names=6, *, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n_sessions, n_names)
    common_TxN = 0.01 * rng.normal(size=(n_sessions, 1))
    return common_TxN + np.geomspace(0.005, 0.03, n_names) * rng.normal(size=shape), rng.normal(size=shape)


def _optimised(weights_RxN, rows_R, returns_TxN, method, *, scores=None, execution=EXECUTION, **backtests):
    costs = Costs.of(None, execution=execution, n_sessions=len(returns_TxN))
    config = _config(method, **backtests)
    return optimised(np.asarray(weights_RxN), rows_R, returns_TxN, costs=costs, config=config, scores_TxN=scores)


def _problem(method, covariance_MxM, **changed):
    from gnn_assets.backtests.optimisers import Problem

    nothing_M = np.zeros(len(covariance_MxM))
    given = {"expected_M": nothing_M, "cost_M": nothing_M, "before_M": nothing_M, "max_weight": 1.0}
    return Problem(method=method, covariance_MxM=covariance_MxM, **{**given, **changed})


def _solved(method, covariance_MxM, **changed):
    from gnn_assets.backtests.optimisers import solved

    return solved(_problem(method, covariance_MxM, **changed))


@optimiser
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_known_answer_uncorrelated_names_have_the_least_variance_at_one_over_it(scale):
    # Two series at right angles: no sample correlation, and none after shrinkage.
    wave = np.tile([[1, 1], [1, -1], [-1, 1], [-1, -1]], (10, 1)) * [0.01, 0.02] * min(scale, 1)
    result = _optimised([[0.5, 0.5]], np.array([39]), np.log1p(wave), "min_variance")
    np.testing.assert_allclose(result.weights_RxN, [[0.8, 0.2]], atol=1e-6)
    assert result.failures == {}
    variance_M = (scale * np.array([0.01, 0.02, 0.005])) ** 2
    expected_M = (1 / variance_M) / (1 / variance_M).sum()
    np.testing.assert_allclose(_solved("min_variance", np.diag(variance_M)), expected_M, atol=1e-6)


@optimiser
def test_known_answer_every_name_contributes_the_same_risk():
    returns_TxN, _ = _market(n_names=12)
    covariance_MxM = covariance(returns_TxN, 59, np.arange(12), config=_config(None).sizing.forecast)
    weights_M = _solved("risk_budgeting", covariance_MxM)
    shares_M = weights_M * (covariance_MxM @ weights_M) / (weights_M @ covariance_MxM @ weights_M)
    np.testing.assert_allclose(shares_M, 1 / 12, atol=1e-6)


@optimiser
def test_known_answer_hierarchical_risk_parity_finds_two_blocks_and_weighs_them_by_their_variance():
    # Two pairs, the names of the second between those of the first. A pair's variance is v (1 + r) / 2.
    block = np.array([0, 1, 0, 1])
    variance_B, correlation_B = np.array([4e-4, 1e-4]), np.array([0.8, 0.5])
    alike = block[:, None] == block
    covariance_MxM = np.where(alike, (variance_B * correlation_B)[block][:, None], 0.0)
    np.fill_diagonal(covariance_MxM, variance_B[block])
    pair_B = variance_B * (1 + correlation_B) / 2
    expected_B = (1 / pair_B) / (1 / pair_B).sum() / 2
    np.testing.assert_allclose(_solved("hierarchical", covariance_MxM), expected_B[block], rtol=1e-9)


@optimiser
def test_known_answer_without_costs_the_ratio_is_largest_at_the_tangency_portfolio():
    returns_TxN, _ = _market()
    covariance_MxM = np.cov(returns_TxN.T)
    wanted_M = np.array([0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
    expected_M = 1e-3 * covariance_MxM @ wanted_M / covariance_MxM.mean()
    weights_M = _solved("max_ratio", covariance_MxM, expected_M=expected_M)
    np.testing.assert_allclose(weights_M, wanted_M, atol=1e-5)


@optimiser
def test_no_portfolio_has_a_larger_ratio_net_of_costs_and_costs_keep_it_near_what_is_held():
    returns_TxN, _ = _market()
    covariance_MxM, rng = np.cov(returns_TxN.T), np.random.default_rng(1)
    expected_M, before_M = 1e-3 * (1 + rng.random(6)), rng.dirichlet(np.ones(6))
    far = []
    for rate in (0.0, 2e-4, 1e-2):
        cost_M = rate * np.array([1, 1, 2, 1, 1, 0.5])

        def ratio(weights_xM, cost_M=cost_M):
            net_x = weights_xM @ expected_M - np.abs(weights_xM - before_M) @ cost_M
            return net_x / np.sqrt(np.einsum("xm,mn,xn->x", weights_xM, covariance_MxM, weights_xM))

        weights_M = _solved("max_ratio", covariance_MxM, expected_M=expected_M, cost_M=cost_M, before_M=before_M)
        others = rng.dirichlet(np.ones(6), 3000)
        near = weights_M + 0.02 * (others - weights_M)
        best = ratio(weights_M[None])[0]
        assert ratio(np.concatenate([others, near, before_M[None]])).max() <= best + 1e-7
        far.append(np.abs(weights_M - before_M).sum())
    assert far[0] > far[1] > far[2]
    assert far[2] < 1e-4


@optimiser
@every_method
def test_what_is_invested_is_kept_and_no_name_has_more_than_it_may(method):
    returns_TxN, scores_TxN = _market()
    weights_RxN = np.array([[0.1, 0.2, 0.1, 0.1, 0, 0.2], [1 / 6] * 6, [0.5, 0.5, 0, 0, 0, 0], [0] * 6])
    rows_R = np.array([45, 50, 55, 59])
    weights_RxN, failures = _optimised(weights_RxN, rows_R, returns_TxN, method, scores=scores_TxN, max_weight=0.35)
    assert failures == {}
    np.testing.assert_allclose(weights_RxN.sum(axis=1), [0.7, 1.0, 0.7, 0.0], rtol=1e-9)
    assert (weights_RxN >= 0).all()
    assert (weights_RxN <= 0.35 + 1e-12).all()
    assert weights_RxN[0, 4] == 0.0
    # Two names that may hold 0.35 each cannot hold everything: the rest stays cash.
    np.testing.assert_allclose(weights_RxN[2, :2], 0.35)
    assert weights_RxN[1].std() > 0.01


@optimiser
def test_a_solver_that_fails_leaves_what_is_still_wanted_of_the_last_portfolio_and_says_so():
    returns_TxN, scores_TxN = _market()
    scores_TxN[:] = [5, 4, 3, 2, 1, 0]
    # Only names of below average are held on the first and third row: no portfolio of them is expected to earn.
    low, high = [0, 0, 0, 0.3, 0.3, 0.4], [0.5, 0.3, 0.2, 0, 0, 0]
    result = _optimised([low, high, low, low], np.array([45, 50, 55, 59]), returns_TxN, "max_ratio", scores=scores_TxN)
    # A name that the strategy holds no more is sold even so: nobody may be left with one that is gone.
    mixed = [0, 0, 0.4, 0.3, 0.3, 0]
    scores_TxN[55, 2] = -1.0  # now below average as well
    part = _optimised([high, mixed], np.array([50, 55]), returns_TxN, "max_ratio", scores=scores_TxN)
    assert list(part.failures) == [1]
    assert part.weights_RxN[1, 2] == part.weights_RxN[0, 2] > 0
    assert part.weights_RxN[1].sum() == part.weights_RxN[0, 2]
    assert list(result.failures) == [0, 2, 3]
    assert "max_ratio: Cannot optimize for Maximum Ratio" in result.failures[0]
    assert not result.weights_RxN[0].any()
    assert result.weights_RxN[1, :3].sum() == pytest.approx(1.0)
    # Of that portfolio the strategy holds nothing any more: it is sold.
    for later in (2, 3):
        assert not result.weights_RxN[later].any()


@optimiser
def test_a_solution_the_solver_is_not_sure_of_is_none(monkeypatch):
    from gnn_assets.backtests import optimisers

    # Three steps are not enough.
    monkeypatch.setitem(optimisers._SOLVER_PARAMS, "max_iter", 3)
    with pytest.raises(ModelError, match="min_variance: "):
        _solved("min_variance", np.cov(_market()[0].T))


@optimiser
def test_where_the_solver_is_not_sure_of_ten_digits_eight_will_do(monkeypatch):
    from gnn_assets.backtests import optimisers

    rng = np.random.default_rng(0)
    returns_TxN = 0.01 * rng.normal(size=(120, 1)) + 0.01 * rng.normal(size=(120, 20))
    scores_TxN, rows_R = rng.normal(size=(120, 20)), np.arange(60, 120, 2)

    def failures():
        weights_RxN = np.full((len(rows_R), 20), 0.05)
        return _optimised(weights_RxN, rows_R, returns_TxN, "max_ratio", scores=scores_TxN).failures

    assert not failures()
    monkeypatch.setattr(optimisers, "_TOLERANCES", (1e-10, 1e-10))
    assert failures()


@optimiser
@pytest.mark.parametrize("weights", [[0.7, 0.7], [1.4, -0.4]])
def test_a_solution_outside_of_its_constraints_is_none(weights, monkeypatch):
    from gnn_assets.backtests import optimisers

    class Broken:
        weights_ = np.array(weights)

        def fit(self, _):
            return self

    monkeypatch.setattr(optimisers, "_optimiser", lambda *_: Broken())
    with pytest.raises(ModelError, match="outside of its constraints"):
        _solved("min_variance", np.eye(2))


@optimiser
def test_names_whose_risk_cannot_be_told_are_left_out_and_where_there_is_no_other_nothing_is_solved():
    returns_TxN, _ = _market()
    returns_TxN[25:, 0], returns_TxN[:, 1] = np.nan, 0.0
    rows_R = np.array([10, 59, 59])
    result = _optimised([[1 / 6] * 6, [1 / 6] * 6, [0.5, 0.5, 0, 0, 0, 0]], rows_R, returns_TxN, "min_variance")
    assert list(result.failures) == [0, 2]
    assert "no name whose risk can be told" in result.failures[2]
    assert result.weights_RxN[1, :2].tolist() == [0.0, 0.0]
    assert result.weights_RxN[1].sum() == pytest.approx(1.0)


def _on_folds(returns_TxN, scores_TxN, method):
    """Portfolios of every fifth session of the test parts of walk-forward folds, on the session axis."""
    folds = walk_forward(80, first=0, train=30, validation=8, test=12, purge=2, embargo=0)
    rows_R = np.array([row for fold in folds for row in fold.test])[::5]
    assert rows_R[0] == 42
    result = _optimised(np.full((len(rows_R), 6), 1 / 6), rows_R, returns_TxN, method, scores=scores_TxN)
    weights_TxN = np.zeros(returns_TxN.shape)
    weights_TxN[rows_R] = result.weights_RxN
    return weights_TxN


SESSIONS = [date(2020, 1, 1) + timedelta(days=day) for day in range(80)]


def _see_no_future(compute):
    def wrapped(data):
        with np.errstate(all="ignore"):
            return {"weights": compute(data)}

    returns_TxN, scores_TxN = _market(80)
    assert_no_lookahead(wrapped, {"returns": returns_TxN, "scores": scores_TxN}, at=SESSIONS[62], sessions=SESSIONS)


@optimiser
@every_method
def test_on_folds_each_row_is_fitted_on_what_was_known_by_then(method):
    _see_no_future(lambda data: _on_folds(data["returns"], data["scores"], method))


@optimiser
@every_method
def test_an_optimiser_that_peeks_a_session_ahead_is_caught(method):
    with pytest.raises(AssertionError, match="look-ahead"):
        _see_no_future(lambda data: _on_folds(np.roll(data["returns"], -1, axis=0), data["scores"], method))


@optimiser
@every_method
def test_the_same_question_has_the_same_answer_to_the_last_bit(method):
    returns_TxN, scores_TxN = _market(80)
    first, again = (_on_folds(returns_TxN, scores_TxN, method) for _ in range(2))
    assert first.tobytes() == again.tobytes()


@optimiser
def test_trades_are_charged_what_the_engine_would_pay():
    # Dear trades: from the second row on the portfolio stays where the market took it.
    returns_TxN, _ = _market(80)
    scores_TxN = np.tile([1.0, 0.9, 0.8, 0.7, 0.0, -3.0], (80, 1))
    scores_TxN[51:] = scores_TxN[51:, ::-1]
    rows_R, weights_RxN = np.array([50, 51]), np.full((2, 6), 1 / 6)
    moves = []
    for bps in (0.0, 500.0):
        execution = EXECUTION.model_copy(update={"commission_bps": bps, "half_spread_bps": 0.0, "slippage_bps": 0.0})
        result = _optimised(weights_RxN, rows_R, returns_TxN, "max_ratio", scores=scores_TxN, execution=execution)
        moves.append((np.abs(np.diff(result.weights_RxN, axis=0)).sum(), len(result.failures)))
    assert moves[0][0] > 0.5
    assert moves[0][1] == 0
    assert moves[1][0] < 0.1


def test_known_answer_a_score_a_deviation_above_the_mean_promises_its_share_of_the_volatility():
    scores_N = np.array([1.0, -1.0, np.nan, 1.0, -1.0])
    result_N = expected_returns(scores_N, np.full(5, 0.02), horizon=4, information_coefficient=0.05)
    np.testing.assert_allclose(result_N, [0.0005, -0.0005, 0.0, 0.0005, -0.0005])
    for nothing in (np.full(5, 3.0), np.full(5, np.nan)):
        assert not expected_returns(nothing, np.full(5, 0.02), horizon=4, information_coefficient=0.05).any()


def test_what_an_optimiser_cannot_do_is_refused_by_name():
    returns_TxN, _ = _market()
    with pytest.raises(DataError, match="expected a strategy that is long only, was negative weights"):
        _optimised([[0.5, -0.5, 0, 0, 0, 0]], np.array([50]), returns_TxN, "min_variance")
    with pytest.raises(DataError, match="expected scores, for max_ratio, was none"):
        _optimised([[0.5, 0.5, 0, 0, 0, 0]], np.array([50]), returns_TxN, "max_ratio")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            {"method": "magic"},
            "portfolios.method: Input should be 'min_variance', 'max_ratio', 'hierarchical' or 'risk",
        ),
        ({"information_coefficient": 3}, "information_coefficient: Input should be less than or equal to 0.3, was 3"),
        ({"information_coefficient": 0}, "information_coefficient: Input should be greater than 0, was 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(override, sentence):
    with pytest.raises(ConfigError) as refused:
        build_config("test", {"backtests": {"portfolios": override}})
    assert sentence in str(refused.value)
