import subprocess
import sys

import pytest

from gnn_assets.core.errors import ModelError
from gnn_assets.models import runtime
from gnn_assets_tests.models.synthetic import CONFIG

START = """
import sys
from pathlib import Path
from gnn_assets.models import runtime
before = runtime.thread_count()
running = runtime.start(threads=int(sys.argv[1]), cache=Path(sys.argv[2]))
import jax
print(before, running, float(jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((64, 64)))))
"""


def _fresh(*arguments: object) -> str:
    command = [sys.executable, "-W", "error", "-c", START, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("threads", [1, 3])
def test_jax_runs_with_the_threads_asked_for(threads, tmp_path):
    assert _fresh(threads, tmp_path) == f"0 {threads} 262144.0"


def test_starting_alike_again_changes_nothing(tmp_path):
    assert runtime.start(threads=CONFIG.runtime.threads, cache=tmp_path) == runtime.thread_count()
    assert not list(tmp_path.iterdir())


def test_another_number_of_threads_is_refused_once_jax_runs(tmp_path):
    running = runtime.thread_count()
    with pytest.raises(ModelError, match=f"expected jax with {running + 1} compute threads, was {running} since"):
        runtime.start(threads=running + 1, cache=tmp_path)


@pytest.mark.slow
def test_programs_are_kept_and_a_torn_one_is_made_again(tmp_path):
    _fresh(2, tmp_path)
    kept = {entry.name: entry.read_bytes() for entry in tmp_path.glob("*-cache")}
    assert kept
    torn = tmp_path / min(kept)
    torn.write_bytes(kept[torn.name][:-20])
    # Warnings are errors in that process: a torn program that is still there would end it.
    _fresh(2, tmp_path)
    assert {entry.name for entry in tmp_path.glob("*-cache")} == set(kept)
    assert len(torn.read_bytes()) >= len(kept[torn.name]) - 20
    _fresh(2, tmp_path)


def test_versions_name_the_libraries_behind_the_bits():
    assert set(runtime.library_versions()) >= {"jax", "flax", "optax", "numpy"}
