"""Ingests a real, dirty file of 1.4 million bars by the update path, and writes down what became of every row.

    python docs/make_dirty_file.py docs/results/YYYY-MM-DD-real-dirt.md

The file stays outside the project; a test holds the same claims on a seeded part of it.
"""
# ruff: noqa: INP001, T201 - a script, not a package

import platform as machine
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import yaml

from gnn_assets.bars.actions import latest_actions
from gnn_assets.bars.bad_sessions import COUNTED, PREFIX
from gnn_assets.bars.fetched import PRICES, VALUES
from gnn_assets.bars.findings import symbol_findings
from gnn_assets.bars.revisions import latest
from gnn_assets.bars.row_schemas import NULLED, REFUSING
from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS, QUARANTINE, SYMBOL_STATUS, UNIVERSE
from gnn_assets.bars.venues import exchange_of
from gnn_assets.core.clock import SnapshotClock
from gnn_assets.core.config import build_config
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.core.settings import Settings
from gnn_assets.definitions import build_definitions
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.tables import stored

FILE = Path(__file__).resolve().parents[2] / "shared" / "data" / "nasdaq_bars.parquet"
KEY = ("symbol", "session")
# How many rows a restated copy corrects, of each kind.
CORRECTED = {"close": 45, "volume": 45, "open": 10}
SEED = 20171211
# The vendor's second thoughts come so long after the last session's bars.
SECOND_THOUGHTS = timedelta(hours=2)
# With half of the last session missing, only a lower limit lets the whole file in.
WHOLE_FILE = {"min_success_share": 0.5}
_CALENDARS: dict[date, SessionCalendar] = {}


@dataclass(frozen=True)
class Update:
    """What one update came to.

    Args:
        published: assets that were published, in order.
        checks: name of a check of `market_bars` → its evaluation.
        metadata: name → value, of `market_bars`; empty if it was refused.
        refusal: why the run failed; empty if it did not.
        seconds: wall time.
    """

    published: tuple[str, ...]
    checks: Mapping[str, Any]
    metadata: Mapping[str, Any]
    refusal: str
    seconds: float

    @property
    def blocking(self) -> list[str]:
        """Checks that stopped the publication."""
        return [
            name
            for name, check in self.checks.items()
            if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
        ]


@dataclass
class Ground:
    """A home of its own whose source is one file of bars.

    Args:
        home: an empty folder.
        file: the bars.
        session: session the clock stands at.
        bars: settings of the section `bars` that differ from the profile's.
    """

    home: Path
    file: Path
    session: date
    bars: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> pl.DataFrame:
        """What the file says, read another way than the source reads it: its decimals as text, the text as numbers."""
        return pl.read_parquet(self.file).select(*KEY, pl.col(VALUES).cast(pl.String).cast(pl.Float64)).sort(KEY)

    def platform(self, *, later: timedelta = timedelta()) -> Platform:
        """The platform, opened so long after the session's bars are known."""
        rows = pl.scan_parquet(self.file)
        first: date = rows.select(pl.col("session").min()).collect().item()
        universe = self.home / "universe.yaml"
        if not universe.exists():
            symbols = rows.select(pl.col("symbol").unique().sort()).collect()["symbol"]
            members = [{"symbol": symbol, "tier": "core", "sector": "Unknown"} for symbol in symbols]
            content = {"survivor_only": True, "exchange": "XNYS", "from_session": first, "symbols": members}
            universe.write_text(yaml.safe_dump(content), encoding="utf-8")
        config = build_config(
            "test",
            {
                "clock": {"kind": "snapshot", "session": str(self.session)},
                "execution": {"fill": "open_next"},
                "universe": {"file": str(universe)},
                "bars": {"sources": ["files"], "from_session": str(first), **self.bars},
                "sources": {"files": {"folder": str(self.file.parent), "pattern": self.file.name}},
            },
        )
        opened = Platform(settings=Settings(profile="test", home=self.home), config=config)
        # Made once a session of the clock: it costs more than an update of a few symbols.
        if self.session in _CALENDARS:
            opened.calendar = _CALENDARS[self.session]
        _CALENDARS[self.session] = opened.calendar
        opened.clock = SnapshotClock(opened.calendar.available_at(self.session) + later)
        return opened

    def update(self, *, later: timedelta = timedelta(), accept_revisions: bool = False) -> Update:
        """Materializes universe, bars and returns."""
        job = build_definitions(self.platform(later=later)).resolve_job_def("refresh_data")
        started = time.perf_counter()
        with dg.DagsterInstance.ephemeral() as instance:
            result = job.execute_in_process(
                instance=instance,
                raise_on_error=False,
                run_config={
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                    "ops": {"market_bars": {"config": {"accept_revisions": accept_revisions}}},
                },
            )
        made = {
            str(event.asset_key.to_user_string()): event.materialization.metadata
            for event in result.get_asset_materialization_events()
            if event.asset_key
        }
        failures = [event.step_failure_data for event in result.filter_events(lambda event: event.is_step_failure)]
        return Update(
            published=tuple(made),
            checks={
                check.check_name: check
                for check in result.get_asset_check_evaluations()
                if check.asset_key.to_user_string() == MARKET_BARS.name
            },
            metadata={name: entry.value for name, entry in made.get(MARKET_BARS.name, {}).items()},
            refusal=" ".join(_reason(failure) for failure in failures),
            seconds=time.perf_counter() - started,
        )

    def history(self) -> pl.DataFrame:
        """Every revision stored."""
        return stored(self.platform(), MARKET_BARS)

    def quarantine(self) -> pl.DataFrame:
        """Every row in quarantine."""
        return stored(self.platform(), QUARANTINE)


