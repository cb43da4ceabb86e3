"""What every model of the zoo promises, whoever adds it."""

import inspect
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load, save

from gnn_assets.core.errors import WeightsMismatch
from gnn_assets.core.plugins import load_plugin, plugin_names
from gnn_assets.models import runtime, zoo
from gnn_assets.models.checkpoint import NO_CHECKPOINT
from gnn_assets.models.fitted import Fitted
from gnn_assets.models.network import Inputs, Network
from gnn_assets.models.zoo import reversal
from gnn_assets_tests.models.synthetic import changed, silent, small_data

CONFIG = changed("lightgbm", trees=4)
MODELS = CONFIG.models
DATA = small_data()
ALONE = DATA.seen("identity", seed=0)
TRAIN, VALIDATION, ROWS = range(30, 94), range(97, 117), range(120, 160)
NAMES = plugin_names(zoo.__name__)
# They may read neither neighbours nor directions, nor a feature made of them.
WITHOUT_GRAPH = {"equal_weight", "reversal", "mlp"}
WITHOUT_CHANCE = {"equal_weight", "reversal", "ridge"}
# The others drop a channel of all symbols of a session together.
DROPPING_STATES_ONE_BY_ONE = {"high_pass"}
NETWORKS = {
    name: module
    for name in NAMES
    for module in vars(load_plugin(zoo.__name__, name)).values()
    if inspect.isclass(module)
    and issubclass(module, nnx.Module)
    and "n_features" in inspect.signature(module.__init__).parameters
}
every_model = pytest.mark.parametrize("name", NAMES)
every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(scope="module", autouse=True)
def _jax_runs(tmp_path_factory):
    runtime.start(threads=CONFIG.runtime.threads, cache=tmp_path_factory.mktemp("xla"))


def _fit(name, data=DATA, *, validation=VALIDATION, epochs=None, seed=1, progress=silent) -> Fitted:
    return load_plugin(zoo.__name__, name).fit(
        data,
        train=TRAIN,
        validation=validation,
        config=MODELS,
        seed=seed,
        epochs=epochs,
        progress=progress,
        checkpoint=NO_CHECKPOINT,
    )


_SHARES = {name: [] for name in NAMES}


@cache
def _fitted(name) -> Fitted:
    return _fit(name, progress=lambda share, _text: _SHARES[name].append(share))


def _predict(name, arrays, data=DATA, rows=ROWS):
    return load_plugin(zoo.__name__, name).predict(arrays, data, sessions=rows, config=MODELS)


@cache
def _scores(name):
    return _predict(name, _fitted(name).arrays)


def _bits(fitted):
    return {key: array.tobytes() for key, array in fitted.arrays.items()}


def _after(session, *, labels_from):
    """The data with garbage in every later session."""
    later = np.arange(len(DATA.sessions)) > session
    noise = np.random.default_rng(0).normal(size=DATA.mask_TxN.shape, scale=30)
    factors = DATA.graph.factors
    late_fit = np.array(factors.sessions_R) > DATA.sessions[session]
    returns = np.where(later[:, None], noise, DATA.bars.close_return_TxN)

    def garbled(columns):
        return {name: np.where(later[:, None], noise, column).astype(np.float32) for name, column in columns.items()}

    return replace(
        DATA,
        bars=replace(DATA.bars, close_return_TxN=returns),
        graph=replace(
            DATA.graph,
            close_return_TxN=returns,
            neighbours_TxNxK=np.where(later[:, None, None], -1, DATA.graph.neighbours_TxNxK),
            factors=replace(
                factors,
                loadings_RxNxC=np.where(late_fit[:, None, None], 0.5, factors.loadings_RxNxC),
                beta_RxN=np.where(late_fit[:, None], noise[0], factors.beta_RxN),
            ),
        ),
        own=garbled(DATA.own),
        linked=garbled(DATA.linked),
        labels_TxN=np.where(np.arange(len(later))[:, None] > labels_from, noise, DATA.labels_TxN).astype(np.float32),
        mask_TxN=DATA.mask_TxN & ~later[:, None],
    )


