from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from gnn_assets.core.config import FactorsConfig, build_config
from gnn_assets.core.errors import ConfigError
from gnn_assets.graphs.factors import (
    Factors,
    factor_loadings,
    orthonormal_basis,
    project_off,
    residual_returns,
    residual_rows,
)
from gnn_assets.store.panel import to_panel
from gnn_assets_tests.lookahead import assert_no_lookahead

DATA = Path(__file__).parents[2] / "../shared/data/nasdaq_bars.parquet"
WINDOW = 30
CONFIG = build_config("live").graphs.factors.model_copy(
    update={"window": WINDOW, "refresh_weeks": 1, "count": 3, "projected": 2, "min_share": 0.7}
)
UNCLIPPED = CONFIG.model_copy(update={"clip": 1e9})
# Mondays to Fridays from a Monday on.
SESSIONS = [date(2020, 1, 6) + timedelta(days=day) for day in range(140) if day % 7 < 5]


def returns_of(n_symbols=12, *, missing=0.05, seed=0, n_sessions=100):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n_sessions, 3)) @ rng.normal(size=(3, n_symbols)) + 0.5
    returns = 0.01 * (common + rng.standard_t(4, size=(n_sessions, n_symbols))) * rng.uniform(0.5, 3, n_symbols)
    returns[rng.random(returns.shape) < missing] = np.nan
    return returns


def fitted(returns_TxN, *, config=CONFIG, sessions=SESSIONS):
    return factor_loadings(returns_TxN, sessions=sessions, config=config)


def window_of(returns_TxN, factors, fit):
    row = SESSIONS.index(factors.sessions_R[fit])
    return pd.DataFrame(returns_TxN[row - WINDOW + 1 : row + 1])


def clipped_of(window, clip):
    return ((window - window.mean()) / window.std(ddof=0)).clip(-clip, clip)


def made_of(loadings_NxC, *, beta=None, deviation=None):
    """One fit, made by hand, known from the first session on."""
    n_symbols, count = loadings_NxC.shape
    beta = np.linspace(0.5, 1.5, n_symbols) if beta is None else beta
    deviation = np.ones(n_symbols) if deviation is None else deviation
    return Factors(tuple(SESSIONS[:1]), loadings_NxC[None], deviation[None], beta[None], np.ones((1, count)))


def projected(scores, factors, *, count=2, **taken_off):
    return project_off(
        np.atleast_2d(scores), factors, sessions=SESSIONS[: len(np.atleast_2d(scores))], count=count, **taken_off
    )