def _reason(failure: Any) -> str:
    told = failure.user_failure_data
    return str(told.description if told else failure.error.message)


def restated(told: pl.DataFrame, bars: pl.DataFrame, *, seed: int = SEED) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A copy of the file in which the vendor corrected some bars and moved one symbol to another basis.

    Closes move to the middle of their range, volumes grow by 100, opens coded 0 are filled in; one symbol has all its
    prices halved and its volumes doubled, as after a split. Only bars that the rules let pass are touched.

    Args:
        told: columns `KEY` and `VALUES`: the file.
        bars: columns `KEY` and ``flags``: the bars stored of it.
        seed: of the choice.

    Returns:
        The copy, in the file's columns; and the keys of the bars that changed, with ``kind``.
    """
    rng = np.random.default_rng(seed)
    rows = told.join(bars.select(*KEY, "flags"), on=KEY, how="inner", maintain_order="left").with_columns(
        middle=((pl.col("high") + pl.col("low")) / 2).round(4)
    )
    moved = str(rng.choice(rows["symbol"].unique().sort().to_numpy()))
    others = rows.filter(pl.col("symbol") != moved)
    clean = others.filter(
        pl.col("flags") == "",
        pl.col("middle") != pl.col("close"),
        pl.col("middle").is_between("low", "high"),
    )
    chosen = clean[np.sort(rng.choice(clean.height, CORRECTED["close"] + CORRECTED["volume"], replace=False))]
    # Filled in with the close, which lies in the range: nothing is left to flag.
    unopened = others.filter(pl.col("flags") == "open_zero")
    opened = unopened[np.sort(rng.choice(unopened.height, min(CORRECTED["open"], unopened.height), replace=False))]
    kinds = rng.permutation(["close"] * CORRECTED["close"] + ["volume"] * CORRECTED["volume"])
    changed = pl.concat(
        [
            chosen.select(*KEY, kind=pl.Series(kinds, dtype=pl.String)),
            opened.select(*KEY, kind=pl.lit("open")),
            rows.filter(pl.col("symbol") == moved).select(*KEY, kind=pl.lit("basis")),
        ]
    )
    all_of_it = pl.col("symbol") == moved
    copy = (
        told.join(changed, on=KEY, how="left", maintain_order="left")
        .join(rows.select(*KEY, "middle"), on=KEY, how="left", maintain_order="left")
        .with_columns(
            *(pl.when(all_of_it).then((pl.col(name) / 2).round(4)).otherwise(name).alias(name) for name in PRICES),
            pl.when(all_of_it).then(pl.col("volume") * 2).otherwise("volume").alias("volume"),
        )
        .with_columns(
            close=pl.when(pl.col("kind") == "close").then("middle").otherwise("close"),
            volume=pl.when(pl.col("kind") == "volume").then(pl.col("volume") + 100).otherwise("volume"),
            open=pl.when(pl.col("kind") == "open").then("close").otherwise("open"),
        )
        .select(told.columns)
    )
    return copy, changed


def unfaithful(bars: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Stored bars with a value that neither is the file's nor was taken away by a rule its flags name.

    Args:
        bars: columns of `MARKET_BARS`, one row a bar.
        told: columns `KEY` and `VALUES`: the file.
    """
    both = bars.join(told, on=KEY, how="left", suffix="_told")
    flags = pl.col("flags").str.split(",")
    wrong = []
    for name in VALUES:
        rules = [rule for rule, columns in NULLED.items() if name in columns]
        taken = pl.any_horizontal(pl.lit(False), *(flags.list.contains(rule) for rule in rules))
        kept = pl.when(taken).then(pl.col(name).is_null()).otherwise(pl.col(name).eq_missing(pl.col(f"{name}_told")))
        wrong.append(~kept)
    return both.filter(pl.any_horizontal(wrong))


