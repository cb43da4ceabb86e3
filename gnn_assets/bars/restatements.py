"""What kind of change a revision is: a whole history moved to another basis, or single bars corrected.

A vendor that adjusts its prices moves every earlier bar by one ratio at each split (or dividend): no return changes,
but what is stored before the bars told again still stands on the old basis, so all of it must be asked for again. A
correction changes returns, and so forecasts already published; many at once mean that the vendor, not a bar, is wrong.
A volume that settles late changes no return, and is neither.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date

import polars as pl

from gnn_assets.bars.fetched import PRICES
from gnn_assets.core.checks import Check
from gnn_assets.core.sessions import SessionCalendar

REBASED, CORRECTED, VOLUME = "rebased", "corrected", "volume"

_SERIES = ("symbol", "source")
_BAR = (*_SERIES, "session")
_DECIMALS = range(2, 7)  # what vendors write; a price with more has a float's own digits
_FLOAT32 = 1e-6  # relative: some vendors keep prices in float32, a few of whose steps this is
_SHOWN = 10
_SHOWN_FORECASTS = 4


def classify(before: pl.DataFrame, added: pl.DataFrame, *, told: pl.DataFrame) -> pl.DataFrame:
    """What kind of revision each symbol of a source had.

    A revision is a rebase when up to the last changed session every bar told again moved by one ratio, as far as the
    rounding of the vendor's prices lets one see: each price may be off by half of the last decimal written, before
    and after. A basis declared anew is a rebase too. A revision that moved no price is one of volumes.
    Everything else is a correction.

    Args:
        before: a frame of `MARKET_BARS`: the newest stored revisions of the source's bars, before this fetch.
        added: a frame of `MARKET_BARS`: the rows that this fetch adds; first revisions do not count.
        told: columns ``symbol`` and ``session``: the bars that the source told and the rules let pass; a stored bar
            that is not among them says nothing.

    Returns:
        One row a (symbol, source) with a revision, sorted: ``symbol``, ``source``, ``kind`` (`rebased`, `corrected`
        or `volume`), ``sessions`` (changed bars), ``first`` and ``last`` (changed sessions), ``ratio`` (new price over
        old; null unless rebased by one), ``to_first`` (whether a price or the basis of the first bar told again has
        changed, so that the change may go on before it).
    """
    revised = added.filter(pl.col("rev") > 0).select(*_BAR, "basis", *PRICES, changed=pl.lit(True))
    pairs = (
        before.select(*_BAR, "basis", *PRICES)
        .join(revised.select(_SERIES).unique(), on=_SERIES, how="semi")
        .join(told, on=("symbol", "session"), how="semi")
        .join(revised, on=_BAR, how="left", suffix="_new")
        .with_columns(
            pl.when("changed").then(f"{name}_new").otherwise(name).alias(f"{name}_new") for name in (*PRICES, "basis")
        )
        .with_columns(pl.col("changed").fill_null(False))
        .with_columns(
            moved=pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_new")) for name in (*PRICES, "basis"))
        )
        .sort(_BAR)
    )
    spans = pairs.group_by(_SERIES, maintain_order=True).agg(
        sessions=pl.col("changed").sum().cast(pl.Int32),
        first=pl.col("session").filter("changed").min(),
        last=pl.col("session").filter("changed").max(),
        to_first=pl.col("moved").first(),
        any_moved=pl.col("moved").any(),
        rebased_by_word=(pl.col("basis") != pl.col("basis_new")).filter("changed").all(),
    )
    # A volume that changed after the last moved bar says nothing about where a rebase ends.
    last_moved = pl.col("session").filter("moved").max().over(_SERIES)
    ratios = _common_ratio(pairs.filter(pl.col("session") <= last_moved))
    rebased = pl.col("rebased_by_word") | pl.col("ratio").is_not_null()
    return (
        spans.join(ratios, on=_SERIES, how="left")
        .with_columns(
            kind=pl.when(~pl.col("any_moved"))
            .then(pl.lit(VOLUME))
            .when(rebased)
            .then(pl.lit(REBASED))
            .otherwise(pl.lit(CORRECTED))
        )
        .select(*_SERIES, "kind", "sessions", "first", "last", "ratio", "to_first")
        .sort(_SERIES)
    )


def to_refetch(kinds: pl.DataFrame) -> set[tuple[str, str]]:
    """Symbols and sources whose whole history must be asked for again before any of the answer is stored.

    Those whose first bar told again has changed, by one ratio or not: earlier bars, which were not asked for, may have
    changed as well, and a return across the seam would be false.

    Args:
        kinds: what `classify` returned.
    """
    return set(kinds.filter("to_first").select(_SERIES).iter_rows())


def restatement_check(
    kinds: pl.DataFrame,
    *,
    symbols: Sequence[str],
    touched_forecasts: Sequence[str],
    max_share: float,
    min_symbols: int,
) -> Check:
    """Whether few enough symbols had history corrected.

    Args:
        kinds: what `classify` returned.
        symbols: symbols that count.
        touched_forecasts: published forecasts whose inputs changed, as text.
        max_share: largest share of symbols that may be corrected.
        min_symbols: fewer corrected symbols than this pass, however few symbols there are.
    """
    counted = kinds.filter(pl.col("symbol").is_in(list(symbols)))
    corrected = counted.filter(pl.col("kind") == CORRECTED)["symbol"].n_unique()
    others = {kind: counted.filter(pl.col("kind") == kind).height for kind in (REBASED, VOLUME)}
    share = corrected / max(len(symbols), 1)
    forecasts = [f"forecast touched: {name}" for name in touched_forecasts[:_SHOWN_FORECASTS]]
    # Corrections come first: they are what the check is about.
    rows = [_sentence(row) for row in counted.sort("kind", *_SERIES).iter_rows(named=True)]
    return Check(
        "revisions",
        share <= max_share or corrected < min_symbols,
        share,
        max_share,
        f"Share of symbols whose history a source corrected; more mean a fault at the source. {corrected} corrected, "
        f"{others[REBASED]} moved to another basis, {others[VOLUME]} with other volumes alone, "
        f"{len(touched_forecasts)} published forecasts touched.",
        offenders=(*rows[: _SHOWN - len(forecasts)], *forecasts),
    )


def touched_sessions(
    added: pl.DataFrame, published_sessions: Sequence[date], *, lookback: int, calendar: SessionCalendar
) -> tuple[date, ...]:
    """Published forecast sessions whose inputs changed: those up to `lookback` sessions after a changed bar.

    Args:
        added: column ``session``: the bars that changed, or that arrived late.
        published_sessions: sessions of published forecasts.
        lookback: sessions of returns that a forecast is made from.
        calendar: the primary exchange's sessions.

    Returns:
        Sessions, ascending, each once.
    """
    places = sorted({bisect_left(calendar.sessions, session) for session in added["session"].unique()})
    touched = []
    for session in sorted(set(published_sessions)):
        place = calendar.position(session)
        # Some changed bar lies in [place - lookback, place].
        if bisect_left(places, place - lookback) < bisect_right(places, place):
            touched.append(session)
    return tuple(touched)


def _common_ratio(pairs: pl.DataFrame) -> pl.DataFrame:
    """``ratio`` of each (symbol, source) all of whose prices moved by one that rounding cannot explain; else null."""
    told = pl.concat([pairs.select(*_SERIES, old=pl.col(name), new=pl.col(f"{name}_new")) for name in PRICES]).filter(
        pl.col("old").is_not_null() | pl.col("new").is_not_null()
    )
    old, new = pl.col("old"), pl.col("new")
    ratio = (new / old).median()
    slack = pl.col("half_step") * (1 + pl.col("ratio")) + _FLOAT32 * new.abs()
    return (
        told.with_columns(half_step=_half_step().over(_SERIES), ratio=ratio.over(_SERIES))
        .with_columns(explained=(new - pl.col("ratio") * old).abs() <= slack, still=(new - old).abs() <= slack)
        .group_by(_SERIES)
        .agg(
            ratio=pl.when(
                old.is_not_null().all() & new.is_not_null().all() & pl.col("explained").all() & ~pl.col("still").all()
            ).then(pl.col("ratio").first())
        )
    )


def _half_step() -> pl.Expr:
    """Half of the last decimal that a vendor writes; zero where its prices are a float's own digits."""
    step = pl.lit(0.0)
    for decimals in reversed(_DECIMALS):
        written = pl.all_horizontal(
            ((pl.col(name) - pl.col(name).round(decimals)).abs() <= 1e-9 * pl.col(name).abs()).all()
            for name in ("old", "new")
        )
        step = pl.when(written).then(0.5 * 10.0**-decimals).otherwise(step)
    return step


def _sentence(row: dict[str, object]) -> str:
    moved = "" if row["ratio"] is None else f" by {row['ratio']:.6g}"
    return (
        f"{row['symbol']} {row['source']}: {row['kind']}{moved}, {row['sessions']} bars {row['first']} to {row['last']}"
    )
