"""The fixed recipe: features, graph, model and ensemble, with no setting of any market's own.

All settings are those of profile `wide`, at the public benchmark's execution: signal and fill at the same close, one
session ahead. Training and validation part are one training part: epochs and trees are fixed, so nothing is chosen on
the latter. Inside the test part every model is trained anew each `folds.test` sessions, on the newest
`folds.train + folds.validation` sessions whose labels were known by then. It then knows the symbols and the fields that
had a bar by then: one that comes later has no score before the next training.

Beside the recipe stand: the same without graph and with the symbols' places in it exchanged, and three baselines on raw
bars: yesterday's loser, ridge and LightGBM on the symbol's own features, trained on the label as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from gnn_assets.core.config import Config, build_config
from gnn_assets.core.errors import DataError, ModelError
from gnn_assets.core.hashing import code_version, json_hash, sha256_hex
from gnn_assets.core.plugins import load_plugin
from gnn_assets.defs.recipe import model_modules
from gnn_assets.graphs.correlation import MEASURES, measured_neighbours
from gnn_assets.models import runtime, zoo
from gnn_assets.models.bars import Bars
from gnn_assets.models.checkpoint import Checkpoint, within
from gnn_assets.models.dataset import Dataset, Recipe, build_dataset
from gnn_assets.models.fitted import Progress
from gnn_assets.models.graph import Graph, GraphKind
from gnn_assets.models.variants import NO_GRAPH, SHUFFLED
from gnn_assets.store.checkpoints import Checkpoints

DEFAULT = "blend"
PROFILE = "wide"
Scores = dict[str, Float32[np.ndarray, "T N"]]

_EXECUTION = {"execution": {"fill": "close_same", "horizon": 1}}
_RAW_BARS = {
    "models": {
        "reversal": {"window": 1},
        "ridge": {"target": "label"},
        "lightgbm": {"targets": ["label"]},
    }
}


@dataclass(frozen=True)
class Model:
    """One of the models that are scored.

    Args:
        plugin: of the zoo.
        graph: the graph it is shown.
        config: its settings.
    """

    plugin: str
    graph: GraphKind
    config: Config


def models_of(recipe: str, *, seeds: int | None) -> dict[str, Model]:
    """The recipe, its ablations and the baselines, by name; the recipe comes first.

    Args:
        recipe: a plug-in of the zoo.
        seeds: networks in the ensemble; None for the profile's own number.

    Raises:
        PluginError: if there is no such recipe.
    """
    load_plugin(zoo.__name__, recipe)
    chosen: dict[str, Any] = {"candidate": recipe}
    if seeds is not None:
        chosen["training"] = {"ensemble": seeds}
    config = build_config(PROFILE, _EXECUTION, {"models": chosen})
    raw = build_config(PROFILE, _EXECUTION, _RAW_BARS)
    baselines = {f"{plugin}_raw_bars": Model(plugin, "identity", raw) for plugin in ("reversal", "ridge", "lightgbm")}
    return {
        recipe: Model(recipe, "true", config),
        f"{recipe}{NO_GRAPH}": Model(recipe, "identity", config),
        f"{recipe}{SHUFFLED}": Model(recipe, "shuffled", config),
        **baselines,
    }


def config_hash(recipe: str, *, seeds: int | None) -> str:
    """Name of everything the recipe was told, 64 hex digits."""
    return json_hash(
        {
            name: model.config.slice("execution", "graphs", "models")
            for name, model in models_of(recipe, seeds=seeds).items()
        }
    )


def code_hash(recipe: str) -> str:
    """Name of the code between bars and scores, the models beside the recipe included, 16 hex digits."""
    models = models_of(recipe, seeds=None)
    config = models[recipe].config
    return code_version(
        __name__,
        *model_modules([model.plugin for model in models.values()], config),
        f"{MEASURES}.{config.graphs.measure}",
    )


def notes(recipe: str) -> tuple[str, ...]:
    """What a reader of the scores should know of their making, a sentence each."""
    folds = models_of(recipe, seeds=None)[recipe].config.models.folds
    most = folds.train + folds.validation
    return (
        f"Every model is trained anew each {folds.test} sessions of the test part.",
        f"It trains on at most {most} sessions, the newest whose labels were known by then.",
        "Sessions of the validation part train too, because nothing is chosen on them.",
    )


def score(
    bars: Bars,
    *,
    train_end: date,
    valid_end: date,
    test_end: date,
    recipe: str,
    seeds: int | None,
    keep: Path,
    progress: Progress,
) -> Scores:
    """Scores of every model for the test sessions.

    Args:
        bars: of sessions up to `test_end`.
        train_end: last session of the training part.
        valid_end: last session of the validation part, which trains too.
        test_end: last session of the test part.
        recipe: a plug-in of the zoo.
        seeds: networks in the ensemble; None for the profile's own number.
        keep: folder of finished parts; a killed run goes on there.
        progress: told the finished share and what is being done.

    Returns:
        model → float32 (T, N); row t is known at the close of session t, and is the score for the session after it;
        NaN outside the test part and where a symbol is not scored.

    Raises:
        DataError: if there is too little history to train on.
        ModelError: if a training fails.
        PluginError: if there is no such recipe.
    """
    del train_end
    # Before any plug-in is loaded: libraries read the number of threads when they are.
    runtime.start(threads=build_config(PROFILE).runtime.threads, cache=keep / "programs")
    models = models_of(recipe, seeds=seeds)
    config = models[recipe].config
    checkpoint = Checkpoints(keep).of(_key(bars, valid_end, test_end, recipe, seeds))
    blocks = _blocks(bars.sessions, valid_end=valid_end, test_end=test_end, config=config)
    scores = {name: np.full(bars.close_return_TxN.shape, np.nan, dtype=np.float32) for name in models}
    parts = _parts(progress, len(models) * len(blocks))
    share = next(parts)
    for known, alike in groupby(enumerate(blocks), key=lambda numbered: _known(bars, numbered[1].start)):
        numbered = list(alike)
        data = _dataset(_seen(bars, known), config, share)
        at = np.isin(bars.symbols, known.symbols)
        shown: tuple[GraphKind, Dataset] = ("true", data)
        for (name, model), (number, test) in product(models.items(), numbered):
            if shown[0] != model.graph:
                shown = (model.graph, data.seen(model.graph, seed=model.config.models.seed))
            scores[name][test.start : test.stop, at] = _block_scores(
                f"{name} {number + 1} of {len(blocks)}",
                model,
                shown[1],
                test=test,
                checkpoint=within(checkpoint, f"{name}/{number}"),
                progress=share,
            )
            share = next(parts)
    return scores


@dataclass(frozen=True)
class _Known:
    """What had a bar by the time of a training."""

    symbols: tuple[str, ...]
    fields: frozenset[str]


def _known(bars: Bars, row: int) -> _Known:
    past = {name: np.isfinite(values_TxN[: row + 1]) for name, values_TxN in bars.values.items()}
    symbols = np.array(bars.symbols)[past["close"].any(axis=0)]
    return _Known(tuple(symbols), frozenset(name for name, there_TxN in past.items() if there_TxN.any()))


def _seen(bars: Bars, known: _Known) -> Bars:
    at = np.isin(bars.symbols, known.symbols)
    values = {name: values_TxN[:, at] for name, values_TxN in bars.values.items() if name in known.fields}
    return Bars(bars.sessions, known.symbols, bars.close_return_TxN[:, at], values)


def _dataset(bars: Bars, config: Config, progress: Progress) -> Dataset:
    progress(0.0, "graphs")
    rows = range(min(config.graphs.window, len(bars.sessions)) - 1, len(bars.sessions))
    found = measured_neighbours(
        bars.close_return_TxN, config=config.graphs, sessions=list(rows), threads=config.runtime.threads
    )
    shape = (*bars.close_return_TxN.shape, config.graphs.k)
    neighbours, corr = np.full(shape, -1, dtype=np.int32), np.zeros(shape, dtype=np.float32)
    neighbours[found.sessions_S], corr[found.sessions_S] = found.dst_SxNxk, np.nan_to_num(found.corr_SxNxk)
    graph = Graph.of(bars.close_return_TxN, (neighbours, corr), sessions=bars.sessions, factors=config.graphs.factors)
    progress(0.0, "features")
    return build_dataset(bars, graph, bars.close_return_TxN, recipe=Recipe.of(config))


def _blocks(sessions: Sequence[date], *, valid_end: date, test_end: date, config: Config) -> list[range]:
    """Rows scored by each training."""
    # The score for a session is that of the row before it.
    first, stop = (sum(session <= end for session in sessions) - 1 for end in (valid_end, test_end))
    step = config.models.folds.test
    return [range(start, min(start + step, stop)) for start in range(first, stop, step)]


def _trained_on(data: Dataset, test: range, config: Config) -> range:
    """Rows whose labels were known at the close of the first row that is scored, the newest so many.

    Raises:
        DataError: if there are none.
    """
    folds, newest = config.models.folds, test.start - config.execution.purge
    oldest = max(data.first_index, newest - folds.train - folds.validation)
    if newest <= oldest:
        raise DataError.of(
            f"sessions before {data.sessions[test.start]}",
            expected=f"more than {data.first_index + config.execution.purge} for features and labels",
            was=str(test.start),
            do="give earlier bars, or a later end of the validation part",
        )
    return range(oldest, newest)


def _block_scores(
    name: str, model: Model, data: Dataset, *, test: range, checkpoint: Checkpoint, progress: Progress
) -> Float32[np.ndarray, "S N"]:
    """Scores of one block, as kept, or by a model trained for it.

    Raises:
        ModelError: if training failed: a model that is not trained would stand beside others as if it were.
    """
    kept = checkpoint.load("scores")
    if kept is not None:
        return kept[0]["scores"]
    settings = model.config.models
    plugin = load_plugin(zoo.__name__, model.plugin)
    fitted = plugin.fit(
        data,
        train=_trained_on(data, test, model.config),
        validation=None,
        config=settings,
        seed=settings.seed,
        epochs=settings.training.epochs,
        progress=lambda done, text: progress(done, f"{name}: {text}"),
        checkpoint=checkpoint,
    )
    if fitted.failure:
        raise ModelError.of(name, expected="a training that ends well", was=fitted.failure, do="mend the recipe")
    scores_SxN = plugin.predict(fitted.arrays, data, sessions=test, config=settings)
    checkpoint.save("scores", {"scores": scores_SxN}, {})
    return scores_SxN


def _parts(progress: Progress, count: int) -> Iterator[Progress]:
    """Where each of so many equal parts tells its own share; one more for who asks after the last."""
    for done in range(count + 1):
        yield lambda share, text, done=done: progress((done + share) / count, text)


def _key(bars: Bars, valid_end: date, test_end: date, recipe: str, seeds: int | None) -> str:
    """Folder name of what is kept: a hash of everything that makes the scores."""
    arrays: Mapping[str, np.ndarray] = {"close_return": bars.close_return_TxN, **bars.values}
    return json_hash(
        {
            "bars": {name: sha256_hex(values.tobytes()) for name, values in sorted(arrays.items())},
            "symbols": bars.symbols,
            "sessions": bars.sessions,
            "ends": [valid_end, test_end],
            "config": config_hash(recipe, seeds=seeds),
            "code": code_hash(recipe),
            "libraries": runtime.library_versions(),
            "threads": runtime.thread_count(),
        }
    )[:32]