def assert_same_fits(first, second):
    assert first.sessions_R == second.sessions_R
    for name in ("loadings_RxNxC", "deviation_RxN", "beta_RxN", "explained_RxC"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes(), name


def test_loadings_are_those_of_principal_components_where_nothing_is_missing_or_clipped():
    returns = returns_of(missing=0)
    factors = fitted(returns, config=UNCLIPPED)
    for fit in range(len(factors.sessions_R)):
        window = window_of(returns, factors, fit)
        oracle = PCA(n_components=3, svd_solver="full").fit((window - window.mean()) / window.std(ddof=0))
        np.testing.assert_allclose(factors.loadings_RxNxC[fit], oracle.components_.T, atol=1e-10)
        np.testing.assert_allclose(factors.explained_RxC[fit], oracle.explained_variance_ratio_, atol=1e-12)
        np.testing.assert_allclose(factors.deviation_RxN[fit], window.std(ddof=0), rtol=1e-12)


def test_missing_returns_count_as_the_mean_and_large_ones_are_cut_before_the_decomposition():
    returns = returns_of(missing=0.1)
    factors = fitted(returns)
    clipped = clipped_of(window_of(returns, factors, 2), CONFIG.clip)
    assert (clipped.abs() == CONFIG.clip).any(axis=None)
    _, singular, right = np.linalg.svd(clipped.fillna(0))
    np.testing.assert_allclose(np.abs(factors.loadings_RxNxC[2]), np.abs(right[:3].T), atol=1e-10)
    np.testing.assert_allclose(factors.explained_RxC[2], singular[:3] ** 2 / (singular**2).sum(), atol=1e-12)


def test_beta_is_the_slope_on_the_equal_weight_mean_over_the_sessions_a_symbol_has():
    returns = returns_of(missing=0.1)
    factors = fitted(returns)
    window = window_of(returns, factors, 0)
    clipped = clipped_of(window, CONFIG.clip) * window.std(ddof=0) + window.mean()
    market = clipped.mean(axis=1)
    for symbol in clipped:
        oracle = sm.OLS(clipped[symbol], sm.add_constant(market), missing="drop").fit()
        assert factors.beta_RxN[0, symbol] == pytest.approx(oracle.params.iloc[1], abs=1e-10)


def test_beta_is_zero_where_the_market_stands_still():
    # Their mean is nothing but rounding.
    first, second = returns_of(2, missing=0).T
    returns = np.column_stack([first, second, -first - second])
    np.testing.assert_array_equal(fitted(returns, config=UNCLIPPED).beta_RxN, 0)


def test_the_largest_loading_of_a_direction_is_positive():
    loadings = fitted(returns_of()).loadings_RxNxC
    largest = np.take_along_axis(loadings, np.abs(loadings).argmax(axis=1, keepdims=True), axis=1)
    assert (largest > 0).all()


def test_a_symbol_with_too_little_history_or_no_movement_takes_no_part_and_changes_nothing():
    returns = returns_of(5, missing=0)
    alone = fitted(returns)
    short, still, half = returns_of(3, missing=0, seed=1).T.copy()
    short[:] = np.where(np.arange(len(short)) % 10 < 6, short, np.nan)  # 18 of 30, 21 are asked for
    still[:] = 0.1
    half[:] = np.inf
    factors = fitted(np.column_stack([returns, short, still, half]))
    for name in ("loadings_RxNxC", "deviation_RxN", "beta_RxN"):
        np.testing.assert_allclose(getattr(factors, name)[:, :5], getattr(alone, name), atol=1e-10)
        assert np.isnan(getattr(factors, name)[:, 5:]).all()


def test_the_share_of_the_window_must_be_reached_exactly():
    returns = returns_of(4, missing=0)
    row = SESSIONS.index(fitted(returns).sessions_R[0])
    returns[row - 8 : row + 1, 0] = np.nan  # leaves 21 of 30: a share of 0.7
    assert np.isfinite(fitted(returns).deviation_RxN[0, 0])
    returns[row - 9, 0] = np.nan
    assert np.isnan(fitted(returns).deviation_RxN[0, 0])


def test_directions_the_data_do_not_have_are_zero_and_explain_nothing():
    one = returns_of(1, missing=0)
    factors = fitted(np.hstack([one, 2 * one]))
    np.testing.assert_allclose(factors.explained_RxC, [[1, 0, 0]] * len(factors.sessions_R))
    assert (factors.loadings_RxNxC[..., 1:] == 0).all()


@pytest.mark.parametrize(("n_symbols", "directions"), [(3, 1), (7, 1), (8, 2), (40, 10), (60, 12)])
def test_of_few_symbols_fewer_directions_are_fitted_so_that_returns_keep_a_residual(n_symbols, directions):
    returns = returns_of(n_symbols, missing=0.0)
    factors = fitted(returns, config=CONFIG.model_copy(update={"count": 12, "max_share": 0.25}))
    assert ((factors.explained_RxC > 0).sum(axis=1) == directions).all()
    assert not factors.loadings_RxNxC[:, :, directions:].any()
    residual = residual_returns(returns, factors, sessions=SESSIONS)
    assert np.isfinite(residual[-1]).all()


def test_no_symbols_and_too_short_a_history_have_defined_results():
    blank = fitted(np.full((len(SESSIONS), 4), np.nan))
    assert np.isnan(blank.loadings_RxNxC).all()
    assert (blank.explained_RxC == 0).all()
    assert np.isnan(residual_returns(np.ones((len(SESSIONS), 4)), blank, sessions=SESSIONS)).all()
    assert fitted(np.empty((len(SESSIONS), 0))).loadings_RxNxC.shape[1:] == (0, 3)
    short = fitted(returns_of()[: WINDOW - 1], sessions=SESSIONS[: WINDOW - 1])
    assert (short.sessions_R, short.known_at(SESSIONS[-1])) == ((), None)


def test_fits_are_made_at_the_first_session_of_every_so_many_weeks():
    weekly = fitted(returns_of())
    assert {session.weekday() for session in weekly.sessions_R} == {0}
    assert {later - first for first, later in zip(weekly.sessions_R, weekly.sessions_R[1:], strict=False)} == {
        timedelta(7)
    }
    fortnightly = fitted(returns_of(), config=CONFIG.model_copy(update={"refresh_weeks": 2}))
    assert fortnightly.sessions_R in (weekly.sessions_R[::2], weekly.sessions_R[1::2])
    holiday = [session for session in SESSIONS if session != weekly.sessions_R[1]]
    moved = fitted(returns_of()[: len(holiday)], sessions=holiday).sessions_R
    assert moved == (weekly.sessions_R[0], weekly.sessions_R[1] + timedelta(1), *weekly.sessions_R[2:])


@given(st.integers(0, 60), st.integers(1, 40))
@settings(max_examples=40)
def test_neither_where_the_panel_starts_nor_where_it_ends_moves_a_fit_or_its_bits(start, cut):
    returns = returns_of()
    whole = fitted(returns)
    part = fitted(returns[start:-cut], sessions=SESSIONS[start:-cut])
    # A fit needs its window, and a session before it to be the first of its weeks.
    kept = [
        fit
        for fit, session in enumerate(whole.sessions_R)
        if start + WINDOW - 1 <= SESSIONS.index(session) < len(SESSIONS) - cut
    ]
    expected = Factors(
        tuple(whole.sessions_R[fit] for fit in kept),
        *(getattr(whole, name)[kept] for name in ("loadings_RxNxC", "deviation_RxN", "beta_RxN", "explained_RxC")),
    )
    assert_same_fits(part, expected)


@pytest.mark.parametrize("days_a_week", [5, 7])
@pytest.mark.parametrize("weeks", [1, 2])
def test_the_lookback_holds_the_fit_known_before_its_last_session(days_a_week, weeks):
    config = CONFIG.model_copy(update={"refresh_weeks": weeks})
    sessions = [date(2020, 1, 1) + timedelta(day) for day in range(120) if day % 7 < days_a_week]
    returns = returns_of(4, n_sessions=len(sessions))
    whole = fitted(returns, config=config, sessions=sessions)
    for end in range(config.lookback, len(sessions) + 1):
        part = slice(end - config.lookback, end)
        recent = fitted(returns[part], config=config, sessions=sessions[part])
        newest, expected = recent.known_before(sessions[end - 1]), whole.known_before(sessions[end - 1])
        assert recent.sessions_R[newest] == whole.sessions_R[expected]
        assert recent.loadings_RxNxC[newest].tobytes() == whole.loadings_RxNxC[expected].tobytes()


def test_sessions_out_of_order_are_refused():
    with pytest.raises(ValueError, match="sessions: expected ascending dates, was 2020-01-06 after 2020-01-06"):
        fitted(returns_of(), sessions=[SESSIONS[0], *SESSIONS[:-1]])


def test_a_fit_is_known_at_its_own_close_and_before_the_next_session():
    factors = fitted(returns_of())
    first, second = factors.sessions_R[:2]
    day = timedelta(1)
    assert [factors.known_at(session) for session in (first - day, first, second - day, second)] == [None, 0, 0, 1]
    assert [factors.known_before(session) for session in (first, first + day, second, second + day)] == [None, 0, 0, 1]


def test_residuals_are_those_of_weighted_least_squares_on_loadings_known_before():
    returns = returns_of(missing=0.1)
    factors = fitted(returns)
    residual = residual_returns(returns, factors, sessions=SESSIONS)
    checked = 0
    for row, session in enumerate(SESSIONS):
        earlier = [fit for fit, made in enumerate(factors.sessions_R) if made < session]
        if not earlier:
            assert np.isnan(residual[row]).all()
            continue
        deviation = factors.deviation_RxN[earlier[-1]]
        present = np.isfinite(returns[row]) & np.isfinite(deviation)
        exposure = factors.loadings_RxNxC[earlier[-1]] * deviation[:, None]
        oracle = sm.WLS(returns[row, present], exposure[present], weights=deviation[present] ** -2).fit()
        np.testing.assert_allclose(residual[row, present], oracle.resid, atol=1e-13)
        assert np.isnan(residual[row, ~present]).all()
        checked += 1
    assert checked > 50


def test_a_session_with_no_more_symbols_than_directions_has_no_residuals():
    returns = returns_of(missing=0)
    factors = fitted(returns)
    returns[-1, 3:] = np.nan
    assert np.isnan(residual_returns(returns, factors, sessions=SESSIONS)[-1]).all()
    returns[-1, 3] = 0.01
    residual = residual_returns(returns, factors, sessions=SESSIONS)[-1]
    assert np.isfinite(residual).tolist() == [True] * 4 + [False] * 8


def everything(data):
    """All that a session knows of factors, row by row."""
    factors = fitted(data["returns"])
    known = [factors.known_at(session) for session in SESSIONS]
    loadings = np.stack(
        [
            np.full(factors.loadings_RxNxC.shape[1:], np.nan) if fit is None else factors.loadings_RxNxC[fit]
            for fit in known
        ]
    )
    return {
        "loadings": loadings,
        "residuals": residual_returns(data["returns"], factors, sessions=SESSIONS),
        "projected": project_off(data["returns"], factors, sessions=SESSIONS, count=2),
    }


@pytest.mark.parametrize("row", [35, 44, 45, 46, 70, 98])
def test_nothing_of_a_session_changes_by_a_bit_whatever_comes_later(row):
    assert_no_lookahead(everything, {"returns": returns_of()}, at=SESSIONS[row], sessions=SESSIONS)


def test_the_same_test_fails_on_planted_fits_of_the_future(monkeypatch):
    monkeypatch.setattr(Factors, "known_at", lambda self, _: len(self.sessions_R) - 1)
    with pytest.raises(AssertionError, match="look-ahead: loadings of"):
        assert_no_lookahead(everything, {"returns": returns_of()}, at=SESSIONS[70], sessions=SESSIONS)


def own_return_and_fit(symbol):
    """Residuals of a session with a fit, once with and once without a move of one symbol."""
    moved = returns_of(missing=0)
    row = SESSIONS.index(fitted(moved).sessions_R[3])
    moved[row, symbol] += 0.5
    made = [fitted(returns) for returns in (returns_of(missing=0), moved)]
    return [residual_returns(moved, factors, sessions=SESSIONS)[row] for factors in made]


def test_a_session_s_residuals_do_not_know_the_fit_its_own_returns_went_into(monkeypatch):
    np.testing.assert_array_equal(*own_return_and_fit(4))
    monkeypatch.setattr(Factors, "known_before", Factors.known_at)
    assert (np.abs(np.subtract(*own_return_and_fit(4))) > 1e-6).any()


def bits_by_threads():
    returns = returns_of(400, n_sessions=260)
    sessions = [date(2020, 1, 6) + timedelta(day) for day in range(260)]
    config = CONFIG.model_copy(update={"window": 250, "count": 20})
    made = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads, user_api="blas"):
            factors = fitted(returns, config=config, sessions=sessions)
            made.append(factors.loadings_RxNxC.tobytes())
    return made


