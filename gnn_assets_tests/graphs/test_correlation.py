from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from threadpoolctl import threadpool_limits

from gnn_assets.graphs import compiled, kernel
from gnn_assets.graphs.correlation import correlation_neighbours
from gnn_assets.graphs.kernel import correlation_matrix
from gnn_assets.graphs.neighbours import Neighbours
from gnn_assets.graphs.window import Window

TOLERANCE = 1e-6
FILE = Path(__file__).parents[2] / "../shared/data/nasdaq_bars.parquet"
NAMES = ("sessions_S", "dst_SxNxk", "corr_SxNxk", "overlap_SxNxk")


def neighbours(returns, *, window=None, k=3, min_abs_corr=0.3, min_overlap=3, sessions=None):
    window = len(returns) if window is None else window
    return correlation_neighbours(
        returns, window=window, k=k, min_abs_corr=min_abs_corr, min_overlap=min_overlap, sessions=sessions
    )


def pandas_correlation(values, min_overlap):
    corr = pd.DataFrame(values).corr(min_periods=min_overlap).to_numpy(copy=True)
    np.fill_diagonal(corr, np.nan)
    return corr


def assert_agrees_with_pandas(values, **settings_):
    assert_result_agrees_with_pandas(neighbours(values, **settings_), values, **settings_)


def assert_result_agrees_with_pandas(result, values, *, k, min_abs_corr, min_overlap):
    """Same values within 1e-6; same neighbours but for differences below 1e-6 at the last place or the threshold."""
    oracle = pandas_correlation(values, min_overlap)
    present = np.isfinite(values).astype(int)
    overlap = present.T @ present
    for i in range(values.shape[1]):
        chosen = result.dst_SxNxk[0, i]
        edges = chosen[chosen >= 0]
        corr = result.corr_SxNxk[0, i, : len(edges)]
        assert (chosen[len(edges) :] == -1).all()
        assert np.isnan(result.corr_SxNxk[0, i, len(edges) :]).all()
        assert (result.overlap_SxNxk[0, i, len(edges) :] == 0).all()
        np.testing.assert_allclose(corr, oracle[i, edges], rtol=0, atol=TOLERANCE)
        assert (result.overlap_SxNxk[0, i, : len(edges)] == overlap[i, edges]).all()
        assert (np.abs(corr) >= min_abs_corr).all()
        # Strongest first, equal ones by position.
        order = [(-abs(r), j) for r, j in zip(corr.tolist(), edges.tolist(), strict=True)]
        assert order == sorted(order)
        assert len(set(edges.tolist())) == len(edges)
        left_out = np.setdiff1d(np.flatnonzero(np.isfinite(oracle[i])), edges)
        weakest = abs(corr[-1]) if len(edges) == k else min_abs_corr
        assert (np.abs(oracle[i, left_out]) <= weakest + TOLERANCE).all()


@pytest.mark.parametrize("missing", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("common", [0.3, 3.0])
def test_agrees_with_pandas_on_a_market_with_gaps(missing, common):
    rng = np.random.default_rng(3)
    returns = 0.01 * (rng.normal(size=(60, 80)) + common * rng.normal(size=(60, 1)))
    returns[rng.random(returns.shape) < missing] = np.nan
    assert_agrees_with_pandas(returns, k=20, min_abs_corr=0.3, min_overlap=40)


# Few distinct values make constant, equal and opposite columns common; a column of large ones far off its own mean
# makes the sums cancel.
cells = st.one_of(st.just(np.nan), st.integers(-3, 3).map(lambda n: n / 4), st.floats(-1, 1, width=32))


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(2, 14), st.integers(1, 7)), elements=cells),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.3, 0.5, 0.95, 1.0]),
    st.integers(2, 6),
)
@settings(max_examples=300, deadline=None)
def test_agrees_with_pandas_on_any_small_table(values, k, min_abs_corr, min_overlap):
    # Where a spread is within a few digits of float64's own resolution there is no right answer to compare with.
    for i in range(values.shape[1]):
        for j in range(values.shape[1]):
            shared = values[np.isfinite(values[:, i]) & np.isfinite(values[:, j]), i]
            spread = np.ptp(shared) if shared.size else 0.0
            assume(spread == 0 or spread > 1e-6 * np.abs(shared).max())
            assume(spread == 0 or spread > 1e-60)
    assert_agrees_with_pandas(values, k=k, min_abs_corr=min_abs_corr, min_overlap=min_overlap)


