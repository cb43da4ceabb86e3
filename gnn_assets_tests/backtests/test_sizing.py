from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.backtests.costs import Costs
from gnn_assets.backtests.sizing import sized, steadied
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError, DataError
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets_tests.lookahead import assert_no_lookahead

FORECAST = {"window": 20, "half_life": 10, "min_share": 0.5}
STEPS = {
    "volatility": {"volatility": 0.1},
    "name_cap": {"name_cap": 0.3},
    "sector_cap": {"sector_cap": 0.4},
    "correlation": {"correlation": {"limit": 0.3, "way": "share"}},
    "kelly_binary": {"kelly": {"form": "binary", "fraction": 1.0}},
    "kelly_moments": {"kelly": {"form": "moments", "fraction": 0.1}},
    "gap": {"gap": {"days": 2, "window": 30, "min_gaps": 3}},
}
EVERYTHING = {name: value for step in STEPS.values() for name, value in step.items()}


@pytest.fixture(scope="module")
def calendar() -> SessionCalendar:
    return SessionCalendar.build("XNYS", first=date(2019, 1, 2), until=date(2020, 1, 2), grace=timedelta(minutes=30))


def _config(sizing, **backtests):
    return build_config("test", {"backtests": {"sizing": {"forecast": FORECAST} | sizing, **backtests}}).backtests


def _market(n_sessions=100, n_names=6, *, seed=1):
    rng = np.random.default_rng(seed)
    shape = (n_sessions, n_names)
    returns = 0.002 + 0.012 * rng.normal(size=(n_sessions, 1)) + 0.01 * rng.normal(size=shape)
    weights = rng.normal(size=shape)
    return {
        "returns": np.where(rng.random(shape) < 0.05, np.nan, returns),
        "fill_returns": returns,
        "scores": rng.normal(size=shape),
        "weights": weights / np.abs(weights).sum(axis=1, keepdims=True),
        "traded": np.full(shape, 1e7),
    }


def _sized(data, sizing, calendar, *, execution=None, **changed):
    n_sessions = len(data["returns"])
    execution = build_config("test", {"execution": {"impact": 1.0, **(execution or {})}}).execution
    return sized(
        # No strategy says NaN; garbage of the future does.
        data["weights"] if np.isfinite(data["weights"]).all() else np.nan_to_num(data["weights"]),
        np.arange(n_sessions),
        returns_TxN=data["returns"],
        fill_returns_TxN=data["fill_returns"],
        costs=Costs(execution, data["traded"], np.full_like(data["traded"], 0.02)),
        config=_config(sizing, rebalance_sessions=1, **changed),
        scores_TxN=data["scores"],
        sectors_RxN=np.tile(np.arange(data["weights"].shape[1]) % 3, (n_sessions, 1)),
        sessions=calendar.sessions[:n_sessions],
        calendar=calendar,
    )


def _volatility(weights_N, returns_TxN, row, *, half_life=10, window=20):
    """Forecast volatility a year of a portfolio, without shrinkage: the deviation of what it would have earned."""
    earned = np.expm1(returns_TxN[row - window + 1 : row + 1]) @ weights_N
    weight_W = 0.5 ** (np.arange(window)[::-1] / half_life)
    return np.sqrt(252 * np.cov(earned, aweights=weight_W))


def test_with_nothing_set_weights_come_back_as_they_are(calendar):
    data = _market()
    assert _sized(data, {}, calendar) is data["weights"]


@pytest.mark.parametrize("step", STEPS)
def test_each_step_changes_something(step, calendar):
    data = _market()
    assert (_sized(data, STEPS[step], calendar) != data["weights"]).any()


def _see_no_future(compute, calendar):
    def wrapped(data):
        with np.errstate(all="ignore"):
            return {"sized": compute(data)}

    assert_no_lookahead(wrapped, _market(), at=calendar.sessions[70], sessions=calendar.sessions[:100])


@pytest.mark.parametrize("sizing", [*STEPS.values(), EVERYTHING], ids=[*STEPS, "everything"])
def test_what_comes_later_changes_no_size(sizing, calendar):
    _see_no_future(lambda data: _sized(data, sizing, calendar), calendar)


@pytest.mark.parametrize("step", ["volatility", "correlation", "kelly_binary", "kelly_moments", "gap"])
def test_a_step_that_peeks_a_week_ahead_is_caught(step, calendar):
    def peeking(data):
        later = {name: np.roll(data[name], -5, axis=0) for name in ("returns", "fill_returns")}
        return _sized({**data, **later}, STEPS[step], calendar)

    with pytest.raises(AssertionError, match="look-ahead"):
        _see_no_future(peeking, calendar)


