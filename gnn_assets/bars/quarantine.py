"""Rows that must not become bars: kept, with the rule they broke. Nothing is repaired and nothing is invented."""

import polars as pl

from gnn_assets.bars.fetched import FETCHED_COLUMNS, VALUES
from gnn_assets.bars.schema import QUARANTINE
from gnn_assets.core.config import BarsConfig
from gnn_assets.core.sessions import SessionCalendar

_KEY = ("symbol", "session")


def split(bars: pl.DataFrame, *, config: BarsConfig, calendar: SessionCalendar) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Divides a fetch into bars that may be stored and rows that are refused.

    Rules, the first one broken names the refusal:
        duplicate_key: the key came more than once; of equal rows one is kept, of differing rows none, because which
            one is right is not ours to choose (a second refused copy is `duplicate_key_2`, and so on).
        not_a_session: the date is no session of the calendar.
        close_missing: there is no close.
        not_finite: a price or the volume is NaN or infinite.
        close_not_positive: the close is zero or negative.
        jump: the close is more than `max_abs_log_return` (log) away from the previous one of the same fetch that
            broke no rule above.

    Args:
        bars: `FETCHED_COLUMNS`, as a source gave them.
        config: limits, and the source's name.
        calendar: the exchange's sessions.

    Returns:
        The good rows (`FETCHED_COLUMNS`) and the refused ones (`QUARANTINE`), together every row of the fetch.
    """
    sessions = pl.Series(calendar.sessions, dtype=pl.Date)
    # Sorted, copies of a key stand together; NaN equals NaN and null equals null, so copies of a broken row are alike.
    rows = bars.sort(*_KEY, *VALUES).with_columns(
        first=pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in _KEY),
        copies=pl.len().over(_KEY),
        alike=pl.struct(VALUES).n_unique().over(_KEY) == 1,
    )
    rows = rows.with_columns(
        rule=pl.coalesce(
            _where((pl.col("copies") > 1) & ~(pl.col("alike") & pl.col("first")), "duplicate_key"),
            _where(~pl.col("session").is_in(sessions.implode()), "not_a_session"),
            _where(pl.col("close").is_null(), "close_missing"),
            _where(~pl.all_horizontal(pl.col(VALUES).is_finite().fill_null(True)), "not_finite"),
            _where(pl.col("close") <= 0, "close_not_positive"),
        )
    )
    sound = rows.filter(pl.col("rule").is_null()).with_columns(
        rule=_where(
            pl.col("close").log().diff().over("symbol", order_by="session").abs() > config.max_abs_log_return, "jump"
        )
    )
    refused = pl.concat([rows.filter(pl.col("rule").is_not_null()), sound.filter(pl.col("rule").is_not_null())])
    good = sound.filter(pl.col("rule").is_null()).select(*FETCHED_COLUMNS)
    return good, QUARANTINE.conform(_numbered(refused, config.source).select(*QUARANTINE.columns))


def _where(broken: pl.Expr, rule: str) -> pl.Expr:
    return pl.when(broken).then(pl.lit(rule))


def _numbered(refused: pl.DataFrame, source: str) -> pl.DataFrame:
    """Gives every refused copy of a duplicated key a rule of its own, so that each keeps its row in the table."""
    number = pl.int_range(pl.len()).over(*_KEY, "rule") + 1
    return refused.with_columns(
        source=pl.lit(source),
        rule=pl.when(number > 1).then(pl.concat_str("rule", pl.lit("_"), number)).otherwise("rule"),
    )
