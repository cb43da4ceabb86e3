import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnn_assets.core.errors import WeightsMismatch
from gnn_assets.models.network import Inputs, Network
from gnn_assets.models.zoo.graph_attention import GraphAttention, expected_shapes, predict
from gnn_assets_tests.models.synthetic import CONFIG, features_changed, small_data

DATA = small_data()
MODELS = CONFIG.models
NETWORK = Network(GraphAttention, len(DATA.feature_names), MODELS.graph_attention)
ROWS = range(100, 140)
_scores = jax.jit(NETWORK.scores)


@pytest.fixture(scope="module")
def params():
    return jax.jit(NETWORK.initialise)(jax.random.key(5))


@pytest.fixture(scope="module")
def arrays():
    keys = jax.random.split(jax.random.key(5), MODELS.training.ensemble)
    return {name: np.asarray(array) for name, array in jax.jit(jax.vmap(NETWORK.initialise))(keys).items()}


def _session(row):
    return jax.tree.map(lambda array: array[0], Inputs.of(DATA, range(row, row + 1), length=1))


def _predict(arrays, rows, data=DATA):
    return predict(arrays, data, sessions=rows, config=MODELS)


@pytest.mark.parametrize(("n_rows", "length"), [(1, 1), (5, 9), (130, 130), (70, 140)])
def test_inputs_are_the_rows_asked_for_with_empty_sessions_behind_them(n_rows, length):
    rows = range(20, 20 + n_rows)
    inputs = Inputs.of(DATA, rows, length=length)
    expected = (
        DATA.features(rows),
        DATA.mask_TxN[20 : 20 + n_rows],
        DATA.graph.neighbours_TxNxK[20 : 20 + n_rows],
        DATA.graph.corr_TxNxK[20 : 20 + n_rows],
        DATA.basis(rows),
    )
    for array, told in zip(inputs, expected, strict=True):
        assert len(array) == length
        np.testing.assert_array_equal(array[:n_rows], told)
        assert not np.asarray(array[n_rows:]).any()


def test_the_order_of_neighbours_does_not_matter(params):
    session = _session(120)
    turned = session._replace(
        neighbours_SxNxK=session.neighbours_SxNxK[:, ::-1], corr_SxNxK=session.corr_SxNxK[:, ::-1]
    )
    np.testing.assert_allclose(_scores(params, turned), _scores(params, session), atol=1e-5)


def test_neighbours_and_their_correlation_are_heard(params):
    session = _session(120)
    plain = _scores(params, session)
    alone = session._replace(neighbours_SxNxK=jnp.full_like(session.neighbours_SxNxK, -1))
    other = session._replace(corr_SxNxK=-session.corr_SxNxK)
    assert not np.allclose(plain, _scores(params, alone), atol=1e-3)
    assert not np.allclose(plain, _scores(params, other), atol=1e-4)


def test_a_symbol_without_neighbours_has_a_score(params):
    session = _session(120)
    alone = session._replace(neighbours_SxNxK=jnp.full_like(session.neighbours_SxNxK, -1))
    scores = _scores(params, alone)
    assert np.isfinite(scores).all()
    assert np.std(scores) > 0


def test_a_masked_out_neighbour_is_no_neighbour(params):
    session = _session(120)
    hidden = int(session.neighbours_SxNxK[0, 0])
    masked = session._replace(mask_SxN=session.mask_SxN.at[hidden].set(False))
    absent = session._replace(
        neighbours_SxNxK=jnp.where(session.neighbours_SxNxK == hidden, -1, session.neighbours_SxNxK)
    )
    np.testing.assert_array_equal(_scores(params, masked), _scores(params, absent))


def test_scores_of_a_session_do_not_know_other_sessions(arrays):
    row = np.arange(len(DATA.sessions))[:, None]
    noisy = features_changed(DATA, lambda column: np.where(row == 120, column, np.float32(7.0)))
    other = _predict(arrays, ROWS, noisy)
    assert other[20].tobytes() == _predict(arrays, ROWS)[20].tobytes()


def test_scores_are_standardised_over_the_masked_in_symbols(arrays):
    scores = _predict(arrays, range(140, 150))
    mask = DATA.mask_TxN[140:150]
    assert scores.dtype == np.float32
    assert (np.isnan(scores) == ~mask).all()
    assert not mask.all()
    assert np.abs(np.nanmean(scores, axis=1)).max() < 1e-6


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param(
            lambda a: {**a, "score.states.bias": a["score.states.bias"][:1]},
            "weights score.states.bias: .* was float32 \\(1, 1\\)",
            id="shape",
        ),
        pytest.param(
            lambda a: {**a, "score.states.bias": a["score.states.bias"].astype(np.float64)},
            "score.states.bias: .* was float64",
            id="dtype",
        ),
        pytest.param(
            lambda a: {k: v for k, v in a.items() if k != "score.states.bias"}, "was no such array", id="missing"
        ),
        pytest.param(lambda a: {**a, "z": a["score.states.bias"]}, "weights z: expected no such array", id="spare"),
    ],
)
def test_weights_that_do_not_fit_are_refused(arrays, damage, told):
    with pytest.raises(WeightsMismatch, match=told):
        _predict(damage(arrays), ROWS)


def test_expected_shapes_are_those_of_the_arrays(arrays):
    shapes = expected_shapes(DATA, MODELS)
    assert shapes == {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
