"""Tests hold arrays to the shapes and types they are annotated with; production does not pay for it."""

import inspect
import pkgutil
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec, module_from_spec

import jax
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from gnn_assets.graphs.correlation import correlation_neighbours
from gnn_assets.graphs.neighbours import Neighbours
from gnn_assets.models.features.standardise import standardise
from gnn_assets.models.losses import mean_ic
from gnn_assets_tests.conftest import CHECKED
from gnn_assets_tests.models.synthetic import small_data

PACKAGES = [*CHECKED, "gnn_assets.graphs.measures", "gnn_assets.models.zoo"]
MODULES = [
    found.name for package in CHECKED for found in pkgutil.walk_packages(import_module(package).__path__, f"{package}.")
]
SETTINGS = {"window": 20, "k": 3, "min_abs_corr": 0.2, "min_overlap": 15}


def _functions(module):
    """Plain functions written in a module; of a compiled one, what numba was given."""
    own = (getattr(value, "py_func", value) for value in vars(module).values())
    return [value for value in own if inspect.isfunction(value) and value.__module__ == module.__name__]


def _is_checked(function) -> bool:
    return inspect.unwrap(function) is not function


@pytest.mark.parametrize("name", MODULES)
def test_every_function_is_checked_unless_its_module_is_compiled(name):
    compiled = name.rpartition(".")[2].startswith("compiled")
    wrongly = [function.__name__ for function in _functions(import_module(name)) if _is_checked(function) == compiled]
    assert not wrongly


@pytest.mark.parametrize("package", PACKAGES)
def test_a_new_module_is_checked_without_being_listed(package, tmp_path, monkeypatch):
    source = "import numpy as np\nfrom jaxtyping import Float\ndef f(x_N: Float[np.ndarray, ' N']): return x_N\n"
    monkeypatch.setattr(import_module(package), "__path__", [str(tmp_path)])
    made = {}
    for name in ("newcomer", "compiled_newcomer"):
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        spec = find_spec(f"{package}.{name}")
        made[name] = module_from_spec(spec)
        spec.loader.exec_module(made[name])
    flat, square = np.zeros(2), np.zeros((2, 2))
    assert made["newcomer"].f(flat) is flat
    assert made["compiled_newcomer"].f(square) is square
    with pytest.raises(TypeCheckError):
        made["newcomer"].f(square)


@pytest.mark.parametrize("returns", [np.zeros(30), np.zeros((30, 4, 1)), np.zeros((30, 4), dtype=int)])
def test_a_panel_of_another_shape_or_type_is_refused_by_the_graph(returns):
    with pytest.raises(TypeCheckError, match="returns_TxN"):
        correlation_neighbours(returns, **SETTINGS)


@pytest.mark.parametrize("mask", [np.ones((4, 3), dtype=bool), np.ones(3, dtype=bool), np.ones((3, 4))])
def test_a_mask_of_another_shape_or_type_is_refused_by_the_features(mask):
    with pytest.raises(TypeCheckError, match="mask_TxN"):
        standardise(np.zeros((3, 4)), mask)


def test_targets_of_another_shape_are_refused_while_jax_traces():
    scores_SxN, known_SxN = jax.ShapeDtypeStruct((3, 4), "float32"), jax.ShapeDtypeStruct((3, 4), "bool")
    targets_SxN = jax.ShapeDtypeStruct((4, 3), "float32")
    with pytest.raises(TypeCheckError, match="targets_SxN"):
        jax.eval_shape(mean_ic, scores_SxN, targets_SxN, known_SxN)


def test_arrays_of_a_dataset_agree_in_shape_and_type():
    data = small_data()
    assert replace(data, labels_TxN=data.labels_TxN.copy()).sessions == data.sessions
    for labels_TxN in (data.labels_TxN[1:], data.labels_TxN.astype(np.float64)):
        with pytest.raises(TypeCheckError, match="labels_TxN"):
            replace(data, labels_TxN=labels_TxN)


def test_arrays_of_a_graph_agree_in_shape():
    shape = (2, 4, 3)
    with pytest.raises(TypeCheckError, match="overlap_SxNxk"):
        Neighbours(np.arange(2), np.zeros(shape, np.int32), np.zeros(shape, np.float32), np.zeros((2, 4, 2), np.int16))


def test_production_loads_no_checker_and_jax_only_for_networks():
    lazy = [name for name in MODULES if name.startswith("gnn_assets.graphs.")] + ["gnn_assets.models.candidate"]
    told = "import sys; print({'jax', 'beartype'} & {*sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(lazy)}, gnn_assets.models.checks; {told}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "set()"