def test_both_means_and_variances_are_taken_over_shared_sessions_not_imputed():
    first = np.array([1.0, 2.0, 3.0, 4.0, 100.0, np.nan])
    second = np.array([2.0, 4.0, 6.0, 8.0, np.nan, -100.0])
    result = neighbours(np.stack([first, second], axis=1), k=1)
    assert result.corr_SxNxk[0, :, 0].tolist() == [1.0, 1.0]
    assert result.overlap_SxNxk[0, :, 0].tolist() == [4, 4]


@pytest.mark.parametrize("level", [0.0, 0.1, -1 / 3, 1e9, 1e-300])
@pytest.mark.parametrize("gap", [False, True])
def test_a_constant_series_has_no_neighbours_and_is_nobodys(level, gap):
    values = np.random.default_rng(0).normal(size=(30, 4))
    values[:, 1] = level
    if gap:
        values[3, 1] = np.nan
        values[5, 2] = np.nan
    result = neighbours(values, min_abs_corr=0.0)
    assert (result.dst_SxNxk[0, 1] == -1).all()
    assert not (result.dst_SxNxk == 1).any()


def test_the_constant_rule_is_what_keeps_a_constant_series_out(monkeypatch):
    values = np.random.default_rng(0).normal(size=(30, 4))
    values[:, 1] = 0.1
    assert compiled.moments(values, np.ones(30))[4].tolist() == [False, True, False, False]
    monkeypatch.setattr(compiled, "CONSTANT", 0.0)
    assert not compiled.moments.py_func(values, np.ones(30))[4].any()


def test_a_series_constant_only_over_the_shared_sessions_has_no_correlation_there():
    values = np.random.default_rng(0).normal(size=(30, 3))
    values[:20, 0] = 0.1
    values[20:, 1] = np.nan
    result = neighbours(values, min_abs_corr=0.0)
    assert 1 not in result.dst_SxNxk[0, 0]
    assert 2 in result.dst_SxNxk[0, 0]


@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1.0, 1e150])
def test_scale_changes_no_neighbour(scale):
    values = np.random.default_rng(0).normal(size=(40, 6))
    values[4, 2] = np.nan
    plain, scaled = neighbours(values, min_abs_corr=0.0), neighbours(values * scale, min_abs_corr=0.0)
    assert (plain.dst_SxNxk == scaled.dst_SxNxk).all()
    np.testing.assert_allclose(plain.corr_SxNxk, scaled.corr_SxNxk, atol=1e-6)


def test_an_outlier_seen_by_one_series_alone_spoils_nothing():
    rng = np.random.default_rng(0)
    values = 1e-6 * rng.normal(size=(30, 2))
    values[0] = 1.0, np.nan
    result = neighbours(values, k=1, min_abs_corr=0.0)
    expected = np.corrcoef(values[1:].T)[0, 1]
    assert result.corr_SxNxk[0, 0, 0] == pytest.approx(expected, abs=TOLERANCE)


def test_ties_go_to_the_first_position():
    base = np.random.default_rng(0).normal(size=(30, 1))
    values = np.concatenate([base, -base, 2 * base, base, base + 5], axis=1)
    result = neighbours(values, k=3)
    assert result.dst_SxNxk[0].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]]
    assert np.abs(result.corr_SxNxk).tolist() == [[[1.0] * 3] * 5]


def test_correlations_are_equal_in_both_directions():
    values = np.random.default_rng(0).normal(size=(40, 50))
    values[np.random.default_rng(1).random(values.shape) < 0.1] = np.nan
    for table in (values, np.nan_to_num(values)):
        corr = correlation_matrix(Window(table), min_overlap=3)
        np.testing.assert_array_equal(corr, corr.T)
        np.testing.assert_allclose(corr, pandas_correlation(table, 3), rtol=0, atol=TOLERANCE)


def test_the_matrix_and_the_neighbours_are_the_same_numbers():
    values = np.random.default_rng(0).normal(size=(40, 30))
    values[np.random.default_rng(1).random(values.shape) < 0.1] = np.nan
    corr = correlation_matrix(Window(values), min_overlap=30)
    found = neighbours(values, k=29, min_abs_corr=0.0, min_overlap=30)
    src, rank = np.nonzero(found.dst_SxNxk[0] >= 0)
    np.testing.assert_array_equal(found.corr_SxNxk[0, src, rank], corr[src, found.dst_SxNxk[0, src, rank]])
    assert len(src) == np.isfinite(corr).sum()


