"""Stored panels: arrays over (session, field, symbol) in a file that is mapped into memory."""

import hashlib
import math
import mmap
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, StoreError
from gnn_assets.store.files import (
    locked,
    refusal_named,
    staging,
    sweep_temporaries,
    sync_folder,
    write_synced,
)
from gnn_assets.store.sealed import read_sealed, seal

_MANIFEST, _VALUES = "manifest.json", "values.f32"
_ROWS_AT_ONCE = 64  # sessions copied at a time: bounds memory, changes no bit
_KEEP = 4  # the panel in use, the one before it, and as many of a second recipe


@dataclass(frozen=True)
class PanelData:
    """What a panel is built from.

    Args:
        sessions: the row axis, ascending.
        symbols: the column axis, each once.
        values: field → numbers (T, N), NaN where there is none; kept as float32.
    """

    sessions: Sequence[date]
    symbols: Sequence[str]
    values: Mapping[str, np.ndarray]


class Panel:
    """A stored panel, mapped into memory: only what is touched is read from the disk. `Panels.open` hands it out.

    Args:
        sessions: the row axis, ascending.
        symbols: the column axis.
        fields: names of the values.
        values_TxFxN: float32, read-only.
    """

    def __init__(
        self, sessions: tuple[date, ...], symbols: tuple[str, ...], fields: tuple[str, ...], values_TxFxN: np.ndarray
    ) -> None:
        self.sessions = sessions
        self.symbols = symbols
        self.fields = fields
        self._values_TxFxN = values_TxFxN
        self._row = {session: row for row, session in enumerate(sessions)}
        self._column = {symbol: column for column, symbol in enumerate(symbols)}
        self._plane = {name: plane for plane, name in enumerate(fields)}

    def row(self, session: date) -> int:
        """Row of a session.

        Raises:
            MissingArtefact: if the panel does not hold it.
        """
        return _position(self._row, session, "session")

    def field(self, name: str) -> np.ndarray:
        """All of one field: float32 (T, N), a read-only view."""
        return self._values_TxFxN[:, _position(self._plane, name, "field")]

    def window(self, field: str, *, end_row: int, length: int) -> np.ndarray:
        """A trailing window of one field, without a copy.

        Args:
            field: one of `fields`.
            end_row: row of its last session, included.
            length: sessions.

        Returns:
            float32 (length, N), a read-only view.

        Known at: when the session of `end_row` is.

        Raises:
            ValueError: if the panel has no such rows.
        """
        first = end_row - length + 1
        if not 0 <= first <= end_row < len(self.sessions):
            raise ValueError(f"window: expected rows of 0 to {len(self.sessions) - 1}, was {first} to {end_row}.")
        return self._values_TxFxN[first : end_row + 1, _position(self._plane, field, "field")]

    def values(self, field: str, sessions: Sequence[date], symbols: Sequence[str]) -> np.ndarray:
        """One field over other axes: any sessions and symbols, in any order.

        Returns:
            float64 (T, N), a copy; NaN where the panel lacks session, symbol or value. It equals `to_panel` of the
            table bit for bit where the table's values fit into float32.
        """
        plane_TxN = self.field(field)
        rows = np.array([self._row.get(session, -1) for session in sessions], dtype=np.intp)
        columns = np.array([self._column.get(symbol, -1) for symbol in symbols], dtype=np.intp)
        panel = np.full((len(rows), len(columns)), np.nan)
        to_rows, to_columns = np.nonzero(rows >= 0)[0], np.nonzero(columns >= 0)[0]
        panel[np.ix_(to_rows, to_columns)] = plane_TxN[np.ix_(rows[to_rows], columns[to_columns])]
        return panel


