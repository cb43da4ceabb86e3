"""The rules of a row: what a source told is judged before it becomes a bar, and nothing is repaired in silence.

A rule *refuses* a row, takes a value away (*null*), or only marks the row (*flag*). A refused row stands in
quarantine as it was told; a row that lost a value stands there too, under the rule's name, and its bar carries the
rule in ``flags``. Of several rules that refuse a row the first of this table is named.

====================  ========  ====================================================================================
rule                  decision  when, and why
====================  ========  ====================================================================================
duplicate_key         refuse    an equal copy of a row: one is kept, every other is refused under a number of its own
conflicting_key       refuse    rows of one key that differ: none is kept, which one is right is not ours to choose
future_session        refuse    a date after today at the exchange: nobody knows that bar
not_a_session         refuse    no session of the symbol's own exchange: a holiday, a weekend, or a wrong time zone
close_missing         refuse    there is no close, and without one there is no bar
not_finite            refuse    NaN or infinity anywhere: the source's arithmetic failed, so no value of it is trusted
close_not_positive    refuse    a close of zero or less is no price
price_negative        refuse    likewise for open, high and low; zero there is a code for "none", see below
volume_negative       refuse    nobody trades fewer than no shares
high_below_low        refuse    the row denies itself
close_far_outside     refuse    the close lies further outside the row's own range than `max_range_excess`: another
                                line's price (in real data a gap parts 5 % from 10 %)
repeated_bar          refuse    a whole bar with range and volume equal to the one before: carried on, not traded
jump                  refuse    the close is more than `max_abs_log_return` (log) from both the last good close and the
                                last row that only this rule could refuse: a spike loses one row and a new level one
no_trade              null      open, high and low are 0 and so is the volume, or it is unknown: a day without trades
open_zero             null      an open of 0 is a code for "none"; likewise high_zero and low_zero
close_outside         null      the close lies a little outside the range, as after a closing auction or a halt: the
                                close is kept, and open, high and low go, because one of them is proven wrong
open_outside          null      the open lies outside the range, often a copy of the close before: the open goes
zero_volume           null      volume 0 with a range: shares did change hands, so the 0 is a code for "unknown"
flat_bar              flag      high equals low: true of a quiet fund, and of a stale quote
====================  ========  ====================================================================================

Nulls that a source told are no dirt: a source with closes only is flagged for nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from gnn_assets.bars.fetched import FETCHED_COLUMNS, VALUES
from gnn_assets.bars.revisions import row_hashes
from gnn_assets.bars.row_schemas import NULLED, PLAUSIBLE, POSSIBLE, WHOLE, RuleSet, told
from gnn_assets.bars.schema import QUARANTINE
from gnn_assets.bars.venues import with_moments
from gnn_assets.core.config import RulesConfig
from gnn_assets.core.sessions import Exchanges
from gnn_assets.store.schema import MOMENT

_KEY = ("symbol", "session")
# Rows judged at a time: what is held beside the answer itself stays at a few hundred megabytes.
_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Judged:
    """What became of a fetch.

    Args:
        good: `FETCHED_COLUMNS`, whatever other columns the fetch had, ``flags`` (String) and ``row_hash`` (UInt64);
            one row a (symbol, session), sorted.
        refused: a frame of `QUARANTINE`: refused rows, and rows that lost a value, as the source told them.
        unfinished: rows left out because their session is not complete yet.
    """

    good: pl.DataFrame
    refused: pl.DataFrame
    unfinished: int = 0


def judge_rows(
    bars: pl.DataFrame,
    *,
    source: str,
    basis: str,
    actions: pl.DataFrame,
    before: pl.DataFrame,
    exchange_of: Mapping[str, str],
    exchanges: Exchanges,
    now: datetime,
    config: RulesConfig,
) -> Judged:
    """Divides what a source told into good rows and refused ones, row by row; see the module's table.

    The result does not depend on the order of the rows. Every row is judged by rows up to its own session only.

    Args:
        bars: `FETCHED_COLUMNS` and any others, as a source gave them.
        source: name of the source's plug-in.
        basis: ``raw``, ``split`` or ``split_div``.
        actions: `ACTION_COLUMNS` of the source; on basis ``raw`` its splits explain a jump.
        before: `FETCHED_COLUMNS`, good bars of the source that are stored, any sessions, may be empty: the first row
            of a symbol is held against the newest of them that is earlier. Without it, a fetch that begins with a
            spike would take it for a level.
        exchange_of: symbol → exchange.
        exchanges: the calendars.
        now: aware UTC moment of the fetch.
        config: limits.

    Raises:
        ConfigError: if an exchange is not configured.
    """
    rows = with_moments(bars, exchanges=exchanges, exchange_of=exchange_of).drop("next_close")
    rows = _with_today(rows, exchanges=exchanges, exchange_of=exchange_of, now=now).with_columns(
        unfinished=(pl.col("session") <= pl.col("today")) & (pl.col("available_at") > pl.lit(now, dtype=MOMENT))
    )
    complete = rows.filter(~pl.col("unfinished").fill_null(False)).drop("available_at", "unfinished").sort(_KEY)
    unique, doubled = _without_copies(complete)
    others = [name for name in bars.columns if name not in FETCHED_COLUMNS]
    parts = [
        _judge(part, others, basis=basis, actions=actions, before=before, config=config) for part in _by_symbols(unique)
    ]
    refused = pl.concat([doubled, *(part for _, part in parts)]).with_columns(source=pl.lit(source))
    return Judged(
        good=pl.concat([part for part, _ in parts]),
        refused=QUARANTINE.conform(refused),
        unfinished=rows.height - complete.height,
    )


def _with_today(
    rows: pl.DataFrame, *, exchanges: Exchanges, exchange_of: Mapping[str, str], now: datetime
) -> pl.DataFrame:
    """The rows with ``today``, the date it is at the symbol's exchange."""

    def date_at(code: str) -> Any:
        return now.astimezone(ZoneInfo(exchanges.of(code).timezone)).date()

    days = {code: date_at(code) for code in {exchanges.primary.exchange, *exchange_of.values()}}
    names = pl.DataFrame(
        {
            "symbol": pl.Series(exchange_of.keys(), dtype=pl.String),
            "today": pl.Series([days[code] for code in exchange_of.values()], dtype=pl.Date),
        }
    )
    home = pl.lit(days[exchanges.primary.exchange], dtype=pl.Date)
    return rows.join(names, on="symbol", how="left", maintain_order="left").with_columns(
        pl.col("today").fill_null(home)
    )