def nearly_equal(missing):
    """A leader and sixty followers whose correlations with it differ in the eighth digit; float32 cannot order them."""
    rng = np.random.default_rng(0)
    leader, noise = rng.normal(size=(2, 60))
    followers = [leader + noise * (1 + 3e-8 * place) for place in rng.permutation(60)]
    values = np.stack([leader, *followers], axis=1)
    values[rng.random(values.shape) < missing] = np.nan
    return values


def ordered_by_pandas(values):
    corr = pandas_correlation(values, 20)[0].astype(np.float32)
    return sorted(range(1, 61), key=lambda place: (-abs(corr[place]), place))[:5]


def test_float32_sums_rule_out_only_what_they_are_sure_of(monkeypatch):
    values = nearly_equal(missing=0.0)
    assert neighbours(values, k=5, min_overlap=20).dst_SxNxk[0, 0].tolist() == ordered_by_pandas(values)
    wrong = np.concatenate([values, values[:1]])  # a second session, which begins with what the first one found
    monkeypatch.setattr(kernel, "_SLACK_ULPS", -50)
    found = neighbours(wrong, window=60, k=5, min_overlap=20).dst_SxNxk[1, 0]
    assert found.tolist() != ordered_by_pandas(wrong[1:])


def test_the_overlap_must_reach_its_minimum_exactly():
    values = np.random.default_rng(0).normal(size=(10, 2))
    values[:, 1] = values[:, 0]
    values[:4, 1] = np.nan
    assert neighbours(values, min_overlap=6).dst_SxNxk[0, 0, 0] == 1
    assert neighbours(values, min_overlap=7).dst_SxNxk[0, 0, 0] == -1


def test_infinite_returns_count_as_missing():
    values = np.random.default_rng(0).normal(size=(20, 3))
    infinite, missing = values.copy(), values.copy()
    infinite[4, 1], missing[4, 1] = np.inf, np.nan
    np.testing.assert_array_equal(neighbours(infinite).corr_SxNxk, neighbours(missing).corr_SxNxk)


def test_defined_results_for_one_series_no_series_all_missing_and_too_short_a_history():
    assert neighbours(np.ones((5, 1))).dst_SxNxk.tolist() == [[[-1, -1, -1]]]
    assert neighbours(np.ones((5, 0))).dst_SxNxk.shape == (1, 0, 3)
    blank = neighbours(np.full((5, 4), np.nan))
    assert (blank.dst_SxNxk == -1).all()
    short = neighbours(np.ones((5, 4)), window=6)
    assert short.dst_SxNxk.shape == (0, 4, 3)
    assert short.sessions_S.tolist() == []


def test_dtypes_and_shapes_are_those_of_the_contract():
    result = neighbours(np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32), window=15, k=7)
    assert result.sessions_S.tolist() == list(range(14, 20))
    assert (result.dst_SxNxk.shape, result.dst_SxNxk.dtype) == ((6, 5, 7), np.int32)
    assert (result.corr_SxNxk.shape, result.corr_SxNxk.dtype) == ((6, 5, 7), np.float32)
    assert (result.overlap_SxNxk.shape, result.overlap_SxNxk.dtype) == ((6, 5, 7), np.int16)


@pytest.mark.parametrize("rows", [[3], [20], [-1, 15]])
def test_a_row_without_a_full_window_is_refused(rows):
    with pytest.raises(ValueError, match="sessions: expected rows from 9 to 19, was"):
        neighbours(np.ones((20, 3)), window=10, sessions=rows)


def bits(result, at):
    arrays = (result.dst_SxNxk, result.corr_SxNxk, result.overlap_SxNxk)
    return b"".join(array[at].tobytes() for array in arrays)