def _permuted(place):
    """The data with its symbols in another order."""
    graph, factors = DATA.graph, DATA.graph.factors
    position = np.argsort(place).astype(np.int32)
    neighbours = graph.neighbours_TxNxK[:, place]
    returns = DATA.bars.close_return_TxN[:, place]
    return replace(
        DATA,
        bars=replace(DATA.bars, symbols=tuple(DATA.symbols[at] for at in place), close_return_TxN=returns),
        graph=replace(
            graph,
            close_return_TxN=returns,
            neighbours_TxNxK=np.where(neighbours >= 0, position[neighbours], -1),
            corr_TxNxK=graph.corr_TxNxK[:, place],
            factors=replace(
                factors,
                loadings_RxNxC=factors.loadings_RxNxC[:, place],
                deviation_RxN=factors.deviation_RxN[:, place],
                beta_RxN=factors.beta_RxN[:, place],
            ),
        ),
        own={name: column[:, place] for name, column in DATA.own.items()},
        linked={name: column[:, place] for name, column in DATA.linked.items()},
        mask_TxN=DATA.mask_TxN[:, place],
        labels_TxN=DATA.labels_TxN[:, place],
    )


def _foresees(predict, arrays) -> bool:
    """Whether the scores of a session change with later sessions, or with any label."""
    known = 140
    before, altered = (
        predict(arrays, data, sessions=ROWS, config=MODELS)[: known + 1 - ROWS.start].tobytes()
        for data in (DATA, _after(known, labels_from=-1))
    )
    return before != altered


def test_the_default_models_are_among_them():
    assert {MODELS.candidate, *MODELS.baselines, *MODELS.blend.members} <= set(NAMES)


@pytest.mark.slow
@every_model
def test_arrays_are_those_expected_and_scores_are_finite_where_symbols_are_scored(name):
    fitted = _fitted(name)
    assert fitted.failure == ""
    expected = load_plugin(zoo.__name__, name).expected_shapes(DATA, MODELS)
    assert fitted.arrays.keys() == expected.keys()
    for key, (shape, dtype) in expected.items():
        assert str(fitted.arrays[key].dtype) == dtype
        assert len(shape) == fitted.arrays[key].ndim
        assert all(size in (-1, found) for size, found in zip(shape, fitted.arrays[key].shape, strict=True))
    scores = _scores(name)
    assert scores.shape == (len(ROWS), len(DATA.symbols))
    assert scores.dtype == np.float32
    assert (np.isfinite(scores) == DATA.mask_TxN[ROWS.start : ROWS.stop]).all()
    assert not DATA.mask_TxN[ROWS.start : ROWS.stop].all()


@every_model
def test_equal_seeds_give_equal_bits_and_others_give_others_where_chance_has_a_part(name):
    assert _bits(_fit(name)) == _bits(_fitted(name))
    assert (_bits(_fit(name, seed=2**32 - 1)) == _bits(_fitted(name))) == (name in WITHOUT_CHANCE)


@every_model
def test_training_without_validation_is_possible(name):
    assert _fit(name, validation=None, epochs=1).validation_ic is None


@every_model
def test_training_reads_nothing_after_its_last_session(name):
    last = VALIDATION[-1]
    assert _bits(_fit(name, _after(last, labels_from=last))) == _bits(_fitted(name))


@every_model
def test_a_score_is_the_same_bits_whatever_else_is_scored(name):
    arrays, together = _fitted(name).arrays, _scores(name)
    for first in (ROWS.start, ROWS.start + 1, ROWS.start + 17):
        for length in (1, 16, ROWS.stop - first):
            part = _predict(name, arrays, rows=range(first, first + length))
            assert part.tobytes() == together[first - ROWS.start :][:length].tobytes()


@every_model
def test_a_score_knows_neither_later_sessions_nor_any_label(name):
    assert not _foresees(load_plugin(zoo.__name__, name).predict, _fitted(name).arrays)


def test_a_model_that_looks_one_session_ahead_would_be_found_out():
    def ahead(arrays, data, *, sessions, config):
        return reversal.predict(arrays, data, sessions=range(sessions.start + 1, sessions.stop + 1), config=config)

    assert _foresees(ahead, {})


@every_model
def test_symbols_in_another_order_have_the_same_scores(name):
    place = np.random.default_rng(3).permutation(len(DATA.symbols))
    permuted = _predict(name, _fitted(name).arrays, _permuted(place))
    np.testing.assert_allclose(permuted, _scores(name)[:, place], atol=1e-5)


