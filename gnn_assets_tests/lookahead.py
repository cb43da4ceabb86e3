"""The look-ahead test, for every stage: what comes after a session is replaced by garbage or cut off, and nothing up
to that session may change by a single bit.

    assert_no_lookahead(lambda data: {"returns": log_returns(data["bars"], ...)}, {"bars": bars}, at=session, ...)
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.core.hashing import content_hash

Data = Mapping[str, pl.DataFrame | np.ndarray]


def assert_no_lookahead(
    compute: Callable[[Data], Data], data: Data, *, at: date, sessions: Sequence[date], seed: int = 0
) -> None:
    """Fails if anything `compute` says about sessions up to `at` depends on data from later ones.

    Args:
        compute: named inputs → named outputs. A frame has a ``session`` column; an array's first axis is `sessions`.
        data: the inputs, untouched.
        at: the last session that must not change.
        sessions: the axis of arrays, in and out.
        seed: of the garbage.

    Raises:
        AssertionError: naming the output and the first session that changed.
    """
    keep = sessions.index(at) + 1
    truth = compute(data)
    for kind, alter in (("garbage", _garbage), ("nothing", _nothing)):
        rng = np.random.default_rng(seed)
        altered = compute({name: alter(value, at, keep, rng) for name, value in data.items()})
        for name, expected in truth.items():
            changed = _first_change(expected, altered[name], at, keep)
            assert changed is None, (
                f"look-ahead: {name} of {sessions[changed] if isinstance(changed, int) else changed} changed when "
                f"everything after {at} became {kind}"
            )


def _garbage(
    value: pl.DataFrame | np.ndarray, at: date, keep: int, rng: np.random.Generator
) -> pl.DataFrame | np.ndarray:
    if isinstance(value, np.ndarray):
        noisy = value.copy()
        noisy[keep:] = _nonsense(value[keep:].size, rng).reshape(value[keep:].shape).astype(value.dtype)
        return noisy
    later = pl.col("session") > at
    numbers = [name for name, dtype in value.schema.items() if dtype.is_float()]
    return value.with_columns(
        pl.when(later)
        .then(pl.Series(name, _nonsense(value.height, rng)).cast(value.schema[name]))
        .otherwise(name)
        .alias(name)
        for name in numbers
    )


def _nothing(
    value: pl.DataFrame | np.ndarray, at: date, keep: int, rng: np.random.Generator
) -> pl.DataFrame | np.ndarray:
    if isinstance(value, np.ndarray):
        blank = value.astype(np.result_type(value.dtype, np.float32))
        blank[keep:] = np.nan
        return blank
    return value.filter(pl.col("session") <= at)


def _nonsense(size: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers no market ever gave: huge, tiny, negative, constant, absent."""
    wild = rng.lognormal(sigma=6, size=size) * rng.choice([-1, 1, 1], size=size)
    wild[rng.random(size) < 0.1] = np.nan
    wild[rng.random(size) < 0.1] = 0.0
    return wild


def _first_change(
    truth: pl.DataFrame | np.ndarray, other: pl.DataFrame | np.ndarray, at: date, keep: int
) -> date | int | None:
    """The first session up to `at` (a date, or its row) at which two outputs differ in any bit."""
    if isinstance(truth, np.ndarray):
        assert isinstance(other, np.ndarray)
        for row in range(keep):
            if truth[row].tobytes() != other[row].tobytes():
                return row
        return None
    assert isinstance(other, pl.DataFrame)
    before = truth.filter(pl.col("session") <= at), other.filter(pl.col("session") <= at)
    if content_hash(before[0]) == content_hash(before[1]):
        return None
    return min(
        session
        for session in pl.concat([frame["session"] for frame in before]).unique()
        if len({content_hash(frame.filter(pl.col("session") == session)) for frame in before}) > 1
    )