def _without_copies(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows with one a key, and the refused copies with their rule; both sorted as they were."""
    # Sorted, copies of a key stand together: a shift finds them, where grouping 7 million rows takes seconds.
    again = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in _KEY) & (
        pl.int_range(pl.len()) > 0
    )
    marked = rows.with_columns(again=again)
    marked = marked.with_columns(copied=pl.col("again") | pl.col("again").shift(-1, fill_value=False))
    copied = marked.filter("copied")
    plain = marked.filter(~pl.col("copied")).drop("again", "copied")
    if copied.is_empty():
        return plain, _quarantined(plain.clear(), pl.lit(None, dtype=pl.String))
    # NaN equals NaN and null equals null here, so copies of a broken row are alike.
    others = [name for name in rows.columns if name not in FETCHED_COLUMNS]
    copied = copied.drop("again", "copied").sort(*_KEY, *VALUES, *others)
    number = pl.int_range(pl.len()).over(_KEY)
    copied = copied.with_columns(number=number, alike=pl.struct(VALUES).n_unique().over(_KEY) == 1)
    kept = copied.filter(pl.col("alike") & (pl.col("number") == 0)).select(rows.columns)
    named = copied.join(kept.select(_KEY), on=_KEY, how="semi", nulls_equal=True).filter(pl.col("number") > 0)
    torn = copied.filter(~pl.col("alike")).with_columns(pl.col("number") + 1)
    refused = [
        _quarantined(part, _numbered(rule)) for part, rule in ((named, "duplicate_key"), (torn, "conflicting_key"))
    ]
    return pl.concat([plain, kept]).sort(_KEY), pl.concat(refused)


def _numbered(rule: str) -> pl.Expr:
    """Gives every refused copy of a key a rule of its own, so that each keeps its row in the table."""
    return pl.when(pl.col("number") > 1).then(pl.format(rule + "_{}", "number")).otherwise(pl.lit(rule))


def _by_symbols(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Slices of whole symbols, of about so many rows that the memory they take is bounded; at least one slice."""
    # Rows are sorted by symbol; the first row of each is where a slice may begin.
    starts = np.flatnonzero(_starts(rows))
    first = 0
    while first + _AT_ONCE < rows.height:
        after = starts[starts >= first + _AT_ONCE]
        if not len(after):
            break
        yield rows[first : int(after[0])]
        first = int(after[0])
    yield rows[first:]


def _judge(
    rows: pl.DataFrame,
    others: list[str],
    *,
    basis: str,
    actions: pl.DataFrame,
    before: pl.DataFrame,
    config: RulesConfig,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good rows, and quarantine but for the source, of rows with one a key, sorted."""
    above, below = (pl.col("close") / told("high")).log(), (told("low") / pl.col("close")).log()
    rows = rows.with_row_index("row").with_columns(
        far_outside=pl.max_horizontal(above, below) - config.max_range_excess
    )
    possible, impossible = _filtered(POSSIBLE, rows)
    sound = possible.select("row", *FETCHED_COLUMNS)
    repeated, jumped = _against_the_row_before(sound, basis=basis, actions=actions, before=before, config=config)
    plausible, doubtful = _filtered(PLAUSIBLE, sound.with_columns(repeated=repeated, jumped=jumped))
    good = sound.join(plausible.select("row"), on="row", how="semi", maintain_order="left")
    _, broken = WHOLE.filter(good.select("row", *VALUES))
    taken = (
        broken.unpivot(list(NULLED), index="row", variable_name="rule", value_name="verdict")
        .filter(pl.col("verdict") == "invalid")
        .select("row", "rule")
    )
    refused = pl.concat([impossible, doubtful, taken]).join(rows, on="row")
    good = _nulled(good.with_columns(row_hashes(good, basis=basis)), broken)
    if others:
        good = good.join(rows.select("row", *others), on="row", how="left", maintain_order="left")
    return good.select(*FETCHED_COLUMNS, *others, "flags", "row_hash"), _quarantined(refused, pl.col("rule"))


def _filtered(rules: RuleSet, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that break no rule, and of each other one its ``row`` and the first ``rule`` it breaks."""
    passed, broken = rules.filter(rows)
    first = pl.coalesce(pl.when(pl.col(name) == "invalid").then(pl.lit(name)) for name in rules.names)
    return passed, broken.select("row", rule=first)


def _nulled(good: pl.DataFrame, broken: pl.DataFrame) -> pl.DataFrame:
    """The good rows without the values that a rule takes away, and with ``flags``."""
    named = (pl.when(pl.col(rule) == "invalid").then(pl.lit(rule)) for rule in sorted(WHOLE.names))
    taken = {
        f"no_{name}": pl.any_horizontal(
            pl.col(rule) == "invalid" for rule, columns in NULLED.items() if name in columns
        )
        for name in VALUES
        if any(name in columns for columns in NULLED.values())
    }
    marks = broken.select("row", flags=pl.concat_str(*named, separator=",", ignore_nulls=True), **taken)
    return good.join(marks, on="row", how="left", maintain_order="left").with_columns(
        pl.col("flags").fill_null(""),
        *(
            pl.when(~pl.col(mark).fill_null(False)).then(mark.removeprefix("no_")).alias(mark.removeprefix("no_"))
            for mark in taken
        ),
    )


def _against_the_row_before(
    sound: pl.DataFrame, *, basis: str, actions: pl.DataFrame, before: pl.DataFrame, config: RulesConfig
) -> tuple[pl.Series, pl.Series]:
    """Whether each row repeats the one before it, and whether it jumps."""
    firsts = sound.group_by("symbol").agg(first=pl.col("session").min())
    earlier = (
        before.join(firsts, on="symbol")
        .filter(pl.col("session") < pl.col("first"))
        .sort(_KEY)
        .unique("symbol", keep="last", maintain_order=True)
        .select(pl.lit(None, dtype=pl.UInt32).alias("row"), *FETCHED_COLUMNS)
    )
    rows = sound if earlier.is_empty() else pl.concat([earlier, sound]).sort(_KEY)
    starts = _starts(rows)
    same = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in VALUES)
    traded = (pl.col("volume") > 0) & (pl.col("low") > 0) & (pl.col("high") > pl.col("low"))
    rows = rows.with_columns(
        repeated=(same & traded).fill_null(False) & ~pl.Series(starts),
        jumped=pl.Series(_jumps(_levels(rows, basis=basis, actions=actions), starts, config.max_abs_log_return)),
    ).filter(pl.col("row").is_not_null())
    return rows["repeated"], rows["jumped"]


def _levels(rows: pl.DataFrame, *, basis: str, actions: pl.DataFrame) -> np.ndarray:
    """Log closes, on basis ``raw`` with every split so far undone."""
    level = rows["close"].log().to_numpy()
    splits = actions.filter((pl.col("kind") == "split") & (pl.col("value") > 0) & pl.col("value").is_finite())
    if basis != "raw" or splits.is_empty():
        return level
    factors = (
        splits.unique((*_KEY, "value"))
        .sort(*_KEY, "value")
        .select(*_KEY, factor=pl.col("value").log().cum_sum().over("symbol"))
    )
    undone = rows.select(_KEY).join_asof(
        factors, on="session", by="symbol", strategy="backward", check_sortedness=False
    )
    return level + undone["factor"].fill_null(0.0).to_numpy()


def _jumps(levels: np.ndarray, starts: np.ndarray, limit: float) -> np.ndarray:
    """Whether each row is further than the limit from the row before it and from the last good one.

    Args:
        levels: float64[rows], log closes, symbol after symbol.
        starts: bool[rows], whether a row is the first of its symbol.
        limit: log distance allowed.
    """
    jumped = np.zeros(len(levels), dtype=bool)
    far = np.abs(np.diff(levels, prepend=levels[:1])) > limit
    last_good = 0.0
    for place in np.flatnonzero(far & ~starts):
        if not jumped[place - 1]:
            last_good = levels[place - 1]
        jumped[place] = abs(levels[place] - last_good) > limit
    return jumped


def _starts(rows: pl.DataFrame) -> np.ndarray:
    """Whether each row is the first of its symbol: bool[rows]."""
    return (
        rows.select(pl.col("symbol").ne_missing(pl.col("symbol").shift()) | (pl.int_range(pl.len()) == 0))
        .to_series()
        .to_numpy()
    )


def _quarantined(rows: pl.DataFrame, rule: pl.Expr) -> pl.DataFrame:
    return rows.select(*_KEY, pl.lit("").alias("source"), rule.alias("rule"), *VALUES)