def test_loadings_have_the_same_bits_whatever_the_number_of_threads():
    one, two = bits_by_threads()
    assert one == two


@st.composite
def problems(draw):
    """Loadings and beta of some symbols, some unknown, and scores for some of them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_symbols = draw(st.integers(1, 25))
    loadings = rng.normal(size=(n_symbols, draw(st.integers(1, 6))))
    if draw(st.booleans()):
        loadings[:, -1] = loadings[:, 0]
    beta = rng.normal(1, draw(st.sampled_from([0, 0.3])), n_symbols)
    unknown = rng.random(n_symbols) < draw(st.sampled_from([0, 0.2, 1]))
    deviation = 10 ** rng.uniform(-3, draw(st.sampled_from([-3, -1])), n_symbols)
    loadings[unknown], beta[unknown], deviation[unknown] = np.nan, np.nan, np.nan
    scores = rng.normal(draw(st.sampled_from([0, 5])), 10 ** draw(st.floats(-6, 6)), size=(2, n_symbols))
    scores[:, rng.random(n_symbols) < draw(st.sampled_from([0, 0.3, 1]))] = np.nan
    taken_off = {
        "count": draw(st.integers(1, 6)),
        "with_constant": draw(st.booleans()),
        "with_beta": draw(st.booleans()),
    }
    return made_of(loadings, beta=beta, deviation=deviation), scores, taken_off, rng.permutation(n_symbols)


@given(problems())
@settings(max_examples=100)
def test_a_projection_is_idempotent_linear_orthogonal_and_never_longer_and_keeps_gaps(problem):
    factors, scores, taken_off, order = problem
    left = projected(scores, factors, **taken_off)
    close = {"rtol": 0, "atol": 1e-10 * max(np.nanmax(np.abs(scores), initial=0), 1e-300)}
    np.testing.assert_array_equal(np.isnan(left), np.isnan(scores))
    np.testing.assert_allclose(projected(left, factors, **taken_off), left, **close)
    both = projected(3 * scores[0] - 2 * scores[1], factors, **taken_off)[0]
    np.testing.assert_allclose(both, 3 * left[0] - 2 * left[1], **{**close, "atol": 6 * close["atol"]})
    assert (np.nansum(left**2, axis=1) <= np.nansum(scores**2, axis=1) * (1 + 1e-12)).all()
    present = np.isfinite(scores[0])
    moves = factors.loadings_RxNxC[0, :, : taken_off["count"]] * factors.deviation_RxN[0][:, None]
    along = left[:, present] @ np.nan_to_num(moves[present]) / len(scores.T)
    np.testing.assert_allclose(along, 0, **{**close, "atol": 10 * close["atol"]})
    if taken_off["with_constant"]:
        np.testing.assert_allclose(left[:, present].sum(axis=1) / len(scores.T), 0, **close)
    known = present & np.isfinite(factors.beta_RxN[0])
    if taken_off["with_beta"] and known.any():
        beta = np.where(known, factors.beta_RxN[0], factors.beta_RxN[0, known].mean())[present]
        np.testing.assert_allclose(left[:, present] @ beta / len(scores.T), 0, **{**close, "atol": 10 * close["atol"]})
    per_symbol = ("loadings_RxNxC", "deviation_RxN", "beta_RxN")
    shuffled = replace(factors, **{name: getattr(factors, name)[:, order] for name in per_symbol})
    np.testing.assert_allclose(projected(scores[:, order], shuffled, **taken_off), left[:, order], **close)


def test_what_is_left_is_the_residual_of_ordinary_least_squares():
    factors = fitted(returns_of(missing=0))
    scores = np.random.default_rng(4).normal(size=12)
    fit = factors.known_at(SESSIONS[-1])
    moves = factors.loadings_RxNxC[fit, :, :2] * factors.deviation_RxN[fit][:, None]
    design = sm.add_constant(np.column_stack([moves, factors.beta_RxN[fit]]))
    left = project_off(scores[None], factors, sessions=SESSIONS[-1:], count=2)[0]
    np.testing.assert_allclose(left, sm.OLS(scores, design).fit().resid, atol=1e-12)


@pytest.mark.parametrize(("n_symbols", "something_left"), [(1, False), (3, False), (4, False), (5, True)])
def test_too_few_symbols_for_anything_to_be_left_have_exact_zeros(n_symbols, something_left):
    rng = np.random.default_rng(0)
    scores = np.where(np.arange(9) < n_symbols, rng.normal(size=9), np.nan)
    left = projected(scores, made_of(rng.normal(size=(9, 3))))[0]
    assert (left[:n_symbols] != 0).all() if something_left else (left[:n_symbols] == 0).all()
    assert np.isnan(left[n_symbols:]).all()


def test_scores_before_the_first_fit_are_nothing_yet():
    factors = replace(made_of(np.ones((4, 1))), sessions_R=(SESSIONS[1],))
    left = projected(np.arange(8.0).reshape(2, 4), factors, count=1)
    assert np.isnan(left[0]).all()
    assert np.isfinite(left[1]).all()


def test_a_symbol_without_loadings_loses_the_mean_and_nothing_else():
    rng = np.random.default_rng(0)
    loadings, beta = rng.normal(size=(6, 2)), np.ones(6)
    loadings -= loadings.mean(axis=0)
    loadings[5], beta[5] = np.nan, np.nan
    loadings[:5] -= loadings[:5].mean(axis=0)
    scores = rng.normal(size=6)
    assert projected(scores, made_of(loadings, beta=beta))[0, 5] == pytest.approx(scores[5] - scores.mean())


def test_a_direction_that_depends_on_others_is_taken_off_once():
    rng = np.random.default_rng(0)
    scores, loadings = rng.normal(size=8), rng.normal(size=(8, 2))
    level = projected(scores, made_of(loadings, beta=np.full(8, 0.7)))
    np.testing.assert_allclose(level, projected(scores, made_of(loadings), with_beta=False), atol=1e-12)
    assert orthonormal_basis(np.column_stack([loadings, loadings.sum(axis=1), np.zeros(8)])).shape == (8, 2)


def test_the_scale_of_a_direction_changes_nothing():
    rng = np.random.default_rng(0)
    scores, loadings, beta = rng.normal(size=8), rng.normal(size=(8, 2)), rng.normal(size=8)
    small = projected(scores, made_of(1e-12 * loadings, beta=1e12 * beta))
    np.testing.assert_allclose(small, projected(scores, made_of(loadings, beta=beta)), atol=1e-12)


def test_a_score_s_part_along_how_returns_move_is_taken_off_and_not_along_how_standardised_ones_do():
    rng = np.random.default_rng(0)
    loadings, deviation, scores = rng.normal(size=(8, 1)), rng.uniform(0.5, 3, 8), rng.normal(size=8)
    fit = made_of(loadings, deviation=deviation)
    left = projected(scores, fit, count=1, with_constant=False, with_beta=False)[0]
    assert left @ (loadings[:, 0] * deviation) == pytest.approx(0, abs=1e-12)
    assert abs(left @ loadings[:, 0]) > 0.1


def residual_by_itself(returns_N, factors, fit):
    """One session as if there were no other."""
    deviation_N, left_N = factors.deviation_RxN[fit], np.full(len(returns_N), np.nan)
    present = np.isfinite(returns_N) & np.isfinite(deviation_N)
    directions = factors.loadings_RxNxC[fit][:, factors.explained_RxC[fit] > 0]
    if present.sum() > directions.shape[1]:
        scaled, basis = returns_N[present] / deviation_N[present], orthonormal_basis(directions[present])
        left_N[present] = (scaled - basis @ (basis.T @ scaled)) * deviation_N[present]
    return left_N


@st.composite
def sessions_with_gaps(draw):
    """Returns in which some sessions on end lack the same symbols, some others, and some all but a few."""
    returns = returns_of(missing=0.0)
    for _ in range(draw(st.integers(0, 6))):
        first = draw(st.integers(0, len(SESSIONS) - 1))
        lacking = draw(st.lists(st.integers(0, returns.shape[1] - 1), max_size=12))
        returns[first : first + draw(st.integers(1, 12)), lacking] = np.nan
    return returns


@settings(max_examples=20, deadline=None)
@given(sessions_with_gaps())
def test_sessions_that_share_fit_and_symbols_have_the_bits_each_has_by_itself(returns):
    factors = fitted(returns_of(missing=0.1))
    known = [factors.known_before(session) for session in SESSIONS]
    residual, off = residual_rows(returns, factors, known), projected(returns, factors)
    for row, fit in enumerate(known):
        alone = np.full(returns.shape[1], np.nan) if fit is None else residual_by_itself(returns[row], factors, fit)
        assert residual[row].tobytes() == alone.tobytes()
        own = project_off(returns[row : row + 1], factors, sessions=SESSIONS[row : row + 1], count=2)
        assert off[row].tobytes() == own[0].tobytes()


def test_more_directions_projected_than_fitted_are_refused():
    with pytest.raises(
        ConfigError, match=r"graphs\.factors\.projected must be at most graphs\.factors\.count \(3\), was 4"
    ):
        build_config("test", {"graphs": {"factors": {"count": 3, "projected": 4}}})


def common_share(returns_TxN):
    """Share of the standardised variance along the direction most shared."""
    scaled = np.clip(returns_TxN / np.nanstd(returns_TxN, axis=0), -5, 5)
    scaled = np.nan_to_num(scaled[:, np.isfinite(returns_TxN).mean(axis=0) > 0.9])
    singular = np.linalg.svd(scaled, compute_uv=False)
    return singular[0] ** 2 / (singular**2).sum()


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="shared/data/nasdaq_bars.parquet is not beside the project")
def test_residuals_of_the_real_market_share_a_tenth_of_what_its_returns_share():
    config: FactorsConfig = build_config("live").graphs.factors
    bars = pl.read_parquet(DATA, columns=["symbol", "session", "close"])
    sessions = bars["session"].unique().sort().to_list()[-520:]
    symbols = bars["symbol"].unique().sort().to_list()
    closes = to_panel(bars.filter(pl.col("close") > 0), "close", sessions=sessions, symbols=symbols)
    returns = np.diff(np.log(closes), axis=0, prepend=np.nan)
    returns[np.abs(returns) > 1] = np.nan
    factors = factor_loadings(returns, sessions=sessions, config=config)
    residuals = residual_returns(returns, factors, sessions=sessions)
    assert np.isfinite(residuals[-250:]).mean() > 0.95
    assert common_share(residuals[-250:]) < 0.1 * common_share(returns[-250:])