@pytest.mark.parametrize("fill", ["close_next", "close_same"])
def test_an_outcome_that_ends_after_the_decision_is_caught(fill, calendar, monkeypatch):
    # The guard itself taken out: all outcomes count from the beginning.
    from gnn_assets.backtests import kelly

    def hindsight(weights_RxN, rows_R, fill_returns_TxN, *, costs, config):
        outcomes_R = kelly.outcomes(weights_RxN, rows_R, fill_returns_TxN, costs=costs, config=config)
        return np.array([kelly.kelly_size(outcomes_R, config=config.sizing.kelly) for _ in rows_R])

    monkeypatch.setattr("gnn_assets.backtests.sizing.kelly_sizes", hindsight)
    with pytest.raises(AssertionError, match="look-ahead"):
        _see_no_future(lambda data: _sized(data, STEPS["kelly_moments"], calendar, execution={"fill": fill}), calendar)


@given(
    seed=st.integers(0, 1000),
    volatility=st.sampled_from([0.02, 0.1, 0.5]),
    name_cap=st.sampled_from([None, 0.2, 0.4]),
    sector_cap=st.sampled_from([None, 0.4, 0.7]),
    size=st.tuples(st.sampled_from([0.5, 1.0, 2.0]), st.integers(1, 8)),
)
@settings(max_examples=25, deadline=None)
def test_caps_leverage_and_volatility_hold_together(seed, volatility, name_cap, sector_cap, size):
    leverage, n_names = size
    data = _market(40, n_names, seed=seed)
    data["returns"] = np.nan_to_num(data["returns"])
    rows_R = np.array([25, 39])
    sectors_RxN = np.tile(np.arange(n_names) % 3, (2, 1))
    sizing = {"volatility": volatility, "name_cap": name_cap, "sector_cap": sector_cap}
    weights_RxN = steadied(
        data["weights"][rows_R],
        rows_R,
        data["returns"],
        sectors_RxN=sectors_RxN,
        leverage=leverage,
        config=_config(sizing, max_weight=0.9),
    )
    assert (np.sign(weights_RxN) == np.sign(data["weights"][rows_R])).all()
    assert np.abs(weights_RxN).max() <= (name_cap or 0.9)
    assert (np.abs(weights_RxN).sum(axis=1) <= leverage * (1 + 1e-12)).all()
    if sector_cap is not None:
        for sign in (1, -1):
            for sector in range(3):
                held_R = np.maximum(sign * weights_RxN, 0) @ (sectors_RxN[0] == sector)
                assert (held_R <= sector_cap + 1e-12).all()


def _steadied(weights, returns_TxN, *, row, leverage=4.0, target=0.1):
    return steadied(
        np.array([weights]),
        np.array([row]),
        returns_TxN,
        sectors_RxN=None,
        leverage=leverage,
        config=_config({"volatility": target}),
    )[0]


def test_known_answer_one_name_is_scaled_to_the_volatility():
    returns_TxN = _market()["fill_returns"][:, :1]
    weight = _steadied([0.3], returns_TxN, row=60)[0]
    assert _volatility(np.array([weight]), returns_TxN, 60) == pytest.approx(0.1, rel=1e-9)


def test_the_portfolio_earns_the_volatility_that_it_was_scaled_to():
    # Volatility changes by three with the season; what the steadied portfolio earns keeps near a tenth throughout.
    rng = np.random.default_rng(0)
    scale_T = np.exp(np.sin(np.arange(1200) / 100) * np.log(3) / 2)
    market_T, own_TxN = rng.normal(size=1200), rng.normal(size=(1200, 5))
    returns_TxN = 0.01 * scale_T[:, None] * (0.6 * market_T[:, None] + 0.8 * own_TxN)
    rows_R = np.arange(60, 1199)
    weights_RxN = steadied(
        np.full((len(rows_R), 5), 0.2),
        rows_R,
        returns_TxN,
        sectors_RxN=None,
        leverage=4.0,
        config=_config({"volatility": 0.1, "forecast": {"window": 60, "half_life": 20}}),
    )
    earned_T = (weights_RxN * np.expm1(returns_TxN[rows_R + 1])).sum(axis=1)
    plain_T = np.expm1(returns_TxN[rows_R + 1]).mean(axis=1)
    wild_T = scale_T[rows_R + 1] > 1
    assert np.sqrt(252) * earned_T.std() == pytest.approx(0.1, rel=0.08)
    assert earned_T[wild_T].std() / earned_T[~wild_T].std() == pytest.approx(1, rel=0.15)
    assert plain_T[wild_T].std() / plain_T[~wild_T].std() > 1.8


def test_no_more_is_held_than_leverage_lets():
    returns_TxN = _market()["fill_returns"]
    weights_N = _steadied([0.2, 0.1, -0.1, 0, 0, 0], returns_TxN, row=60, leverage=0.8, target=1.0)
    assert np.abs(weights_N).sum() == pytest.approx(0.8)
    np.testing.assert_allclose(weights_N[:3] / weights_N[0], [1, 0.5, -0.5])


def test_a_portfolio_that_is_not_expected_to_move_is_scaled_to_the_leverage():
    # Long and short of the same: the little that shrinkage leaves of a risk asks for more than leverage lets.
    returns_TxN = np.repeat(_market()["fill_returns"][:, :1], 2, axis=1)
    np.testing.assert_allclose(_steadied([0.1, -0.1], returns_TxN, row=60, leverage=1.0), [0.5, -0.5])


