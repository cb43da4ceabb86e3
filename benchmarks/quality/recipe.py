"""The fixed recipe: features, graph, model and ensemble, with no setting of any market's own.

All settings are those of profile `wide`, at the public benchmark's execution: signal and fill at the same close, one
session ahead. Training and validation part are one training part: epochs and trees are fixed, so nothing is chosen on
the latter. Inside the test part every model is trained anew each `folds.test` sessions, on the newest
`folds.train + folds.validation` sessions whose labels were known by then.

Beside the recipe stand: the same without graph and with the symbols' places in it exchanged, and three baselines on raw
bars: yesterday's loser, ridge and LightGBM on the symbol's own features, trained on the label as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from gnn_assets.core.config import Config, build_config
from gnn_assets.core.hashing import code_version, json_hash, sha256_hex
from gnn_assets.core.plugins import load_plugin
from gnn_assets.defs.recipe import model_modules
from gnn_assets.graphs.correlation import measured_neighbours
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
    """
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
        ConfigError, PluginError: if there is no such recipe.
    """
    del train_end
    models = models_of(recipe, seeds=seeds)
    config = models[recipe].config
    runtime.start(threads=config.runtime.threads, cache=keep / "programs")
    data = _dataset(bars, config, progress)
    checkpoint = Checkpoints(keep).of(_key(bars, valid_end, test_end, recipe, seeds))
    blocks = _blocks(data, valid_end=valid_end, test_end=test_end, config=config)
    scores = {name: np.full(data.mask_TxN.shape, np.nan, dtype=np.float32) for name in models}
    seen: tuple[GraphKind, Dataset] = ("true", data)
    for place, (name, model) in enumerate(models.items()):
        if seen[0] != model.graph:
            seen = (model.graph, data.seen(model.graph, seed=model.config.models.seed))
        for number, (train, test) in enumerate(blocks):
            before = (place + number / len(blocks)) / len(models)
            scores[name][test.start : test.stop] = _block_scores(
                model,
                seen[1],
                train=train,
                test=test,
                checkpoint=within(checkpoint, f"{name}/{number}"),
                progress=_share_of(
                    progress, f"{name} {number + 1} of {len(blocks)}", before, 1 / len(models) / len(blocks)
                ),
            )
    return scores


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


def _blocks(data: Dataset, *, valid_end: date, test_end: date, config: Config) -> Sequence[tuple[range, range]]:
    """Rows trained on and rows scored, for each training anew."""
    folds, purge = config.models.folds, config.execution.purge
    first = sum(session <= valid_end for session in data.sessions) - 1
    # The score for a session is that of the row before it.
    stop = sum(session <= test_end for session in data.sessions) - 1
    earliest = data.first_index
    made = []
    for start in range(first, stop, folds.test):
        newest = start - purge
        oldest = max(earliest, newest - folds.train - folds.validation)
        made.append((range(oldest, newest), range(start, min(start + folds.test, stop))))
    return made


def _block_scores(
    model: Model, data: Dataset, *, train: range, test: range, checkpoint: Checkpoint, progress: Progress
) -> Float32[np.ndarray, "S N"]:
    """Scores of one block, as kept, or by a model trained for it."""
    kept = checkpoint.load("scores")
    if kept is not None:
        return kept[0]["scores"]
    settings = model.config.models
    plugin = load_plugin(zoo.__name__, model.plugin)
    fitted = plugin.fit(
        data,
        train=train,
        validation=None,
        config=settings,
        seed=settings.seed,
        epochs=settings.training.epochs,
        progress=progress,
        checkpoint=checkpoint,
    )
    scores_SxN = plugin.predict(fitted.arrays, data, sessions=test, config=settings)
    checkpoint.save("scores", {"scores": scores_SxN}, {"failure": fitted.failure})
    return scores_SxN


def _share_of(progress: Progress, name: str, before: float, share: float) -> Progress:
    return lambda done, text: progress(before + share * done, f"{name}: {text}")


def _key(bars: Bars, valid_end: date, test_end: date, recipe: str, seeds: int | None) -> str:
    """Folder name of what is kept: a hash of the bars, the dates and the settings."""
    arrays: Mapping[str, np.ndarray] = {"close_return": bars.close_return_TxN, **bars.values}
    return json_hash(
        {
            "bars": {name: sha256_hex(values.tobytes()) for name, values in sorted(arrays.items())},
            "ends": [valid_end.isoformat(), test_end.isoformat()],
            "config": config_hash(recipe, seeds=seeds),
            "code": code_version(*model_modules([recipe], models_of(recipe, seeds=seeds)[recipe].config)),
        }
    )[:32]
