"""All configured features of a market, each set against the other symbols of its session."""

from collections.abc import Iterator, Mapping
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float32, Float64

from gnn_assets.core.config import FeaturesConfig
from gnn_assets.core.plugins import load_plugin
from gnn_assets.graphs.features import neighbour_mean
from gnn_assets.models.bars import Bars
from gnn_assets.models.features import groups
from gnn_assets.models.features.standardise import rank_scores, robust_scores
from gnn_assets.models.graph import Graph

_SCALINGS = {"rank": rank_scores, "robust": robust_scores}
Columns = dict[str, Float32[np.ndarray, "T N"]]
Raw = Float64[np.ndarray, "T N"]


def left_out(fields: frozenset[str], config: FeaturesConfig) -> dict[str, tuple[str, ...]]:
    """Groups that cannot be made of these bars, and the fields they lack."""
    needs = {name: tuple(sorted(set(_group(name).NEEDS) - fields)) for name in config.groups}
    return {name: missing for name, missing in needs.items() if missing}


def own_features(bars: Bars, graph: Graph, *, mask_TxN: Bool[np.ndarray, "T N"], config: FeaturesConfig) -> Columns:
    """Features that do not read the graph, by name.

    Args:
        bars: over T sessions and N symbols.
        graph: over the same; not read.
        mask_TxN: bool, symbols that are scored.
        config: groups, windows, scaling.

    Returns:
        name → float32 (T, N), standardised across the masked-in symbols of each session and clipped; 0 where absent.

    Known at:
        Row d at the close of session d.

    Raises:
        PluginError: if there is no such group.
    """
    return _made(bars, graph, linked=False, mask_TxN=mask_TxN, config=config)


def graph_features(
    bars: Bars, graph: Graph, *, own: Columns, mask_TxN: Bool[np.ndarray, "T N"], config: FeaturesConfig
) -> Columns:
    """Features that read the graph: residual ones, and what `compared` ones are at the neighbours, by name.

    Args:
        bars: over T sessions and N symbols.
        graph: over the same.
        own: what `own_features` made.
        mask_TxN: bool, symbols that are scored.
        config: groups, windows, scaling, `compared`.

    Returns:
        As `own_features`. ``near_x`` is the mean of x over the neighbours, ``apart_x`` the distance of x from it;
        both 0 for a symbol without neighbours. A name in `compared` whose group is left out is left out too.

    Known at:
        Row d at the close of session d.
    """
    linked = _made(bars, graph, linked=True, mask_TxN=mask_TxN, config=config)
    known = {**own, **linked}
    names = [name for name in config.compared if name in known]
    if not names:
        return linked
    near = _near(known, names, graph, mask_TxN=mask_TxN)
    for place, name in enumerate(names):
        near_TxN = near[:, :, place]
        linked[f"near_{name}"] = _scaled(near_TxN, mask_TxN, config)
        linked[f"apart_{name}"] = _scaled(known[name] - near_TxN, mask_TxN, config)
    return linked


def raw_features(bars: Bars, graph: Graph, *, config: FeaturesConfig) -> Iterator[tuple[str, Raw]]:
    """Features before they are set against the other symbols: what `own_features` and `graph_features` start from.

    Across its session a rank is distributed alike every day; these are not. What features are at the neighbours is made
    of ranks, and is not among them.

    Args:
        bars: over T sessions and N symbols.
        graph: over the same.
        config: groups, windows.

    Yields:
        Name and float64 (T, N), in the feature's own unit; NaN or infinite where absent. One by one: all of them at
        once take twice the room of a dataset.

    Known at:
        Row d at the close of session d.

    Raises:
        PluginError: if there is no such group.
    """
    for linked in (False, True):
        yield from _raw(bars, graph, linked=linked, config=config)


def _made(
    bars: Bars, graph: Graph, *, linked: bool, mask_TxN: Bool[np.ndarray, "T N"], config: FeaturesConfig
) -> Columns:
    raw = _raw(bars, graph, linked=linked, config=config)
    return {name: _scaled(values_TxN, mask_TxN, config) for name, values_TxN in raw}


def _raw(bars: Bars, graph: Graph, *, linked: bool, config: FeaturesConfig) -> Iterator[tuple[str, Raw]]:
    missing = left_out(bars.fields, config)
    for group in config.groups:
        plugin = _group(group)
        if group not in missing and linked == plugin.GRAPH:
            yield from plugin.features(bars, graph, config).items()


def _near(
    known: Mapping[str, Float32[np.ndarray, "T N"]],
    names: list[str],
    graph: Graph,
    *,
    mask_TxN: Bool[np.ndarray, "T N"],
) -> Float64[np.ndarray, "T N G"]:
    values_TxNxG = np.stack([known[name] for name in names], axis=-1)
    return neighbour_mean(values_TxNxG, graph.neighbours_TxNxK, mask_TxN=mask_TxN)


def _scaled(
    values_TxN: Float64[np.ndarray, "T N"], mask_TxN: Bool[np.ndarray, "T N"], config: FeaturesConfig
) -> Float32[np.ndarray, "T N"]:
    scaled = _SCALINGS[config.scaling](values_TxN, mask_TxN)
    return np.clip(scaled, -config.clip, config.clip).astype(np.float32)


def _group(name: str) -> ModuleType:
    return load_plugin(groups.__name__, name)
