"""The recipe whose scores are published, with shorter trainings, on a market of thirty symbols."""

import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import polars as pl
import pytest

from benchmarks.quality import recipe
from benchmarks.quality.bars import read_market
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import DataError, ModelError, PluginError
from gnn_assets.models import runtime
from gnn_assets.models.fitted import Fitted
from gnn_assets_tests.benchmarks.market import factor_market, written

pytestmark = pytest.mark.slow

# Two trainings: rows 300 to 425 are scored by the first, the rest by the second.
SESSIONS, VALID_END, TEST_END = 440, 300, 438
# The last session before which nothing is altered; inside what the first training scores.
CUT = 380
# A training of the recipe's own length says nothing more about what it was allowed to see.
SHORT = {"models": {"training": {"epochs": 12}, "lightgbm": {"trees": 30}}}
PRICES = ("open", "high", "low", "close")
SECOND = VALID_END + build_config(recipe.PROFILE).models.folds.test


def score(path, *, keep, progress=lambda *_: None, valid_end=VALID_END):
    market = read_market(path)
    ends = {"train_end": 50, "valid_end": valid_end, "test_end": TEST_END}
    dates = {name: market.sessions[row] for name, row in ends.items()}
    bars = market.bars(TEST_END + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "build_config", lambda *asked: build_config(*asked, SHORT))
        return recipe.score(bars, **dates, recipe=recipe.DEFAULT, seeds=1, keep=keep, progress=progress)


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    """Bars without volumes."""
    frame = factor_market(SESSIONS).with_columns(volume=pl.lit(None, pl.Float64))
    return written(frame, tmp_path_factory.mktemp("bars") / "bars.parquet")


@pytest.fixture(scope="module")
def scores(bars, tmp_path_factory):
    return score(bars, keep=tmp_path_factory.mktemp("kept"))


def test_every_model_scores_every_session_of_the_test_part_and_no_other(scores):
    assert list(scores) == [
        "blend",
        "blend_no_graph",
        "blend_shuffled",
        "reversal_raw_bars",
        "ridge_raw_bars",
        "lightgbm_raw_bars",
    ]
    scored_T = np.zeros(TEST_END + 1, dtype=bool)
    # The score for a session stands in the row before it.
    scored_T[VALID_END:TEST_END] = True
    for name, scores_TxN in scores.items():
        np.testing.assert_array_equal(np.isfinite(scores_TxN).all(axis=1), scored_T, err_msg=name)
        assert np.isnan(scores_TxN[~scored_T]).all(), name


def test_models_differ_from_one_another(scores):
    assert len({scores_TxN.tobytes() for scores_TxN in scores.values()}) == len(scores)


def test_bars_after_a_session_change_no_score_made_at_its_close(scores, bars, tmp_path):
    """Other prices come, volumes begin, and a symbol is listed that stands before all others."""
    frame = pl.read_parquet(bars)
    later = pl.col("session") > frame["session"].unique().sort()[CUT]
    noise = pl.Series(np.exp(np.random.default_rng(11).normal(0, 0.05, frame.height)))
    altered = frame.with_columns(
        *(pl.when(later).then(pl.col(name) * noise).otherwise(name).alias(name) for name in PRICES),
        volume=pl.when(later).then(noise),
    )
    newcomer = altered.filter(later, pl.col("symbol") == "S07").with_columns(symbol=pl.lit("A"))
    again = score(written(pl.concat([altered, newcomer]), tmp_path / "bars.parquet"), keep=tmp_path / "kept")
    for name, scores_TxN in scores.items():
        new_T, again_TxN = again[name][:, 0], again[name][:, 1:]
        assert again_TxN[: CUT + 1].tobytes() == scores_TxN[: CUT + 1].tobytes(), name
        assert (again_TxN[CUT + 1 : TEST_END] != scores_TxN[CUT + 1 : TEST_END]).any(axis=1).all(), name
        # It had its first bar after the first training.
        assert np.isnan(new_T[:SECOND]).all(), name


def test_a_training_that_fails_gives_no_scores_and_none_are_kept(bars, tmp_path, monkeypatch):
    failed = SimpleNamespace(fit=lambda *_, **__: Fitted(failure="NaN in epoch 1"))
    monkeypatch.setattr(recipe, "load_plugin", lambda *_: failed)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"blend 1 of 2: expected a training that ends well, was NaN in epoch 1"):
            score(bars, keep=tmp_path)


def test_too_little_history_says_what_is_missing(bars, tmp_path):
    with pytest.raises(DataError, match=r"sessions before .*: expected more than \d+ for features and labels, was 100"):
        score(bars, keep=tmp_path, valid_end=100)


def test_an_unknown_recipe_is_named():
    with pytest.raises(PluginError, match="'blnd'; did you mean 'blend'"):
        recipe.models_of("blnd", seeds=None)


KILLED = """
import sys, time
from pathlib import Path

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import DataError, ModelError, PluginError
from gnn_assets.models import runtime
from gnn_assets.models.fitted import Fitted
from gnn_assets_tests.benchmarks import test_quality_recipe as recipe

THREADS, PROGRAMS = int(sys.argv[1]), Path(sys.argv[2])


def progress(share, text):
    print(text, flush=True)
    if text.startswith("blend_no_graph 1 of 2: ") and "epoch 9 " in text:
        time.sleep(600)


runtime.start(threads=THREADS, cache=PROGRAMS)
recipe.score(Path(sys.argv[3]), keep=Path(sys.argv[4]), progress=progress)
"""


def test_a_killed_run_goes_on_where_it_was_to_the_same_scores(scores, bars, tmp_path):
    asked = [runtime.thread_count(), jax.config.jax_compilation_cache_dir, bars, tmp_path / "kept"]
    command = [sys.executable, "-c", KILLED, *(str(word) for word in asked)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("blend_no_graph 1 of 2: ") and "epoch 9 " in line:
                child.kill()
    assert child.returncode == -9
    told: list[str] = []
    resumed = score(bars, keep=tmp_path / "kept", progress=lambda _, text: told.append(text))
    assert {name: scores_TxN.tobytes() for name, scores_TxN in resumed.items()} == {
        name: scores_TxN.tobytes() for name, scores_TxN in scores.items()
    }
    trained = [text for text in told if "epoch" in text]
    assert not any(text.startswith("blend 1 of 2: ") for text in trained)
    assert "epoch 10 " in trained[0]