def test_a_name_whose_risk_cannot_be_told_is_not_held():
    returns_TxN = _market()["fill_returns"].copy()
    returns_TxN[45:, 1], returns_TxN[:, 2] = np.nan, 0.0
    weights_N = _steadied([0.3, 0.3, 0.4, 0, 0, 0], returns_TxN, row=60)
    assert weights_N.tolist()[1:] == [0.0] * 5
    assert weights_N[0] > 0
    assert not _steadied([0.3, 0.3, 0.4, 0, 0, 0], returns_TxN, row=5).any()


def test_caps_that_push_into_wilder_names_do_not_break_the_volatility():
    rng = np.random.default_rng(5)
    returns_TxN = rng.normal(size=(60, 2)) * [0.002, 0.05]
    config = _config({"volatility": 0.05, "name_cap": 0.5})
    weights_N = steadied(
        np.array([[0.95, 0.05]]), np.array([59]), returns_TxN, sectors_RxN=None, leverage=2.0, config=config
    )[0]
    assert weights_N.max() <= 0.5
    assert _volatility(weights_N, returns_TxN, 59) == pytest.approx(0.05, rel=0.1)


def test_later_steps_only_make_a_portfolio_smaller(calendar):
    data = _market()
    before = _sized(data, {"volatility": 0.1, "name_cap": 0.3, "sector_cap": 0.4}, calendar)
    after = _sized(data, EVERYTHING | {"correlation": {"limit": None}}, calendar)
    assert (np.abs(after) <= np.abs(before)).all()
    assert (np.abs(after) < np.abs(before)).any()


def test_gaps_without_sessions_are_refused(calendar):
    data = _market()
    with pytest.raises(DataError, match=r"backtests\.sizing\.gap\.days: expected the sessions of the rows"):
        sized(
            data["weights"],
            np.arange(100),
            returns_TxN=data["returns"],
            fill_returns_TxN=data["fill_returns"],
            costs=Costs.of(None, execution=build_config("test").execution, n_sessions=100),
            config=_config(STEPS["gap"]),
        )


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            {"volatility": -0.1},
            "sizing.volatility: Input should be greater than or equal to 0.01, was -0.1; correct it",
        ),
        ({"volatility": 10}, "sizing.volatility: Input should be less than or equal to 1, was 10"),
        ({"name_cap": 0}, "sizing.name_cap: Input should be greater than 0, was 0"),
        ({"name_cap": 1.5}, "sizing.name_cap: Input should be less than or equal to 1, was 1.5"),
        ({"sector_cap": 0.0}, "sizing.sector_cap: Input should be greater than 0, was 0.0"),
        ({"sector_cap": 2}, "sizing.sector_cap: Input should be less than or equal to 1, was 2"),
        (
            {"name_cap": 0.3, "sector_cap": 0.2},
            "backtests.sizing.sector_cap must be at least backtests.sizing.name_cap (0.3), was 0.2",
        ),
        ({"kelly": {"fraction": 1.5}}, "sizing.kelly.fraction: Input should be less than or equal to 1, was 1.5"),
        ({"kelly": {"fraction": 0}}, "sizing.kelly.fraction: Input should be greater than 0, was 0"),
        ({"kelly": {"cap": 1.1}}, "sizing.kelly.cap: Input should be less than or equal to 1, was 1.1"),
        (
            {"kelly": {"min_outcomes": 3}},
            "sizing.kelly.min_outcomes: Input should be greater than or equal to 10, was 3",
        ),
        ({"kelly": {"form": "all_in"}}, "sizing.kelly.form: Input should be 'binary' or 'moments', was 'all_in'"),
        ({"correlation": {"limit": 0}}, "sizing.correlation.limit: Input should be greater than 0, was 0"),
        ({"correlation": {"limit": 1}}, "sizing.correlation.limit: Input should be less than 1, was 1"),
        ({"gap": {"days": 0}}, "sizing.gap.days: Input should be greater than or equal to 1, was 0"),
        ({"forecast": {"window": 5}}, "sizing.forecast.window: Input should be greater than or equal to 20, was 5"),
        (
            {"forecast": {"half_life": 1}},
            "forecast.half_life must be at least backtests.sizing.forecast.window / 40 (6.3), was 1.0",
        ),
        ({"volatilty": 0.1}, "backtests.sizing.volatilty: no such setting (value 0.1); did you mean 'volatility'?"),
    ],
)
def test_a_size_that_makes_no_sense_is_refused_by_name(override, sentence):
    with pytest.raises(ConfigError) as refused:
        build_config("test", {"backtests": {"sizing": override}})
    assert sentence in str(refused.value)


def test_a_cap_above_the_one_of_the_strategy_is_refused():
    with pytest.raises(ConfigError, match=r"name_cap must be at most backtests.max_weight \(0.2\), was 0.3"):
        build_config("test", {"backtests": {"max_weight": 0.2, "sizing": {"name_cap": 0.3}}})
