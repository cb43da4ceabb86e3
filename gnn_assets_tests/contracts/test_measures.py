"""What every measure of the correlation graph promises, whoever adds it."""

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.core.plugins import load_plugin, plugin_names
from gnn_assets.graphs.correlation import MEASURES, measured_neighbours
from gnn_assets.graphs.window import Window
from gnn_assets_tests.graphs.measures.cases import SETTINGS, WINDOW, config_of, market
from gnn_assets_tests.graphs.oracle import assert_neighbours_agree

LAST = 79
RETURNS = market(n_sessions=LAST + 21, missing=0.05)
BARS = Path(__file__).parents[2] / "../shared/data/nasdaq_bars.parquet"
# Of symbols in alphabetical order: every so many, because the oracle takes each pair of them by itself.
EVERY = 25
every_measure = pytest.mark.parametrize("name", plugin_names(MEASURES))


@pytest.fixture(scope="module")
def nasdaq() -> np.ndarray:
    """Log returns (T, N) of some real stocks, dirt included."""
    closes = pl.read_parquet(BARS, columns=["session", "symbol", "close"]).with_columns(
        pl.col("close").cast(pl.Float64)
    )
    wide = closes.pivot(on="symbol", index="session", values="close").sort("session").drop("session")
    prices = wide[:, ::EVERY].to_numpy()
    return np.diff(np.log(np.where(prices > 0, prices, np.nan)), axis=0)


def _window(name, returns_TxN=RETURNS, row=LAST, **changed) -> Window:
    return load_plugin(MEASURES, name).window_at(returns_TxN, row, config=config_of(name, **changed))


def _lookback(name) -> int:
    return load_plugin(MEASURES, name).lookback(config_of(name))


def _neighbours(name, returns_TxN=RETURNS, sessions=(LAST,), *, threads=1, **changed):
    return measured_neighbours(returns_TxN, config=config_of(name, **changed), sessions=sessions, threads=threads)


def _bits(window: Window) -> tuple[bytes, ...]:
    return tuple(np.asarray(getattr(window, field.name), dtype=np.float64).tobytes() for field in fields(window))


def _graph_bits(neighbours, at: int) -> bytes:
    arrays = (neighbours.dst_SxNxk, neighbours.corr_SxNxk, neighbours.overlap_SxNxk)
    return b"".join(array[at].tobytes() for array in arrays)


def _assert_looks_at_its_lookback_alone(measure, config):
    lookback = measure.lookback(config)
    before = _bits(measure.window_at(RETURNS, LAST, config=config))
    for seed in range(3):
        garbage = np.random.default_rng(seed).normal(size=RETURNS.shape)
        garbage[LAST + 1 - lookback : LAST + 1] = RETURNS[LAST + 1 - lookback : LAST + 1]
        garbage[-1 - seed :] = np.nan
        for returns, row in (
            (garbage, LAST),
            (garbage[: LAST + 1], LAST),
            (garbage[LAST + 1 - lookback :], lookback - 1),
        ):
            same = _bits(measure.window_at(returns, row, config=config)) == before
            assert same, "a look beyond the lookback"


def test_the_default_measure_is_among_them():
    assert build_config("test").graphs.measure in plugin_names(MEASURES)


@every_measure
def test_says_how_far_back_it_looks(name):
    assert isinstance(_lookback(name), int)
    assert _lookback(name) >= WINDOW


@every_measure
def test_looks_at_nothing_outside_its_lookback(name):
    _assert_looks_at_its_lookback_alone(load_plugin(MEASURES, name), config_of(name))


@pytest.mark.parametrize("ahead", [1, -1])
def test_the_same_test_fails_on_a_planted_leak(ahead):
    leaky = SimpleNamespace(
        lookback=lambda config: config.window,
        window_at=lambda returns, row, *, config: Window(returns[row - config.window + 1 + ahead : row + 1 + ahead]),
    )
    with pytest.raises(AssertionError, match="a look beyond the lookback"):
        _assert_looks_at_its_lookback_alone(leaky, config_of("pearson"))


@every_measure
def test_the_first_session_with_a_lookback_has_a_graph_and_none_before(name):
    first = _lookback(name) - 1
    assert _neighbours(name, sessions=None).sessions_S[0] == first
    with pytest.raises(ValueError, match="sessions: expected rows from"):
        _neighbours(name, sessions=[first - 1])


@every_measure
def test_reads_every_session_of_its_lookback(name):
    first = LAST + 1 - _lookback(name)
    altered = RETURNS.copy()
    altered[first] += np.linspace(-1, 1, RETURNS.shape[1])
    assert _bits(_window(name, altered)) != _bits(_window(name))


