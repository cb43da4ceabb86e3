"""Stores whose right content is known for every step 1, 2, ..., so that a test can say whether one is torn."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from gnn_assets.core.clock import SnapshotClock
from gnn_assets.store.lake import Lake
from gnn_assets.store.ledger import Ledger
from gnn_assets.store.schema import Table
from gnn_assets.store.versions import Lineage, Versions
from gnn_assets.store.weights import WeightsStore

T = TypeVar("T")
MOMENT = datetime(2022, 12, 28, 21, 30, tzinfo=UTC)
CLOCK = SnapshotClock(MOMENT)
SYMBOLS = ("AAA", "BBB", "CCC")

# Grows by a session a step, by `append`.
PRICES = Table(
    name="prices",
    columns={"symbol": pl.String, "session": pl.Date, "value": pl.Float64, "run_id": pl.String},
    key=("symbol", "session"),
    monthly=True,
    provenance=("run_id",),
)
# Replaced whole at each step: every row holds the step, and there are 1000 + step of them.
LEVELS = Table(name="levels", columns={"row": pl.Int64, "value": pl.Int64}, key=("row",))


def lineage(step: int | str) -> Lineage:
    return Lineage(inputs={"step": str(step)}, code_version="code", config_hash="config")


def lake_at(root: Path, *, timeout: float = 20) -> Lake:
    return Lake(root / "lake", clock=CLOCK, lock_timeout_seconds=timeout)


def weights_at(root: Path) -> WeightsStore:
    return WeightsStore(root / "weights", clock=CLOCK, lock_timeout_seconds=20)


def pointer_at(root: Path) -> Versions:
    return Versions(root / "champion", clock=CLOCK, lock_timeout_seconds=20)


def ledger_at(root: Path) -> Ledger:
    return Ledger(root / "ledger", clock=CLOCK, lock_timeout_seconds=20)


def prices_of(step: int, *, run_id: str = "run") -> pl.DataFrame:
    session = date(2020, 1, 1) + timedelta(days=step)
    rows = [(symbol, session, step + position / 10, run_id) for position, symbol in enumerate(SYMBOLS)]
    return pl.DataFrame(rows, schema=dict(PRICES.columns), orient="row")


def prices_until(step: int) -> pl.DataFrame:
    return PRICES.conform(pl.concat([PRICES.empty(), *(prices_of(number) for number in range(1, step + 1))]))


def levels_of(step: int) -> pl.DataFrame:
    rows = 1000 + step
    return pl.DataFrame({"row": np.arange(rows), "value": np.full(rows, step)}, schema=dict(LEVELS.columns))


def parts_of(step: int) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(step)
    return {
        part: {"kernel": rng.normal(size=(32, 16)).astype(np.float32), "bias": np.full(16, step, np.float32)}
        for part in ("fold_0", "fold_1", "refit")
    }


def _write_prices(root: Path, step: int) -> None:
    session = date(2020, 1, 1) + timedelta(days=step)
    lake_at(root).append(PRICES, prices_of(step), lineage=lineage(step), data_end=session)


def _write_levels(root: Path, step: int) -> None:
    lake_at(root).publish(LEVELS, levels_of(step), lineage=lineage(step), data_end=None)


def _write_weights(root: Path, step: int) -> None:
    store = weights_at(root)
    store.publish(store.save(parts_of(step), {"step": step}), lineage=lineage(step))


def _write_pointer(root: Path, step: int) -> None:
    pointer_at(root).publish(f"step-{step}", expected=f"step-{step - 1}" if step > 1 else None)


def _write_ledger(root: Path, step: int) -> None:
    ledger_at(root).append("events", {"step": step, "text": "x" * 5000})


def _prices(root: Path) -> int:
    lake = lake_at(root)
    if lake.manifest(PRICES) is None:
        return 0
    rows = lake.read(PRICES)
    step = rows.height // len(SYMBOLS)
    assert rows.equals(prices_until(step))
    return step


def _levels(root: Path) -> int:
    lake = lake_at(root)
    if lake.manifest(LEVELS) is None:
        return 0
    rows = lake.read(LEVELS)
    step = rows.height - 1000
    assert rows.equals(levels_of(step))
    return step


def _weights(root: Path) -> int:
    store = weights_at(root)
    publication = store.current()
    if publication is None:
        return 0
    step = store.facts(publication.version)["step"]
    for part, arrays in parts_of(step).items():
        loaded = store.load(publication.version, part)
        assert loaded.keys() == arrays.keys()
        assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)
    return step


def _pointer(root: Path) -> int:
    made = pointer_at(root).history()
    assert [publication.version for publication in made] == [f"step-{number + 1}" for number in range(len(made))]
    return len(made)


def _ledger(root: Path) -> int:
    records = ledger_at(root).read("events")
    assert [record["step"] for record in records] == list(range(1, len(records) + 1))
    return len(records)


# Store → brings it to a step; store → the step it holds, after checking that every byte of that step is right.
WRITE: dict[str, Callable[[Path, int], None]] = {
    "prices": _write_prices,
    "levels": _write_levels,
    "weights": _write_weights,
    "pointer": _write_pointer,
    "ledger": _write_ledger,
}
STORED: dict[str, Callable[[Path], int]] = {
    "prices": _prices,
    "levels": _levels,
    "weights": _weights,
    "pointer": _pointer,
    "ledger": _ledger,
}


def known(value: T | None) -> T:
    assert value is not None
    return value


def temporaries(root: Path) -> list[Path]:
    return sorted(root.rglob(".tmp-*"))
