"""Splits that nobody told of, and splits that were adjusted for twice.

On the day of a split nothing happens but a change of scale: undo it, and the bar is an ordinary one. It opens near
the close before, moves and trades as it did for weeks. A crash is another thing: its open and close lie anywhere, the
range is many times the usual one, and far more money changes hands. So each ratio is tried in turn, and the bar it
leaves is held against the symbol's own last `_WINDOW` sessions: a cost grows with the logarithm of each feature's
distance from the usual, which is the surprise of a bar under heavy-tailed moves. The lowest cost names the ratio.

Where only closes are told there is neither range nor volume to ask, and the close itself must be near the ratio.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from gnn_assets.bars.fetched import PRICES
from gnn_assets.bars.venues import with_moments
from gnn_assets.core.config import RulesConfig
from gnn_assets.core.sessions import Exchanges

SCHEMA = {"symbol": pl.String, "source": pl.String, "session": pl.Date, "ratio": pl.Float64}
# New shares for one old: what companies do. Smaller ones (5:4, stock dividends) drown in ordinary moves.
_FORWARD = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0)
_RATIOS = (*_FORWARD, *(1 / ratio for ratio in _FORWARD[1:]))
# A smaller move is no candidate: half the way to the smallest ratio.
_SMALLEST_MOVE = float(np.log(1.5)) / 2
# Sessions a bar is held against, and how many of them must be known before they count.
_WINDOW, _KNOWN = 60, 5
# Sessions up to a bar that say all there is to say of it: those, the bar and the close its oldest one moved from.
LOOKBACK = _WINDOW + 2
# A median absolute move times this is a standard deviation, were moves normal.
_TO_DEVIATION = 1.4826
# What stands in until `_KNOWN` sessions are known (medians over 1,026 stocks), and the least that is believed.
_USUAL = {"overnight": 0.006, "move": 0.014, "range": 0.022}
_LEAST = {"overnight": 0.003, "move": 0.005, "range": 0.005}
# Weights and limit were fitted on 1,026 stocks, so that 99.3 % of bars of splits put in at random stay below the limit.
# The larger the split, the less a crash can look like it: `_EASE` is what a ratio gains with the logarithm of its size.
_WEIGHTS = {"overnight": 1.0, "move": 0.5, "money": 1.0, "range": 1.0}
_EASE, _LIMIT = 2.0, 4.3
# Cost of a bar whose volume is unknown: a little more than usual.
_UNKNOWN_MONEY = 1.0
# With closes only: deviations a move may be away from the ratio.
_CLOSES_DEVIATIONS = 3.0
# Candidates looked at together; bounds the memory of a hostile history.
_AT_ONCE = 10_000


def split_like(
    latest_bars: pl.DataFrame,
    actions: pl.DataFrame,
    *,
    exchange_of: Mapping[str, str],
    exchanges: Exchanges,
    config: RulesConfig,
) -> pl.DataFrame:
    """Sessions whose move looks like a split that the bars were not adjusted for, or were adjusted for twice.

    A move is what is left of it after the source's own actions: on basis ``raw`` its splits and dividends, on basis
    ``split`` its dividends. So a split told of that the bars do not show counts as well.

    Args:
        latest_bars: columns of `MARKET_BARS`, the newest revision of each bar, any sources, sorted by symbol and
            session.
        actions: ``symbol``, ``session``, ``kind``, ``source``, ``value``: the newest revision of each action.
        exchange_of: symbol → exchange.
        exchanges: the calendars.
        config: `split_tolerance`, for bars with closes only.

    Returns:
        ``symbol``, ``source``, ``session``, ``ratio`` (new shares for one old by which the earlier bars would have
        to be divided), sorted. A session is judged by bars up to itself only.

    Known at: when the session's bar is.
    """
    found = [
        _of_source(part.sort("symbol", "session"), actions, exchange_of, exchanges, config)
        for part in latest_bars.partition_by("source", maintain_order=True)
    ]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *found]).sort("symbol", "source", "session")


def _of_source(
    bars: pl.DataFrame,
    actions: pl.DataFrame,
    exchange_of: Mapping[str, str],
    exchanges: Exchanges,
    config: RulesConfig,
) -> pl.DataFrame:
    source = str(bars["source"][0])
    rows = bars.select("symbol", "session", "basis", *PRICES, "volume").with_row_index("row")
    same = pl.col("symbol") == pl.col("symbol").shift()
    rows = rows.with_columns(
        before=pl.when(same).then(pl.col("close").shift()),
        session_before=pl.when(same).then(pl.col("session").shift()),
        start=pl.when(~same.fill_null(False)).then("row").forward_fill(),
    )
    rows = rows.with_columns(
        overnight=(pl.col("open") / pl.col("before")).log(),
        move=(pl.col("close") / pl.col("before")).log(),
        range=(pl.col("high") / pl.col("low")).log(),
        money=pl.when(pl.col("volume") > 0).then((pl.col("close") * pl.col("volume")).log()),
    )
    explained = _explained(rows, actions.filter(pl.col("source") == source))
    rows = rows.with_columns(
        *(pl.Series(name, rows[name].to_numpy() + explained, nan_to_null=True) for name in ("overnight", "move"))
    )
    suspects = rows.filter(pl.col("move").abs() > _SMALLEST_MOVE)
    suspects = _sessions_between(suspects, exchange_of=exchange_of, exchanges=exchanges)
    told = _split_factors(actions.filter(pl.col("source") == source))
    parts = [_looks_split(part, rows, told, config) for part in suspects.iter_slices(_AT_ONCE)]
    schema = {name: dtype for name, dtype in SCHEMA.items() if name != "source"}
    found = pl.concat([pl.DataFrame(schema=schema), *parts])
    return found.with_columns(source=pl.lit(source)).select(*SCHEMA)


def _split_factors(actions: pl.DataFrame) -> pl.DataFrame:
    """Symbol, session and the ratio of each split told, sorted."""
    splits = actions.filter((pl.col("kind") == "split") & (pl.col("value") > 0))
    return splits.select("symbol", "session", told="value").sort("symbol", "session")


def _explained(rows: pl.DataFrame, actions: pl.DataFrame) -> np.ndarray:
    """What the source's actions add to each row's move: float64[rows].

    An action counts for the first bar on or after its ex-date.
    """
    added = np.zeros(rows.height)
    told = actions.filter(pl.col("kind").is_in(["split", "dividend"]) & (pl.col("value") > 0))
    if told.is_empty():
        return added
    placed = (
        told.select("symbol", "session", "kind", "value")
        .sort("symbol", "session")
        .join_asof(
            rows.select("symbol", "row", "close", "basis", "session_before", bar="session").sort("symbol", "bar"),
            left_on="session",
            right_on="bar",
            by="symbol",
            strategy="forward",
            check_sortedness=False,
        )
        .filter(pl.col("session") > pl.col("session_before"))
    )
    split = (pl.col("kind") == "split") & (pl.col("basis") == "raw")
    paid = (pl.col("kind") == "dividend") & (pl.col("basis") != "split_div")
    term = pl.when(split).then(pl.col("value").log()).when(paid).then((1 + pl.col("value") / pl.col("close")).log())
    placed = placed.with_columns(term=term.fill_null(0.0))
    np.add.at(added, placed["row"].to_numpy(), placed["term"].to_numpy())
    return added


def _sessions_between(suspects: pl.DataFrame, *, exchange_of: Mapping[str, str], exchanges: Exchanges) -> pl.DataFrame:
    """The suspects with ``steps``: sessions from the bar before to theirs, at least 1."""

    def position(session: str) -> pl.Series:
        dates = suspects.select("symbol", session=session)
        return with_moments(dates, exchanges=exchanges, exchange_of=exchange_of)["position"]

    return suspects.with_columns(steps=(position("session") - position("session_before")).fill_null(1).clip(1))


def _looks_split(suspects: pl.DataFrame, rows: pl.DataFrame, told: pl.DataFrame, config: RulesConfig) -> pl.DataFrame:
    """The suspects that a split would make ordinary, with its ratio."""
    usual = _usual(suspects, rows)
    feature = {name: suspects[name].to_numpy() for name in ("overnight", "move", "range", "money")}
    stretch = np.sqrt(suspects["steps"].to_numpy())
    deviation = {name: usual[name] * stretch for name in ("overnight", "move")}
    own = suspects.join(told, on=("symbol", "session"), how="left", maintain_order="left", validate="m:1")["told"]
    ratios = np.column_stack(
        [np.broadcast_to(_RATIOS, (suspects.height, len(_RATIOS))), own.to_numpy(), 1 / own.to_numpy()]
    )
    scale = np.log(ratios)
    scale[np.abs(scale) < _SMALLEST_MOVE] = np.nan
    off = {name: np.abs(feature[name][:, None] + scale) for name in ("overnight", "move")}
    surprise = {name: np.log1p((off[name] / deviation[name][:, None] / 2) ** 2) for name in off}
    money = np.nan_to_num(np.clip(feature["money"] - usual["money"], 0, None), nan=_UNKNOWN_MONEY)
    wide = np.clip(np.log(np.maximum(feature["range"], 1e-9) / usual["range"]), 0, None)
    loud = _WEIGHTS["money"] * money + _WEIGHTS["range"] * wide
    cost = _WEIGHTS["overnight"] * surprise["overnight"] + _WEIGHTS["move"] * surprise["move"] + loud[:, None]
    cost -= _EASE * np.log(np.abs(scale) / np.log(2))
    # Where the bar is not whole: distance from the ratio alone, within the tolerance and the symbol's own moves.
    whole = ~np.isnan(feature["overnight"] + feature["range"])
    allowed = np.minimum(config.split_tolerance, _CLOSES_DEVIATIONS * deviation["move"])
    bare = off["move"] - allowed[:, None]
    judged = np.where(whole[:, None], cost - _LIMIT, bare)
    judged = np.nan_to_num(judged, nan=np.inf)
    best = np.argmin(judged, axis=1)
    place = np.arange(suspects.height)
    return suspects.select("symbol", "session", ratio=pl.Series(ratios[place, best], dtype=pl.Float64)).filter(
        pl.Series(judged[place, best] <= 0, dtype=pl.Boolean)
    )


def _usual(suspects: pl.DataFrame, rows: pl.DataFrame) -> dict[str, np.ndarray]:
    """Medians of each feature over the sessions before each suspect, a float64[suspects] each; NaN where unknown."""
    ahead = suspects.select("start", suspect="row").with_columns(
        row=pl.int_ranges((pl.col("suspect").cast(pl.Int64) - _WINDOW).clip(pl.col("start")), "suspect")
    )
    window = ahead.explode("row").with_columns(pl.col("row").cast(pl.UInt32)).join(rows, on="row", how="left")
    names = ("overnight", "move", "range", "money")
    medians = window.group_by("suspect").agg(
        *(pl.col(name).abs().median() if name in {"overnight", "move"} else pl.col(name).median() for name in names),
        *(pl.col(name).count().alias(f"known_{name}") for name in names),
    )
    found = suspects.select(suspect="row").join(medians, on="suspect", how="left", maintain_order="left")
    usual: dict[str, np.ndarray] = {}
    for name in names:
        values = found[name].cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
        values[found[f"known_{name}"].fill_null(0).to_numpy() < _KNOWN] = np.nan
        if name in _USUAL:
            scale = _TO_DEVIATION if name in {"overnight", "move"} else 1.0
            values = np.maximum(np.where(np.isnan(values), _USUAL[name], values * scale), _LEAST[name])
        usual[name] = values
    return usual
