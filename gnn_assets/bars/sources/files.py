"""A folder of CSV or Parquet files the user has; which column means what, the configuration says.

Files are read in the order of their names, piece by piece, and only rows of the symbols and dates asked for are kept.
Values are told as they stand: a zero stays zero, NaN stays NaN, a doubled row stays doubled. What cannot be read at all
is refused with the file, the column and the value. Where no column holds the symbol, the file's name is the symbol.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from gnn_assets.bars.fetched import ACTION_COLUMNS, FETCHED_COLUMNS, Access, Ask, Fetched
from gnn_assets.bars.foreign import FORMATS, Column, date_column, number_column, pieces, readable, unreadable
from gnn_assets.bars.universe import check_symbol
from gnn_assets.core.config import FilesConfig
from gnn_assets.core.errors import ConfigError, Malformed, NoData, SourceError, UnknownSymbol, Upstream

NAME_FOR_PEOPLE = "Files: a folder of your own bars, CSV or Parquet"
TERMS = "The files are your own: the terms that came with their data hold."
KEYS = ()
SIMULATED = False

# An answer is held in memory whole, a million rows in about 60 MB, and each ask reads the files anew.
_ROWS_PER_ASK = 1_000_000
_HASHED_AT_ONCE = 1 << 22  # bytes
_NEUTRAL: Mapping[str, tuple[float, ...]] = {"split": (0.0, 1.0), "dividend": (0.0,)}  # what says "no such action"
_ROWS = {**FETCHED_COLUMNS, **dict.fromkeys(_NEUTRAL, pl.Float64)}


_State = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class _Files:
    """The opened folder.

    Args:
        access: see `Access`.
        hashes: state of the files → their hash, because a history takes several asks.
    """

    access: Access
    hashes: dict[_State, str] = field(default_factory=dict)

    @property
    def basis(self) -> str:
        return self._settings.basis

    @property
    def _settings(self) -> FilesConfig:
        return self.access.config.sources.files

    @property
    def _theirs(self) -> dict[str, str]:
        return _mapping(self._settings)

    def symbols_per_ask(self, ask: Ask) -> int:
        sessions = len(self.access.exchanges.of(ask.exchange).between(ask.first, ask.last))
        return max(_ROWS_PER_ASK // max(sessions, 1), 1)

    def fetch(self, ask: Ask) -> Fetched:
        for symbol in ask.symbols:
            check_symbol(symbol)
        folder = self._settings.folder
        with readable(folder):
            paths = self._paths()
            before = _states(paths)
            if before not in self.hashes:
                self.hashes.clear()
                self.hashes[before] = _hash(paths)
        rows = pl.concat([_no_rows(), *(self._rows(path, ask) for path in paths)])
        given = set(rows["symbol"].unique())
        missing = [symbol for symbol in ask.symbols if symbol not in given]
        held = self._held(paths, missing) if missing else set()
        with readable(folder):
            changed = _states(paths) != before
        if changed:
            raise Upstream(f"files in {folder}: were changed while they were read; ask again when they are at rest.")
        return Fetched(
            bars=rows.select(*FETCHED_COLUMNS),
            failures={symbol: _no_bars(symbol, ask, held=symbol in held) for symbol in missing},
            payload_hash=self.hashes[before],
            actions=_actions(rows),
        )

    def _paths(self) -> list[Path]:
        folder = self.access.home / self._settings.folder
        paths = sorted(path for path in folder.glob(self._settings.pattern) if path.is_file())
        if not paths:
            raise Upstream.of(
                f"files in {self._settings.folder}",
                expected=f"at least one named like {self._settings.pattern}",
                was="none" if folder.is_dir() else "no such folder",
                do="put them there, or correct sources.files",
            )
        for path in paths:
            if path.suffix.lower() not in FORMATS:
                raise Malformed.of(
                    f"files, {path.name}",
                    expected=f"a name that ends in {' or '.join(FORMATS)}",
                    was=repr(path.suffix),
                    do="narrow sources.files.pattern",
                )
        return paths

    def _rows(self, path: Path, ask: Ask) -> pl.DataFrame:
        """The rows of one file that were asked for."""
        if "symbol" not in self._theirs and path.stem not in ask.symbols:
            return _no_rows()
        with readable(path.name):
            told = self._pieces(path, sorted(set(self._theirs.values())))
            return pl.concat([_no_rows(), *(self._asked(piece, path, ask) for piece in told)])

    def _pieces(self, path: Path, wanted: list[str]) -> Iterator[pl.DataFrame]:
        return pieces(path, wanted, words=[name for ours, name in self._theirs.items() if ours == "symbol"])

    def _asked(self, piece: pl.DataFrame, path: Path, ask: Ask) -> pl.DataFrame:
        columns = self._columns(path, piece.schema)
        asked = piece.lazy().filter(self._symbol(path).is_in(ask.symbols))
        if "symbol" in self._theirs:
            # Rows of a file mostly stand symbol by symbol: most pieces are wanted whole or not at all.
            present = set(piece[self._theirs["symbol"]].unique().cast(pl.String))
            if present.isdisjoint(ask.symbols):
                return _no_rows()
            if present.issubset(ask.symbols):
                asked = piece.lazy()
        session = columns["session"].value
        asked = asked.filter(session.is_null() | session.is_between(ask.first, ask.last)).collect()
        values = {ours: columns[ours].value if ours in columns else pl.lit(None, kind) for ours, kind in _ROWS.items()}
        values["symbol"] = self._symbol(path)
        rows = asked.select(**values)
        for column in columns.values():
            found = asked.filter(column.unreadable).select(column.name).head(1).to_series()
            if len(found):
                raise unreadable(path, column, found)
        return rows

    def _symbol(self, path: Path) -> pl.Expr:
        return pl.col(self._theirs["symbol"]).cast(pl.String) if "symbol" in self._theirs else pl.lit(path.stem)

    def _columns(self, path: Path, kinds: pl.Schema) -> dict[str, Column]:
        """Each of our columns that the file has, but the symbol."""
        zone = self._settings.timezone
        return {
            ours: date_column(path, name, kinds[name], zone=zone)
            if ours == "session"
            else number_column(path, name, kinds[name])
            for ours, name in self._theirs.items()
            if ours != "symbol"
        }

    def _held(self, paths: list[Path], symbols: list[str]) -> set[str]:
        """Those of the symbols that the files hold on any date."""
        if "symbol" not in self._theirs:
            return {path.stem for path in paths}
        held: set[str] = set()
        for path in paths:
            with readable(path.name):
                for piece in self._pieces(path, [self._theirs["symbol"]]):
                    held.update(piece.to_series().unique().cast(pl.String))
        return held & set(symbols)


def open_source(access: Access) -> _Files:
    """The folder of `access.config.sources.files`; a relative one stands in the home.

    Raises:
        ConfigError: if the section names files or a zone that cannot be.
    """
    settings = access.config.sources.files
    if not settings.pattern or Path(settings.pattern).is_absolute():
        raise ConfigError.of(
            "sources.files.pattern", expected="one such as *.csv", was=repr(settings.pattern), do="correct it"
        )
    if settings.timezone is not None:
        try:
            ZoneInfo(settings.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise ConfigError.of(
                "sources.files.timezone",
                expected="an IANA name such as America/New_York",
                was=repr(settings.timezone),
                do="correct it",
            ) from error
    return _Files(access)


def _mapping(settings: FilesConfig) -> dict[str, str]:
    """Ours → theirs, without the columns that the files lack."""
    return {ours: theirs for ours, theirs in settings.columns.model_dump().items() if theirs}


def _no_rows() -> pl.DataFrame:
    return pl.DataFrame(schema=dict(_ROWS))


def _actions(rows: pl.DataFrame) -> pl.DataFrame:
    """Splits and dividends beside the bars; a row told twice is one action."""
    return pl.concat(
        rows.filter(pl.col(kind).is_not_nan(), ~pl.col(kind).is_in(neutral))
        .select("symbol", "session", kind=pl.lit(kind), value=pl.col(kind))
        .cast(dict(ACTION_COLUMNS))
        .unique(maintain_order=True)
        for kind, neutral in _NEUTRAL.items()
    )


def _states(paths: list[Path]) -> _State:
    """What changes when a file is added, replaced or written to."""
    states = [path.stat() for path in paths]
    return tuple(
        (str(path), state.st_ino, state.st_size, state.st_mtime_ns) for path, state in zip(paths, states, strict=True)
    )


def _hash(paths: list[Path]) -> str:
    content = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while read := file.read(_HASHED_AT_ONCE):
                content.update(read)
    return content.hexdigest()


def _no_bars(symbol: str, ask: Ask, *, held: bool) -> SourceError:
    subject = f"files, asked for {symbol}"
    if held:
        wanted = f"bars from {ask.first} to {ask.last}"
        return NoData.of(subject, expected=wanted, was="none", do="add them, or name another source for it")
    return UnknownSymbol.of(subject, expected="rows of it", was="none", do="add them, or edit the universe file")