@every_model
def test_weights_pass_through_a_file_unchanged(name):
    arrays = load(save(dict(_fitted(name).arrays)))
    assert _predict(name, arrays).tobytes() == _scores(name).tobytes()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"equal_weight", "reversal"}])
def test_weights_of_another_shape_or_name_are_refused(name):
    arrays = dict(_fitted(name).arrays)
    first = next(iter(arrays))
    for wrong in (
        {key: array for key, array in arrays.items() if key != first},
        {**arrays, "more": np.zeros(1, np.float32)},
        {**arrays, first: arrays[first][None]},
        {**arrays, first: arrays[first].astype(np.int32)},
    ):
        with pytest.raises(WeightsMismatch, match="weights "):
            _predict(name, wrong)


@every_model
def test_the_graph_is_seen_by_those_that_say_so_and_by_no_other(name):
    alone = _fit(name, ALONE)
    same = (
        _bits(alone) == _bits(_fitted(name))
        and _predict(name, alone.arrays, ALONE).tobytes() == _scores(name).tobytes()
    )
    assert same == (name in WITHOUT_GRAPH)


@pytest.mark.parametrize("name", ["graph_attention", "high_pass"])
def test_a_graph_network_hears_its_neighbours_and_not_their_features_alone(name):
    silence = np.full_like(DATA.graph.neighbours_TxNxK, -1)
    deaf = replace(DATA, graph=replace(DATA.graph, neighbours_TxNxK=silence))
    assert not np.allclose(_predict(name, _fitted(name).arrays, deaf), _scores(name), atol=1e-3, equal_nan=True)


@every_model
def test_progress_ends_at_one(name):
    _fitted(name)
    shares = _SHARES[name]
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def _session(row, **changes):
    return jax.tree.map(lambda array: array[0], Inputs.of(DATA, range(row, row + 1), length=1))._replace(**changes)


@cache
def _network(name):
    """Fresh parameters, and programs for the scores, and for the loss with its gradient, of one session."""
    network = Network(NETWORKS[name], len(DATA.feature_names), getattr(MODELS, name))

    def loss(params, session, target_N):
        return -jnp.mean(network.scores(params, session) * target_N)

    params = jax.jit(network.initialise)(jax.random.key(0))
    return params, jax.jit(network.scores), jax.jit(jax.value_and_grad(loss))


@pytest.mark.slow
@every_network
def test_a_gradient_is_finite_and_a_step_along_it_lowers_the_loss(name):
    params, _, loss = _network(name)
    target_N = DATA.targets("label", range(100, 101))[0][0]
    before, gradient = loss(params, _session(100), target_N)
    assert all(np.isfinite(leaf).all() for leaf in gradient.values())
    assert any(leaf.any() for leaf in gradient.values())
    moved = {key: params[key] - 1e-3 * gradient[key] for key in params}
    assert loss(moved, _session(100), target_N)[0] < before


@every_network
def test_a_gradient_is_finite_where_nobody_is_scored_and_where_nobody_has_neighbours(name):
    params, _, loss = _network(name)
    n_symbols, k = DATA.graph.neighbours_TxNxK.shape[1:]
    nobody = _session(100, mask_SxN=jnp.zeros(n_symbols, dtype=bool))
    alone = _session(100, neighbours_SxNxK=jnp.full((n_symbols, k), -1, dtype=jnp.int32))
    for session in (nobody, alone):
        gradient = loss(params, session, np.ones(n_symbols, dtype=np.float32))[1]
        assert all(np.isfinite(leaf).all() for leaf in gradient.values())


@every_network
def test_dropout_needs_a_key_and_hits_symbols_that_look_alike_alike_or_each_by_itself(name):
    params, scores, _ = _network(name)
    session = _session(100)
    twins = session._replace(
        features_SxNxF=jnp.broadcast_to(session.features_SxNxF[:1], session.features_SxNxF.shape),
        neighbours_SxNxK=jnp.full_like(session.neighbours_SxNxK, -1),
        basis_SxNxD=jnp.zeros_like(session.basis_SxNxD),
    )
    one, other = (scores(params, twins, jax.random.key(number)) for number in (1, 2))
    assert not np.allclose(one, other)
    assert np.allclose(one, one[0], rtol=1e-5) == (name not in DROPPING_STATES_ONE_BY_ONE)