@pytest.mark.parametrize("missing", [0.0, 0.05])
@pytest.mark.parametrize("n_series", [7, 20, 133])
def test_a_session_has_the_same_bits_alone_in_any_block_and_before_any_future(missing, n_series):
    rng = np.random.default_rng(5)
    returns = rng.normal(size=(90, n_series)) + rng.normal(size=(90, 1))
    returns[rng.random(returns.shape) < missing] = np.nan
    settings_ = {"window": 60, "k": 5, "min_overlap": 40}
    every = neighbours(returns, **settings_)
    block = neighbours(returns, sessions=[88, 61, 75, 61], **settings_)
    for at, row in enumerate([88, 61, 75, 61]):
        assert bits(block, at) == bits(every, row - 59)
    for row in (59, 70, 88):
        garbage = returns.copy()
        garbage[row + 1 :] = rng.lognormal(sigma=9, size=garbage[row + 1 :].shape)
        for alone in (garbage, returns[: row + 1], np.asfortranarray(returns)):
            assert bits(neighbours(alone, sessions=[row], **settings_), 0) == bits(every, row - 59)


def test_the_number_of_threads_changes_no_bit():
    values = np.random.default_rng(0).normal(size=(200, 300))
    values[3, 4] = np.nan
    results = set()
    for threads in (1, 2, 3):
        for blas in (1, 2):
            with threadpool_limits(limits=blas, user_api="blas"):
                found = correlation_neighbours(
                    values, window=190, k=20, min_abs_corr=0.0, min_overlap=100, threads=threads
                )
            results.add(b"".join(bits(found, at) for at in range(11)))
    assert len(results) == 1


def test_what_else_is_in_the_market_changes_no_bit_of_a_correlation():
    values = np.random.default_rng(0).normal(size=(60, 200))
    values[np.random.default_rng(1).random(values.shape) < 0.05] = np.nan
    whole = correlation_matrix(Window(values), min_overlap=30)
    for columns in ([3, 7, 150], range(0, 200, 3), range(199, 100, -1)):
        part = correlation_matrix(Window(values[:, list(columns)]), min_overlap=30)
        np.testing.assert_array_equal(part, whole[np.ix_(list(columns), list(columns))])


def test_a_thousand_names_match_pandas_for_the_rows_looked_at():
    rng = np.random.default_rng(0)
    returns = rng.normal(size=(61, 1000)) + rng.normal(size=(61, 1))
    returns[rng.random(returns.shape) < 0.01] = np.nan
    result = neighbours(returns, window=60, k=20, min_overlap=45, sessions=[60])
    frame = pd.DataFrame(returns[1:])
    for name in (0, 499, 999):
        oracle = frame.corrwith(frame[name]).abs().drop(name).nlargest(20)
        np.testing.assert_allclose(np.abs(result.corr_SxNxk[0, name]), oracle.to_numpy(), atol=TOLERANCE)


@cache
def real_returns():
    bars = pl.read_parquet(FILE).select("session", "symbol", pl.col("close").cast(pl.Float64))
    closes = bars.pivot(on="symbol", index="session", values="close").sort("session").drop("session").to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.diff(np.log(closes), axis=0)
    return np.where(np.isfinite(returns), returns, np.nan)


@pytest.mark.slow
@pytest.mark.skipif(not FILE.exists(), reason="shared/data/nasdaq_bars.parquet is not beside the project")
@pytest.mark.parametrize("missing", [0.0, 0.01, 0.2])
def test_a_thousand_real_names_have_the_neighbours_pandas_gives_them(missing):
    returns = real_returns().copy()
    returns[np.random.default_rng(7).random(returns.shape) < missing] = np.nan
    # Two sessions in a row, so that the second begins with what the first found, and one far away.
    rows = [400, 401, 1300]
    found = neighbours(returns, window=60, k=20, min_overlap=30, sessions=rows)
    for at, row in enumerate(rows):
        window = returns[row - 59 : row + 1]
        alone = Neighbours(*(getattr(found, name)[at : at + 1] for name in NAMES))
        assert_result_agrees_with_pandas(alone, window, k=20, min_abs_corr=0.3, min_overlap=30)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("k", 0),
        ("k", 32768),
        ("min_overlap", 1),
        ("min_abs_corr", np.nan),
        ("min_abs_corr", 1.1),
        ("threads", 0),
        ("window", 1),
        ("window", 32768),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(setting, value):
    settings_ = {"window": 10, "k": 3, "min_abs_corr": 0.3, "min_overlap": 5, setting: value}
    with pytest.raises(ValueError, match=f"^{setting}: expected .* was {value}"):
        correlation_neighbours(np.ones((20, 3)), **settings_)