def refused_rows(quarantine: pl.DataFrame) -> pl.DataFrame:
    """Rows of the quarantine that became no bar; the others only lost a value."""
    return quarantine.filter(~pl.col("rule").is_in(list(NULLED)))


# --- the page --------------------------------------------------------------------------------------------------------


def page(folder: Path, *, day: str) -> str:
    """Does all of it, and tells it.

    Args:
        folder: empty, for homes.
        day: date on the page.
    """
    session = pl.scan_parquet(FILE).select(pl.col("session").max()).collect().item()
    before_any = _peak()
    whole = Ground(_made(folder / "whole"), FILE, session, WHOLE_FILE)
    first = whole.update()
    peak = _peak()
    refused = Ground(_made(folder / "strict"), FILE, session).update()
    day_before = whole.platform().calendar.offset(session, -1)
    earlier = Ground(_made(folder / "earlier"), FILE, day_before)
    accepted = earlier.update()
    bars, quarantine, told = latest(whole.history()), whole.quarantine(), whole.told()
    second = whole.update()
    copy, changed = restated(told, bars)
    file = _made(folder / "restated") / "bars.parquet"
    copy.write_parquet(file)
    again = Ground(whole.home, file, session, WHOLE_FILE)
    unaccepted = again.update(later=SECOND_THOUGHTS)
    third = again.update(later=SECOND_THOUGHTS, accept_revisions=True)
    history, moment = whole.history(), again.platform(later=SECOND_THOUGHTS).clock.now()
    old, new = (latest(history, known_at=at) for at in (moment - timedelta(microseconds=1), moment))
    revised = history.filter(pl.col("rev") > 0)
    exact = {
        "revisions are exactly the bars that were changed": _keys(revised) == _keys(changed),
        "as of a microsecond before: the old content": old.drop("row_hash").equals(bars.drop("row_hash")),
        "as of the moment: every value the new file's, or null with a flag": unfaithful(new, copy).is_empty()
        and _keys(new) == _keys(bars),
    }
    return "\n".join(
        (
            *_head(told, day),
            *_rows(told, bars, quarantine),
            *_worst_sessions(quarantine, told, whole.platform().config.bars.rules.max_rule_share),
            *_findings(whole, bars),
            *_checks(
                {
                    f"{session}, settings as shipped": refused,
                    f"{earlier.session}, settings as shipped": accepted,
                    f"{session}, `bars.min_success_share` 0.5": first,
                }
            ),
            *_again(second, unaccepted, third, changed, exact),
            *_cost(first, second, third, before_any, peak),
            *_limits(quarantine),
        )
    )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _peak() -> float:
    """Most memory this process has held, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def _keys(rows: pl.DataFrame) -> set[tuple[str, date]]:
    return set(rows.select(KEY).iter_rows())


def _head(told: pl.DataFrame, day: str) -> tuple[str, ...]:
    return (
        f"# {day}: a real, dirty file",
        "",
        (
            "**Asked.** What becomes of a real, dirty file when it is ingested by the update path: which rows are refused "
            "and which values taken away, is anything repaired in silence, and does a second look add anything?"
        ),
        "",
        (
            '**How.** `python docs/make_dirty_file.py` on the raw end-of-day files published with Feng et al., "Temporal '
            'Relational Ranking for Stock Prediction" (TOIS 2019): '
            f"{told.height:,} bars of {told['symbol'].n_unique():,} NASDAQ stocks, {told['session'].min()} to "
            f"{told['session'].max()}, adjusted for splits. Source `files`, exchange XNYS, profile `test` with the clock at "
            f"the file's last session; the assets `universe`, `market_bars` and `returns` in a fresh home. Seed {SEED}."
        ),
        "",
        (
            f"**On what.** Two cores of an Intel Xeon, 24 GiB, {machine.system()}, with other work beside it; Python "
            f"{machine.python_version()}, polars {version('polars')}, dagster {version('dagster')}."
        ),
        "",
        "**What came out.**",
        "",
    )


def _rows(told: pl.DataFrame, bars: pl.DataFrame, quarantine: pl.DataFrame) -> tuple[str, ...]:
    refused = refused_rows(quarantine)
    taken = quarantine.filter(pl.col("rule").is_in(list(NULLED)))
    flags = bars.filter(pl.col("flags") != "").select(pl.col("flags").str.split(",").explode())["flags"]
    clean = bars.filter(pl.col("flags") == "").height
    equal = _keys(bars) | _keys(refused) == _keys(told) and not _keys(bars) & _keys(refused)
    as_told = quarantine.join(told, on=(*KEY, *VALUES), how="anti", nulls_equal=True).height
    named = set(taken.select(*KEY, "rule").iter_rows()) == {
        row
        for row in bars.select(*KEY, pl.col("flags").str.split(",")).explode("flags").iter_rows()
        if row[2] in NULLED
    }
    bad = refused.filter(pl.col("rule").str.starts_with(PREFIX))["session"].n_unique()
    return (
        "## Rows",
        "",
        "| rows | |",
        "|---|---|",
        f"| told | {told.height:,} |",
        f"| stored as bars | {bars.height:,} |",
        f"| ... of them without any flag | {clean:,} |",
        f"| ... of them with a value taken away | {taken.select(KEY).unique().height:,} |",
        f"| refused | {refused.height:,} |",
        f"| sessions refused whole | {bad} |",
        "",
        "| rule | decision | rows |",
        "|---|---|---|",
        *(f"| `{rule}` | refused | {count:,} |" for rule, count in _counted(refused["rule"])),
        *(
            f"| `{rule}` | {', '.join(NULLED[rule])} taken away | {count:,} |"
            for rule, count in _counted(taken["rule"])
        ),
        *(f"| `{rule}` | flag only | {count:,} |" for rule, count in _counted(flags) if rule not in NULLED),
        "",
        "| claim | holds |",
        "|---|---|",
        f"| every row told is a bar or refused, none is both, and there is no other | {_word(equal)} |",
        (
            f"| every stored value is the file's, or null with a flag that names the rule | "
            f"{_word(unfaithful(bars, told).is_empty())} |"
        ),
        f"| every value taken away stands in quarantine under its rule | {_word(named)} |",
        f"| every row in quarantine stands there as it was told | {_word(as_told == 0)} |",
        "",
    )


def _findings(ground: Ground, bars: pl.DataFrame) -> tuple[str, ...]:
    opened = ground.platform()
    universe = opened.lake.read(UNIVERSE)
    found = symbol_findings(
        bars,
        latest_actions(stored(opened, CORPORATE_ACTIONS)),
        exchange_of=exchange_of(universe),
        exchanges=opened.exchanges,
        universe=universe,
        config=opened.config.bars,
    )
    counts = found.group_by("finding").agg(
        found=pl.len(), symbols=pl.col("symbol").n_unique(), longest=pl.col("sessions").max()
    )
    splits = found.filter(pl.col("finding") == "split_like")
    failed = opened.lake.read(SYMBOL_STATUS).filter(pl.col("state") == "FAILED")
    # Numbers differ from symbol to symbol; what is left is the kind of the reason.
    kinds = failed.with_columns(pl.col("reason").str.replace_all(r"\b[0-9][0-9.,%]*", "…"))
    reasons = kinds.group_by("stage", "reason").agg(symbols=pl.len()).sort("stage", "symbols", "reason")
    last = bars["session"].max()
    return (
        "## Symbols",
        "",
        "| finding | times | symbols | longest (sessions) |",
        "|---|---|---|---|",
        *(
            f"| `{name}` | {times} | {symbols} | {longest} |"
            for name, times, symbols, longest in counts.sort("finding").iter_rows()
        ),
        "",
        "Split-like: "
        + ", ".join(f"{row['symbol']} {row['first']} ({row['value']:g})" for row in splits.iter_rows(named=True))
        + ".",
        "",
        (
            f"On {last} the file has {bars.filter(pl.col('session') == last).height} of {universe.height} symbols; the "
            "others cannot be used at that session."
        ),
        "",
        "| stage | symbols failed | reason |",
        "|---|---|---|",
        *(f"| `{stage}` | {symbols} | {reason} |" for stage, reason, symbols in reasons.iter_rows()),
        "",
    )


def _worst_sessions(quarantine: pl.DataFrame, told: pl.DataFrame, limit: float) -> tuple[str, ...]:
    """How near the dirtiest sessions come to being refused whole."""
    counts = told.group_by("session").agg(symbols=pl.len())
    worst = (
        quarantine.filter(pl.col("rule").is_in(COUNTED))
        .group_by("session", "rule")
        .agg(broken=pl.len())
        .join(counts, on="session")
        .sort(pl.col("broken") / pl.col("symbols"), "session", "rule", descending=(True, False, False))
        .head(3)
    )
    return (
        f"Sessions nearest to being refused whole (one rule broken by more than {limit:.0%} of the symbols):",
        "",
        "| session | rule | symbols | share |",
        "|---|---|---|---|",
        *(
            f"| {session} | `{rule}` | {broken} of {symbols} | {broken / symbols:.2%} |"
            for session, rule, broken, symbols in worst.iter_rows()
        ),
        "",
    )


def _checks(updates: Mapping[str, Update]) -> tuple[str, ...]:
    names = next(iter(updates.values())).checks
    lines = [
        "## Checks",
        "",
        f"| check | {' | '.join(updates)} |",
        "|---" * (len(updates) + 1) + "|",
    ]
    for name in names:
        cells = []
        for update in updates.values():
            check = update.checks[name]
            value = check.metadata["value"].value
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            stops = check.severity == dg.AssetCheckSeverity.ERROR
            cells.append(f"{shown}" if check.passed else f"{shown}, **{'blocks' if stops else 'warns'}**")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    published = [f"{', '.join(update.published)}" for update in updates.values()]
    return (*lines, f"| published | {' | '.join(published)} |", "")


def _again(
    second: Update, unaccepted: Update, third: Update, changed: pl.DataFrame, exact: Mapping[str, bool]
) -> tuple[str, ...]:
    corrected = changed.filter(pl.col("kind") != "basis")
    moved = changed.filter(pl.col("kind") == "basis")
    return (
        "## Again, and restated",
        "",
        (
            f"A second ingest of the same file: {second.metadata['rows_added']} rows added, "
            f"{second.metadata['revised_bars']} revisions."
        ),
        "",
        (
            f"A restated copy, two hours later: {corrected.height} bars of {corrected['symbol'].n_unique()} symbols "
            f"corrected, and the {moved.height} bars of {moved['symbol'][0]} halved as after a split. "
            f"It is refused first ({', '.join(unaccepted.blocking) or 'by nothing'}), because it corrects more than 1 % of "
            "the symbols; with `accept_revisions` it adds "
            f"{third.metadata['rows_added']:,} rows, {third.metadata['revised_bars']:,} of them revisions."
        ),
        "",
        "| claim | holds |",
        "|---|---|",
        *(f"| {claim} | {_word(holds)} |" for claim, holds in exact.items()),
        "",
    )


def _cost(first: Update, second: Update, third: Update, before_any: float, peak: float) -> tuple[str, ...]:
    return (
        "## Time and memory",
        "",
        "| update | seconds |",
        "|---|---|",
        f"| the whole file into an empty home | {first.seconds:.1f} |",
        f"| the same file again | {second.seconds:.1f} |",
        f"| the restated copy | {third.seconds:.1f} |",
        "",
        (f"In the first of them the process held {peak:.2f} GB at most, {before_any:.2f} GB of it before it began."),
        "",
    )


def _limits(quarantine: pl.DataFrame) -> tuple[str, ...]:
    unmet = [rule for rule in (*REFUSING, *NULLED) if rule not in set(quarantine["rule"])]
    return (
        (
            "**What it does not show.** Which of the bars kept are true: no second source stands beside the file. No "
            f"row of it broke {', '.join(f'`{rule}`' for rule in unmet)}: these rules are shown by tests alone."
        ),
        "",
    )


def _counted(names: pl.Series) -> list[tuple[str, int]]:
    counts = names.alias("name").value_counts(name="times").sort("times", "name", descending=(True, False))
    return list(counts.iter_rows())


def _word(holds: bool) -> str:  # noqa: FBT001 - a truth value is what it tells
    return "yes" if holds else "**no**"


def main() -> None:
    """Writes the page."""
    if not FILE.exists():
        sys.exit(f"{FILE.name}: expected beside the project in shared/data, was nowhere; put it there.")
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        target.write_text(page(Path(folder), day=target.stem[:10]), encoding="utf-8")
    print(f"written: {target.name}")


if __name__ == "__main__":
    main()