@every_measure
@pytest.mark.parametrize("n_series", [0, 1, 12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_window_has_the_declared_shapes_types_and_ranges(name, n_series, dtype):
    window = _window(name, RETURNS[:, :n_series].astype(dtype))
    sides = [window.receivers_WxN] if window.senders_WxN is None else [window.receivers_WxN, window.senders_WxN]
    for side in sides:
        assert (side.shape, side.dtype) == ((WINDOW, n_series), np.float64)
        assert not np.isinf(side).any()
    if window.weights_W is not None:
        assert (window.weights_W.shape, window.weights_W.dtype) == ((WINDOW,), np.float64)
        assert (window.weights_W > 0).all()
        assert np.isfinite(window.weights_W).all()
    assert isinstance(window.ranked, bool)
    assert isinstance(window.shrinkage, float)
    assert 0 <= window.shrinkage < 1


@every_measure
def test_what_is_missing_stays_missing_and_what_is_there_stays(name):
    window = _window(name)
    present_LxN = np.isfinite(RETURNS[LAST + 1 - _lookback(name) : LAST + 1])
    np.testing.assert_array_equal(np.isfinite(window.receivers_WxN), present_LxN[-WINDOW:])
    if window.senders_WxN is not None:
        blocks = np.lib.stride_tricks.sliding_window_view(present_LxN, WINDOW, axis=0).swapaxes(1, 2)
        assert any((np.isfinite(window.senders_WxN) == block).all() for block in blocks)


@every_measure
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_returns_count_as_missing(name, value):
    assert _bits(_window(name, np.where(np.isnan(RETURNS), value, RETURNS))) == _bits(_window(name))


@every_measure
def test_returns_are_not_written_to_and_their_layout_does_not_matter(name):
    before = RETURNS.copy()
    bits = _bits(_window(name))
    assert _bits(_window(name, np.asfortranarray(RETURNS))) == bits
    assert _bits(_window(name, np.repeat(RETURNS, 2, axis=1)[:, ::2])) == bits
    _neighbours(name)
    np.testing.assert_array_equal(RETURNS, before)


@every_measure
def test_the_order_of_the_symbols_does_not_matter(name):
    order = np.random.default_rng(0).permutation(RETURNS.shape[1])
    plain, permuted = _window(name), _window(name, RETURNS[:, order])
    np.testing.assert_allclose(permuted.receivers_WxN, plain.receivers_WxN[:, order], rtol=0, atol=1e-15)
    if plain.senders_WxN is not None:
        np.testing.assert_allclose(permuted.senders_WxN, plain.senders_WxN[:, order], rtol=0, atol=1e-15)
    assert permuted.shrinkage == pytest.approx(plain.shrinkage, rel=1e-12)
    np.testing.assert_array_equal(permuted.weights_W, plain.weights_W)


@every_measure
@pytest.mark.parametrize("scale", [2.0**-40, 1e-6, 100.0, -1.0])
def test_the_scale_of_returns_changes_no_neighbour(name, scale):
    plain, scaled = _neighbours(name), _neighbours(name, RETURNS * scale)
    assert (plain.dst_SxNxk >= 0).any()
    np.testing.assert_array_equal(plain.dst_SxNxk, scaled.dst_SxNxk)
    np.testing.assert_allclose(plain.corr_SxNxk, scaled.corr_SxNxk, rtol=0, atol=1e-6)


@every_measure
@pytest.mark.parametrize(
    "returns",
    [
        np.ones((LAST + 1, 0)),
        RETURNS[: LAST + 1, :1],
        np.full((LAST + 1, 3), np.nan),
        np.zeros((LAST + 1, 3)),
        np.full((LAST + 1, 3), 0.1),
    ],
    ids=["no series", "one series", "all missing", "all zero", "all constant"],
)
def test_nobody_has_neighbours_where_there_is_nothing_to_compare(name, returns):
    result = _neighbours(name, returns, min_abs_corr=0.0)
    assert result.dst_SxNxk.shape == (1, returns.shape[1], SETTINGS["k"])
    assert (result.dst_SxNxk == -1).all()


@every_measure
@pytest.mark.parametrize("level", [0.0, 0.1, np.nan])
def test_a_constant_or_absent_series_is_nobodys_neighbour(name, level):
    returns = RETURNS.copy()
    returns[:, 4] = level
    result = _neighbours(name, returns, min_abs_corr=0.0, k=11)
    assert (result.dst_SxNxk[0, 4] == -1).all()
    assert not (result.dst_SxNxk == 4).any()
    assert (result.dst_SxNxk[0, 0] >= 0).sum() == 10


@every_measure
def test_a_session_has_the_same_bits_alone_among_others_and_for_any_number_of_threads(name):
    every = _neighbours(name, sessions=None)
    threaded = _neighbours(name, sessions=None, threads=2)
    for at, row in enumerate(every.sessions_S):
        alone = _graph_bits(_neighbours(name, RETURNS[: row + 1], sessions=[row]), 0)
        assert _graph_bits(every, at) == alone
        assert _graph_bits(threaded, at) == alone


@every_measure
@pytest.mark.parametrize("missing", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("signed", [False, True])
def test_neighbours_are_the_oracles(name, missing, signed):
    returns = market(n_sessions=90, n_series=24, missing=missing, seed=1)
    _assert_agrees(name, returns, [50, 89], signed=signed)


@every_measure
@pytest.mark.skipif(not BARS.exists(), reason="shared/data/nasdaq_bars.parquet is not beside the project")
@pytest.mark.parametrize("missing", [0.0, 0.01, 0.2])
def test_neighbours_are_the_oracles_on_real_returns(name, missing, nasdaq):
    returns = np.where(np.random.default_rng(0).random(nasdaq.shape) < missing, np.nan, nasdaq)
    _assert_agrees(name, returns, [99, 1000], signed=False)


def _assert_agrees(name, returns, rows, *, signed):
    result = _neighbours(name, returns, rows, signed=signed)
    assert (result.dst_SxNxk >= 0).any()
    limits = {key: SETTINGS[key] for key in ("k", "min_abs_corr", "min_overlap")}
    for at, row in enumerate(rows):
        assert_neighbours_agree(result, at, _window(name, returns, row), signed=signed, **limits)