class Panels:
    """Panels derived from tables, each stored once under the key of what it was derived from.

        <key>/manifest.json     sessions, symbols, fields, hash of the values
        <key>/values.f32        float32, session by field by symbol

    Nothing here is a record: a panel that is damaged or gone is built again.

    Args:
        root: their folder.
        lock_timeout_seconds: longest wait for another process that builds.
        keep: how many panels stay, those opened last; removing one harms nobody who still maps it.
    """

    def __init__(self, root: Path, *, lock_timeout_seconds: float, keep: int = _KEEP) -> None:
        self.root = root
        self._lock_timeout_seconds = lock_timeout_seconds
        self._keep = keep

    def open(self, key: str, build: Callable[[], PanelData]) -> Panel:
        """The panel of that key, built unless it is stored and whole.

        Args:
            key: hash of all that the panel depends on: versions of the tables, symbols, fields; hex digits.
            build: makes its content; called by one process at a time, and only if need be.

        Raises:
            LockTimeout: if another process builds for too long.
            DiskFull, ReadOnly: nothing was half-written.
        """
        if re.fullmatch("[0-9a-f]{8,64}", key) is None:
            raise StoreError.of("panel", expected="a key of 8 to 64 hex digits", was=repr(key), do="pass a hash")
        folder = self.root / key
        panel = _mapped(folder)
        if panel is None:
            with locked(self.root / ".lock", timeout_seconds=self._lock_timeout_seconds):
                sweep_temporaries(self.root)
                panel = _mapped(folder) or self._built(folder, build())
        return panel

    def _built(self, folder: Path, data: PanelData) -> Panel:
        with staging(self.root) as temporary:
            _write(temporary / "new", data)
            if folder.exists():  # damaged: `_mapped` refused it
                folder.replace(temporary / "old")
            (temporary / "new").replace(folder)
            sync_folder(self.root)
            panel = _mapped(folder)
            others = [path for path in self.root.iterdir() if not path.name.startswith(".") and path != folder]
            for old in sorted(others, key=_last_opened, reverse=True)[self._keep - 1 :]:
                old.replace(temporary / old.name)
        if panel is None:
            raise CorruptArtefact.of(
                str(folder), expected="the panel just written", was="another", do="check the disk and run again"
            )
        return panel


def _position(positions: Mapping[Any, int], name: object, what: str) -> int:
    if name not in positions:
        raise MissingArtefact.of(
            "panel", expected=f"a {what} it holds", was=str(name), do="build a panel that holds it, or name another"
        )
    return positions[name]


def _write(folder: Path, data: PanelData) -> None:
    shape = (len(data.sessions), len(data.symbols))
    for name, values in data.values.items():
        if values.shape != shape:
            raise ValueError(f"panel: expected {name} of shape {shape}, was {values.shape}.")
    digest, size = hashlib.sha256(), 4 * shape[0] * shape[1] * len(data.values)
    with refusal_named(folder.parent, need=size):
        folder.mkdir()
        # A number too large for float32 is refused: it must not become an infinity.
        with np.errstate(over="raise"), (folder / _VALUES).open("xb") as file:
            for first in range(0, shape[0] if size else 0, _ROWS_AT_ONCE):
                rows = slice(first, first + _ROWS_AT_ONCE)
                part = np.stack([values[rows].astype("<f4") for values in data.values.values()], axis=1).tobytes()
                digest.update(part)
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
    body = {
        "sessions": [session.isoformat() for session in data.sessions],
        "symbols": list(data.symbols),
        "fields": list(data.values),
        "sha256": digest.hexdigest(),
    }
    with refusal_named(folder.parent, need=0):
        write_synced(folder / _MANIFEST, seal(body))
    sync_folder(folder)


def _mapped(folder: Path) -> Panel | None:
    """The stored panel, every byte checked; None if there is none, or none that is whole."""
    try:
        body = read_sealed(folder / _MANIFEST)
        with (folder / _VALUES).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except (StoreError, FileNotFoundError):
        return None
    shape = (len(body["sessions"]), len(body["fields"]), len(body["symbols"]))
    if size != 4 * math.prod(shape) or hashlib.sha256(data).hexdigest() != body["sha256"]:
        return None
    # A read-only disk cannot note which panel was opened last; nothing is removed from it either.
    with suppress(OSError):
        os.utime(folder)
    return Panel(
        sessions=tuple(map(date.fromisoformat, body["sessions"])),
        symbols=tuple(body["symbols"]),
        fields=tuple(body["fields"]),
        values_TxFxN=np.frombuffer(data, dtype="<f4").reshape(shape),
    )


def _last_opened(folder: Path) -> tuple[int, str]:
    return folder.stat().st_mtime_ns, folder.name
