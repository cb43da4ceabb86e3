"""A day on which the whole source was wrong: one rule broken by many symbols at once speaks against all the others.

Only rules that a sound source breaks for single symbols count. Days without trades, unknown volumes and flat bars come
in crowds in quiet markets; second copies are harmless; a missing close is an absence, which `session_coverage` sees;
and dates that are no session have no good row to refuse.
"""

from collections.abc import Mapping

import polars as pl

from gnn_assets.bars.row_schemas import NULLED, REFUSING
from gnn_assets.bars.rules import Judged
from gnn_assets.bars.schema import QUARANTINE
from gnn_assets.core.config import RulesConfig
from gnn_assets.core.sessions import Exchanges

PREFIX = "bad_session_"
_QUIET = {"duplicate_key", "future_session", "not_a_session", "close_missing", "no_trade", "zero_volume"}
# Rules that count against a session.
COUNTED = tuple(rule for rule in (*REFUSING, *NULLED) if rule not in _QUIET)
_KEY = ("symbol", "session")


def judge_sessions(judged: Judged, *, source: str, config: RulesConfig) -> Judged:
    """Refuses every good row of a session on which one rule was broken by too many symbols of the source.

    Args:
        judged: the row rules' verdict on all symbols that the source was asked for, together.
        source: name of the source's plug-in.
        config: limits: a rule must be broken by more than `max_rule_share` of the symbols that have a row on the
            session, and by at least `min_rule_symbols`.

    Returns:
        The same, with the good rows of bad sessions moved to quarantine under ``bad_session_<rule>``, as the source
        told them. If several rules speak against a session, the one most symbols broke is named. Of a session without
        any good row, one of the rows that broke the rule stands there a second time, so that it is seen as well.
    """
    told = pl.concat([judged.good.select(_KEY), judged.refused.select(_KEY)]).unique()
    counts = told.group_by("session").agg(symbols=pl.len())
    bad = (
        judged.refused.filter(pl.col("rule").is_in(COUNTED))
        .group_by("session", "rule")
        .agg(broken=pl.col("symbol").n_unique())
        .join(counts, on="session")
        .filter(
            pl.col("broken") > config.max_rule_share * pl.col("symbols"), pl.col("broken") >= config.min_rule_symbols
        )
        .sort("session", "broken", "rule", descending=(False, True, False))
        .unique("session", keep="first", maintain_order=True)
        .select("session", "rule")
    )
    if bad.is_empty():
        return judged
    suspects = judged.good.join(bad, on="session").with_columns(
        source=pl.lit(source), rule=pl.lit(PREFIX) + pl.col("rule")
    )
    # A row that lost a value stands in quarantine as it was told: that one is the original.
    originals = judged.refused.filter(pl.col("rule").is_in(list(NULLED))).unique(_KEY, keep="first")
    values = [name for name in QUARANTINE.columns if name not in {*_KEY, "source", "rule"}]
    restored = (
        suspects.filter(pl.col("flags") != "")
        .select(*_KEY, "source", "rule")
        .join(originals.select(*_KEY, *values), on=_KEY)
    )
    lost = (
        judged.refused.join(bad, on=("session", "rule"), how="semi")
        .join(judged.good, on="session", how="anti")
        .sort(_KEY)
        .unique("session", keep="first", maintain_order=True)
        .with_columns(rule=pl.lit(PREFIX) + pl.col("rule"))
    )
    refused = pl.concat(
        [
            judged.refused,
            lost,
            restored.select(*QUARANTINE.columns),
            suspects.join(restored, on=_KEY, how="anti").select(*QUARANTINE.columns),
        ]
    )
    good = judged.good.join(bad, on="session", how="anti", maintain_order="left")
    return Judged(good=good, refused=QUARANTINE.conform(refused), unfinished=judged.unfinished)


def session_coverage(
    latest_bars: pl.DataFrame, *, exchange_of: Mapping[str, str], exchanges: Exchanges, config: RulesConfig
) -> pl.DataFrame:
    """How many symbols each session has, against the sessions around it.

    Args:
        latest_bars: columns ``symbol``, ``session``, ``close``, any sources.
        exchange_of: symbol → exchange; each exchange's sessions are counted by themselves.
        exchanges: the calendars.
        config: `session_neighbours`, sessions on either side.

    Returns:
        ``exchange``, ``session``, ``symbols`` (Int64), ``expected`` (Float64, the neighbours' median), ``share``
        (Float64); one row a session of the exchange between its first and last bar, sorted. A session without
        neighbours has the share 1.
    """
    primary = exchanges.primary.exchange
    closes = latest_bars.filter(pl.col("close").is_not_null()).select(_KEY).unique()
    names = closes.select(pl.col("symbol").unique()).with_columns(
        exchange=pl.col("symbol").replace_strict(dict(exchange_of), default=primary, return_dtype=pl.String)
    )
    counts = closes.join(names, on="symbol").group_by("exchange", "session").agg(symbols=pl.len())
    frames = [_of_exchange(part, exchanges, config) for part in counts.partition_by("exchange")]
    schema = {
        "exchange": pl.String,
        "session": pl.Date,
        "symbols": pl.Int64,
        "expected": pl.Float64,
        "share": pl.Float64,
    }
    return pl.concat([pl.DataFrame(schema=schema), *frames]).sort("exchange", "session")


def _of_exchange(counts: pl.DataFrame, exchanges: Exchanges, config: RulesConfig) -> pl.DataFrame:
    exchange = str(counts["exchange"][0])
    calendar = exchanges.of(exchange)
    first, last = counts["session"].min(), counts["session"].max()
    axis = pl.DataFrame({"session": pl.Series(calendar.between(first, last), dtype=pl.Date)})  # ty: ignore[invalid-argument-type]
    reach = config.session_neighbours
    rows = axis.join(counts, on="session", how="left", maintain_order="left").with_columns(
        pl.lit(exchange).alias("exchange"), pl.col("symbols").cast(pl.Int64).fill_null(0)
    )
    around = [pl.col("symbols").shift(step) for step in range(-reach, reach + 1) if step]
    return (
        rows.with_columns(expected=pl.concat_list(around).list.median().cast(pl.Float64))
        .with_columns(share=pl.when(pl.col("expected") > 0).then(pl.col("symbols") / pl.col("expected")).otherwise(1.0))
        .select("exchange", "session", "symbols", "expected", "share")
    )
