"""Market data at size: what this store costs beside pandas with pyarrow, polars alone and DuckDB alone.

    python benchmarks/market_data.py [--symbols 3000 --years 10 --repeats 5] [--out FILE.md]

Every contender lives in a process of its own, so that its peak memory is its own; a driver asks them in turn, one at a
time, for the same work on the same generated bars, and checks that the answers agree. Times are medians. What each of
them does and leaves out is written under the table.
"""

# ruff: noqa: D102 (what a contender's methods do is said once, in `Contender`)

import argparse
import os
import pickle
import platform
import resource
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from benchmarks.contenders import command, processes, publish, serve
from gnn_assets.bars.fetched import no_actions
from gnn_assets.bars.revisions import new_revisions
from gnn_assets.bars.rules import judge_rows
from gnn_assets.bars.schema import MARKET_BARS
from gnn_assets.core.clock import SnapshotClock
from gnn_assets.core.config import build_config
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets.store.lake import Lake
from gnn_assets.store.panel import to_panel
from gnn_assets.store.panels import PanelData, Panels

SEED = 20221228
LAST_YEAR = 2022
WINDOW = 60  # sessions
FETCHED_AT = datetime(2023, 1, 2, tzinfo=UTC)
_CALENDAR = "calendar.pickle"
MOST_INGESTS = 3  # it takes longest by far
LOOKS = 25  # windows and symbols looked at in one repeat
WORK = {
    "ingest": "full ingest",
    "upsert": "daily durable upsert of one session",
    "as_of": "as-of read, closes known at half time",
    "symbol": "one symbol's bars from the table",
    "symbol_close": "one symbol's closes",
    "window": f"{WINDOW}-session window of closes, all symbols",
}


_NOTES = """\
The panel was built from the table in {built}, once for all windows and closes; a stored one is mapped after its hash
is checked. Peak memory includes the generated bars that each process holds.

All write month by month, a year at a time, and sync what they wrote. gnn_assets also judges every row, keeps revisions
with the moment each was known, fingerprints and provenance (17 columns instead of 8), hashes every file, checks every
hash on every read and before every upsert, and publishes a version under a lock. pandas and polars replace month files
with zstd; DuckDB deletes and inserts in one transaction, then checkpoints. None of the three checks a byte it reads,
judges a row or keeps a revision.
"""


