"""The card of a forecast: everything needed to recompute it bit for bit, and nothing that changes by itself."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from gnn_assets.core.hashing import content_hash

# Libraries whose release may change the last bits of a forecast.
LIBRARIES = (
    "numpy",
    "scipy",
    "numba",
    "polars",
    "polars-talib",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "lightgbm",
    "scikit-learn",
)


def libraries() -> dict[str, str]:
    """Versions of Python and of every library a forecast's bits depend on."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in LIBRARIES}}


def rows_hash(rows: pl.DataFrame) -> str:
    """Hash of a session's forecasts, without the name of their card (which contains this hash)."""
    return content_hash(rows, exclude=("card_id",))


def make_card(
    rows: pl.DataFrame,
    *,
    nodes: Sequence[str],
    model: str,
    versions: Mapping[str, str],
    part: str,
    known_at: str,
    code_version: str,
    config: Mapping[str, Any],
    config_hash: str,
    threads: int,
    calibration: Mapping[str, Any],
) -> dict[str, Any]:
    """The card of one session's forecasts.

    Args:
        rows: FORECASTS rows of one session, ``card_id`` not yet filled.
        nodes: symbols of the graph, in the network's order.
        model: who scored: the champion's own, or the baseline in its place.
        versions: data version of every table and of the weights the forecast was made from.
        part: part of the weights that scored.
        known_at: ISO moment up to which bars and their revisions counted.
        code_version: version of the code that made it.
        config: the sections of the configuration it depends on.
        config_hash: hash of these sections.
        threads: compute threads the network ran with.
        calibration: slope, intercept and interval used.

    Returns:
        JSON data; its content hash is the card's id.
    """
    first = rows.row(0, named=True)
    return {
        "session": str(first["session"]),
        "horizon": first["horizon"],
        "target_start": str(first["target_start"]),
        "target_end": str(first["target_end"]),
        "graph_session": str(first["graph_session"]),
        "symbols": rows.height,
        "source": first["source"],
        "champion": first["champion"],
        "served_by": first["served_by"],
        "degraded": first["degraded"],
        "status": first["status"],
        "verdict": first["verdict"],
        "model": model,
        "part": part,
        "nodes": list(nodes),
        "known_at": known_at,
        "versions": dict(versions),
        "code_version": code_version,
        "config": dict(config),
        "config_hash": config_hash,
        "libraries": libraries(),
        "threads": threads,
        "calibration": dict(calibration),
        "rows_hash": rows_hash(rows),
    }