class Market:
    """Bars that look like a market's: a common factor, fat tails, cents, whole shares. Made anew from the seed.

    Args:
        calendar: of the exchange.
        symbols: how many.
        years: how many, up to the end of 2022.
    """

    def __init__(self, calendar: SessionCalendar, symbols: int, years: int) -> None:
        self.calendar = calendar
        self.sessions = calendar.between(date(LAST_YEAR + 1 - years, 1, 1), date(LAST_YEAR, 12, 31))
        self.symbols = [f"S{number:04d}" for number in range(symbols)]
        rng = np.random.default_rng(SEED)
        factor = 0.006 * rng.standard_t(4, (len(self.sessions), 1))
        steps = factor * rng.normal(1, 0.3, symbols) + 0.011 * rng.standard_t(5, (len(self.sessions), symbols))
        steps = np.clip(steps, -0.6, 0.6)
        self._closes_TxN = np.maximum(np.exp(rng.normal(3.5, 0.8, symbols) + np.cumsum(steps, axis=0)).round(2), 0.05)

    def bars(self, rows: slice) -> pl.DataFrame:
        """The bars of some sessions, as a source tells them: `FETCHED_COLUMNS`, by session."""
        close = self._closes_TxN[rows]
        rng = np.random.default_rng([SEED, rows.start])
        open_ = np.maximum((close * np.exp(rng.normal(0, 0.008, close.shape))).round(2), 0.01)
        high = (np.maximum(open_, close) * (1 + np.abs(rng.normal(0, 0.006, close.shape)))).round(2)
        low = np.maximum((np.minimum(open_, close) * (1 - np.abs(rng.normal(0, 0.006, close.shape)))).round(2), 0.01)
        volume = np.exp(rng.normal(13, 1.2, close.shape)).round()
        row, column = (index.ravel() for index in np.indices(close.shape))
        return pl.DataFrame(
            {
                "symbol": pl.Series(self.symbols).gather(column),
                "session": pl.Series(self.sessions[rows]).gather(row),
                "open": open_.ravel(),
                "high": high.ravel(),
                "low": low.ravel(),
                "close": close.ravel(),
                "volume": volume.ravel(),
            }
        )

    def years(self, *, spare: int) -> Iterator[slice]:
        """Rows of each year; the last `spare` sessions are left for the daily upserts."""
        years = [session.year for session in self.sessions[: len(self.sessions) - spare]]
        for year in dict.fromkeys(years):
            first = years.index(year)
            yield slice(first, first + years.count(year))

    def known_at(self) -> pl.DataFrame:
        """``session`` and ``known_at``: when its bars were known."""
        moments = [self.calendar.available_at(session) for session in self.sessions]
        return pl.DataFrame({"session": self.sessions, "known_at": pl.Series(moments, dtype=pl.Datetime("us", "UTC"))})

    @property
    def half_time(self) -> date:
        """A session in the middle."""
        return self.sessions[len(self.sessions) // 2]


class Contender(ABC):
    """One way to keep bars. Each method does one piece of work and returns what it read, or nothing.

    Args:
        market: where bars come from.
        folder: its own, empty.
    """

    def __init__(self, market: Market, folder: Path) -> None:
        self.market = market
        self.folder = folder
        self.known_at = market.known_at()

    @abstractmethod
    def ingest(self, bars: pl.DataFrame) -> None:
        """Stores a year."""

    @abstractmethod
    def upsert(self, bars: pl.DataFrame) -> None:
        """Stores one more session, for good."""

    @abstractmethod
    def as_of(self, moment: datetime) -> float:
        """Sum of the closes known at a moment."""

    @abstractmethod
    def symbol(self, name: str) -> float:
        """Sum of one symbol's closes and volumes, all columns read."""

    @abstractmethod
    def symbol_close(self, name: str) -> float:
        """Sum of one symbol's closes."""

    @abstractmethod
    def window(self, rows: slice) -> float:
        """Sum of a window of closes, as an array (sessions, symbols)."""

    def ready(self) -> None:  # noqa: B027 - most have nothing to get ready
        """What is done once before reading, and timed by itself."""


class Ours(Contender):
    """This project: rules, revisions, a hashed lake with publications, a panel."""

    def __init__(self, market: Market, folder: Path) -> None:
        super().__init__(market, folder)
        self._config = build_config("sample").bars.rules
        self._exchanges = Exchanges(primary=market.calendar, others={})
        self._lake = Lake(folder / "lake", clock=SnapshotClock(FETCHED_AT), lock_timeout_seconds=20)
        self._panels = Panels(folder / "panels", lock_timeout_seconds=20)

    def _store(self, bars: pl.DataFrame) -> None:
        first, last = bars["session"].min(), bars["session"].max()
        known = self._lake.manifest(MARKET_BARS) is not None
        stored = self._lake.read(MARKET_BARS, first=first, last=last) if known else MARKET_BARS.empty()
        judged = judge_rows(
            bars.with_columns(
                fetched_at=pl.lit(FETCHED_AT, dtype=pl.Datetime("us", "UTC")), payload_hash=pl.lit("0" * 64)
            ),
            source="simulated",
            basis="raw",
            actions=no_actions(),
            before=bars.clear(),
            exchange_of={},
            exchanges=self._exchanges,
            now=FETCHED_AT,
            config=self._config,
        )
        if judged.good.height != bars.height:
            raise RuntimeError(f"bars: expected {bars.height} good ones, was {judged.good.height}: look at the market.")
        added = new_revisions(
            stored,
            judged.good,
            source="simulated",
            basis="raw",
            exchanges=self._exchanges,
            exchange_of={},
            run_id="0" * 36,
        )
        self._lake.append(MARKET_BARS, added, lineage=None, data_end=last)

    def ingest(self, bars: pl.DataFrame) -> None:
        self._store(bars)

    def upsert(self, bars: pl.DataFrame) -> None:
        self._store(bars)

    def _build(self) -> PanelData:
        rows = self._lake.read(MARKET_BARS, columns=["session", "symbol", "close"])
        sessions = rows["session"].unique().sort().to_list()
        closes = to_panel(rows, "close", sessions=sessions, symbols=self.market.symbols)
        return PanelData(sessions, self.market.symbols, {"close": closes})

    def ready(self) -> None:
        manifest = self._lake.manifest(MARKET_BARS)
        if manifest is None:
            raise RuntimeError("bars: expected a publication, was none.")
        self._panel = self._panels.open(manifest.version, self._build)

    def as_of(self, moment: datetime) -> float:
        rows = self._lake.read(MARKET_BARS, as_of=moment, columns=["symbol", "session", "source", "rev", "close"])
        return float(rows["close"].sum())

    def symbol(self, name: str) -> float:
        rows = self._lake.read(MARKET_BARS, where=pl.col("symbol") == name)
        return float(rows["close"].sum() + rows["volume"].sum())

    def symbol_close(self, name: str) -> float:
        column = self._panel.symbols.index(name)
        return float(np.array(self._panel.field("close")[:, column], dtype=np.float64).sum())

    def window(self, rows: slice) -> float:
        view = self._panel.window("close", end_row=rows.stop - 1, length=rows.stop - rows.start)
        return float(np.array(view).sum(dtype=np.float64))


class _MonthFiles(Contender):
    """Month files of Parquet, each replaced durably: temporary file, fsync, rename, fsync of the folder."""

    def _months(self, bars: pl.DataFrame) -> Iterator[tuple[Path, pl.DataFrame]]:
        rows = bars.join(self.known_at, on="session", how="left").sort("symbol", "session")
        for (month,), part in rows.group_by(pl.col("session").dt.strftime("%Y-%m"), maintain_order=True):
            yield self.folder / f"{month}.parquet", part

    def _durable(self, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        temporary.replace(path)
        descriptor = os.open(self.folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def _files(self, rows: slice) -> list[Path]:
        months = dict.fromkeys(f"{session:%Y-%m}" for session in self.market.sessions[rows])
        return [self.folder / f"{month}.parquet" for month in months]


class Pandas(_MonthFiles):
    """Pandas with pyarrow over month files."""

    def __init__(self, market: Market, folder: Path) -> None:
        super().__init__(market, folder)
        import pandas as pd
        import pyarrow.parquet  # noqa: F401 (or the first ingest would pay for it)

        self._pd = pd

    def ingest(self, bars: pl.DataFrame) -> None:
        for path, part in self._months(bars):
            part.to_pandas().to_parquet(path.with_suffix(".tmp"), compression="zstd", index=False)
            self._durable(path)

    def upsert(self, bars: pl.DataFrame) -> None:
        for path, part in self._months(bars):
            old = [self._pd.read_parquet(path)] if path.exists() else []
            rows = self._pd.concat([*old, part.to_pandas()]).drop_duplicates(["symbol", "session"], keep="last")
            rows = rows.sort_values(["symbol", "session"])
            rows.to_parquet(path.with_suffix(".tmp"), compression="zstd", index=False)
            self._durable(path)

    def as_of(self, moment: datetime) -> float:
        columns, known = ["symbol", "session", "close"], [("known_at", "<=", moment)]
        rows = self._pd.read_parquet(sorted(self.folder.glob("*.parquet")), columns=columns, filters=known)
        return float(rows.sort_values(["symbol", "session"])["close"].sum())

    def symbol(self, name: str) -> float:
        rows = self._pd.read_parquet(sorted(self.folder.glob("*.parquet")), filters=[("symbol", "==", name)])
        return float(rows["close"].sum() + rows["volume"].sum())

    def symbol_close(self, name: str) -> float:
        files = sorted(self.folder.glob("*.parquet"))
        return float(self._pd.read_parquet(files, columns=["close"], filters=[("symbol", "==", name)])["close"].sum())

    def window(self, rows: slice) -> float:
        first, last = self.market.sessions[rows.start], self.market.sessions[rows.stop - 1]
        span = [("session", ">=", first), ("session", "<=", last)]
        frame = self._pd.read_parquet(self._files(rows), columns=["symbol", "session", "close"], filters=span)
        return float(frame.pivot(index="session", columns="symbol", values="close").to_numpy().sum())


class Polars(_MonthFiles):
    """Polars alone over month files."""

    def ingest(self, bars: pl.DataFrame) -> None:
        for path, part in self._months(bars):
            part.write_parquet(path.with_suffix(".tmp"), compression="zstd")
            self._durable(path)

    def upsert(self, bars: pl.DataFrame) -> None:
        for path, part in self._months(bars):
            old = [pl.read_parquet(path)] if path.exists() else []
            rows = pl.concat([*old, part]).unique(["symbol", "session"], keep="last").sort("symbol", "session")
            rows.write_parquet(path.with_suffix(".tmp"), compression="zstd")
            self._durable(path)

    def as_of(self, moment: datetime) -> float:
        rows = pl.scan_parquet(sorted(self.folder.glob("*.parquet"))).filter(pl.col("known_at") <= moment)
        return float(rows.select("symbol", "session", "close").sort("symbol", "session").collect()["close"].sum())

    def symbol(self, name: str) -> float:
        files = pl.scan_parquet(sorted(self.folder.glob("*.parquet")))
        rows = files.filter(pl.col("symbol") == name).collect()
        return float(rows["close"].sum() + rows["volume"].sum())

    def symbol_close(self, name: str) -> float:
        files = pl.scan_parquet(sorted(self.folder.glob("*.parquet")))
        return float(files.filter(pl.col("symbol") == name).select("close").collect()["close"].sum())

    def window(self, rows: slice) -> float:
        span = pl.col("session").is_between(self.market.sessions[rows.start], self.market.sessions[rows.stop - 1])
        frame = pl.scan_parquet(self._files(rows)).filter(span).select("symbol", "session", "close").collect()
        return float(frame.pivot("symbol", index="session", values="close").drop("session").to_numpy().sum())


class DuckDB(Contender):
    """DuckDB alone, in a database file of its own."""

    def __init__(self, market: Market, folder: Path) -> None:
        super().__init__(market, folder)
        import duckdb

        self._connection = duckdb.connect(str(folder / "bars.duckdb"))
        columns = "symbol varchar, session date, open double, high double, low double, close double, volume double"
        self._connection.execute(f"create table bars ({columns}, known_at timestamptz)")

    def _insert(self, bars: pl.DataFrame, *, replace: bool) -> None:
        rows = bars.join(self.known_at, on="session", how="left").sort("symbol", "session")
        self._connection.register("rows", rows.to_arrow())
        self._connection.execute("begin")
        if replace:
            self._connection.execute(
                "delete from bars using rows where bars.symbol = rows.symbol and bars.session = rows.session"
            )
        self._connection.execute("insert into bars select * from rows")
        self._connection.execute("commit")
        self._connection.unregister("rows")
        self._connection.execute("checkpoint")

    def ingest(self, bars: pl.DataFrame) -> None:
        self._insert(bars, replace=False)

    def upsert(self, bars: pl.DataFrame) -> None:
        self._insert(bars, replace=True)

    def _rows(self, query: str, *parameters: object) -> pl.DataFrame:
        return pl.DataFrame(self._connection.sql(query, params=[*parameters]).to_arrow_table())

    def as_of(self, moment: datetime) -> float:
        query = "select symbol, session, close from bars where known_at <= ? order by symbol, session"
        return float(self._rows(query, moment)["close"].sum())

    def symbol(self, name: str) -> float:
        rows = self._rows("select * from bars where symbol = ? order by session", name)
        return float(rows["close"].sum() + rows["volume"].sum())

    def symbol_close(self, name: str) -> float:
        return float(self._rows("select close from bars where symbol = ? order by session", name)["close"].sum())

    def window(self, rows: slice) -> float:
        first, last = self.market.sessions[rows.start], self.market.sessions[rows.stop - 1]
        query = "select symbol, session, close from bars where session between ? and ? order by session, symbol"
        closes = self._connection.execute(query, [first, last]).fetchnumpy()["close"]
        return float(closes.reshape(rows.stop - rows.start, len(self.market.symbols)).sum())


CONTENDERS: Mapping[str, type[Contender]] = {
    "gnn_assets": Ours,
    "pandas + pyarrow": Pandas,
    "polars alone": Polars,
    "DuckDB alone": DuckDB,
}


def _asked(name: str, arguments: argparse.Namespace) -> Callable[..., Any]:
    """What a contender is asked by: it tells how long a work took, what came of it and the most memory held so far."""
    spare, folder = arguments.repeats, Path(arguments.folder)
    market = Market(pickle.loads((folder / _CALENDAR).read_bytes()), arguments.symbols, arguments.years)
    contender: Contender | None = None

    def done(work: str, *, repeat: int) -> dict[str, float]:
        nonlocal contender
        if work == "ingest":
            contender = CONTENDERS[name](market, Path(tempfile.mkdtemp(dir=folder)))
        if contender is None:
            raise RuntimeError("ingest comes first.")
        seconds, answer = _done(contender, work, repeat, spare=spare)
        # Kilobytes on Linux.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"seconds": seconds, "answer": answer, "peak": peak}

    return done


def _done(contender: Contender, work: str, repeat: int, *, spare: int) -> tuple[float, float]:
    market = contender.market
    rng = np.random.default_rng([SEED, repeat])
    if work == "ingest":
        return sum(_timed(contender.ingest, market.bars(rows))[0] for rows in market.years(spare=spare)), 0.0
    if work == "upsert":
        row = len(market.sessions) - spare + repeat
        return _timed(contender.upsert, market.bars(slice(row, row + 1)))[0], 0.0
    if work == "ready":
        return _timed(contender.ready)[0], 0.0
    if work == "as_of":
        return _timed(contender.as_of, market.calendar.available_at(market.half_time))
    if work == "window":
        ends = rng.integers(WINDOW, len(market.sessions) + 1, LOOKS)
        looks = [_timed(contender.window, slice(int(end) - WINDOW, int(end))) for end in ends]
    else:
        names = rng.choice(market.symbols, LOOKS if work == "symbol_close" else 1)
        looks = [_timed(getattr(contender, work), str(name)) for name in names]
    return median(seconds for seconds, _ in looks), sum(answer for _, answer in looks)


def _timed(work: Any, *arguments: Any) -> tuple[float, Any]:
    before = perf_counter()
    answer = work(*arguments)
    return perf_counter() - before, answer


@dataclass(frozen=True)
class Result:
    """What was measured.

    Args:
        rows: bars in all.
        medians: contender → work → seconds.
        peaks: contender → work → most bytes its process held until after that work.
    """

    rows: int
    medians: Mapping[str, Mapping[str, float]]
    peaks: Mapping[str, Mapping[str, int]]


def run(arguments: argparse.Namespace) -> Result:
    """Asks every contender in turn for each work, as often as wanted."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        # Made once: it takes seconds, and the contenders need no library for it.
        first, last = date(LAST_YEAR + 1 - arguments.years, 1, 1), date(LAST_YEAR, 12, 31)
        calendar = SessionCalendar.build("XNYS", first=first, until=last, grace=timedelta(minutes=30))
        (Path(folder) / _CALENDAR).write_bytes(pickle.dumps(calendar))
        sizes = {key: getattr(arguments, key) for key in ("symbols", "years", "repeats")}
        commands = {name: command(__file__, name, folder=folder, **sizes) for name in CONTENDERS}
        seconds: dict[str, dict[str, list[float]]] = {name: {} for name in CONTENDERS}
        peaks: dict[str, dict[str, int]] = {name: {} for name in CONTENDERS}
        with processes(commands, {}) as asked:
            for work in ("ingest", "upsert", "ready", *list(WORK)[2:]):
                times = {"ready": 1, "ingest": min(arguments.repeats, MOST_INGESTS)}.get(work, arguments.repeats)
                for repeat in range(times):
                    told = {name: process.ask(work, repeat=repeat) for name, process in asked.items()}
                    for name, each in told.items():
                        seconds[name].setdefault(work, []).append(each["seconds"])
                        peaks[name][work] = each["peak"]
                    answers = {name: each["answer"] for name, each in told.items()}
                    # float32 against float64.
                    if not np.allclose(list(answers.values()), answers["DuckDB alone"], rtol=1e-5):
                        raise RuntimeError(f"{work}: expected the same answer of all, was {answers}.")
    medians = {name: {work: median(times) for work, times in works.items()} for name, works in seconds.items()}
    return Result(
        rows=arguments.symbols * len(calendar.between(first, last)),
        medians=medians,
        peaks=peaks,
    )


def report(result: Result, arguments: argparse.Namespace) -> str:
    """The table and what stands behind it, as Markdown."""
    medians, peaks = result.medians, result.peaks
    names = list(CONTENDERS)
    lines = [
        "# Market data at size",
        "",
        f"{arguments.symbols} symbols over {arguments.years} years, {result.rows / 1e6:.3g}M generated bars; "
        f"medians of {arguments.repeats} repeats ({min(arguments.repeats, MOST_INGESTS)} of the ingest), contenders asked in turn, each in a process of its own. "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("polars", "pandas", "pyarrow", "duckdb", "numpy"))
        + ". In brackets: how many times as long as gnn_assets.",
        "",
        f"| work | {' | '.join(names)} |",
        f"|---|{'---:|' * len(names)}",
    ]
    ours = medians["gnn_assets"]
    for work, words in WORK.items():
        cells = [_seconds(ours[work])]
        cells += [f"{_seconds(medians[name][work])} ({medians[name][work] / ours[work]:.2g}×)" for name in names[1:]]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    for work, words in {"upsert": "after ingest and upserts", "window": "after everything"}.items():
        lines.append(f"| peak memory {words} | {' | '.join(f'{peaks[name][work] / 1e9:.2f} GB' for name in names)} |")
    built = _seconds(ours["ready"])
    return "\n".join([*lines, "", _NOTES.format(built=built)])


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def main() -> None:
    """Runs the benchmark, or one contender of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=3000)
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file")
    parser.add_argument("--folder", help="where the data live meanwhile; by default the temporary folder")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        serve(partial(_asked, arguments.contender, arguments))
        return
    publish(report(run(arguments), arguments), arguments.out)


if __name__ == "__main__":
    main()
