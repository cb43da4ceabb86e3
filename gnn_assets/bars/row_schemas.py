"""The row rules as dataframely schemas; the table in `rules` says what each is for.

A rule is named by its function, and its expression says what is right; null counts as right.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import dataframely as dy
import polars as pl

from gnn_assets.bars.fetched import VALUES

# Rule → the columns it takes away.
NULLED: Mapping[str, tuple[str, ...]] = {
    "no_trade": ("open", "high", "low"),
    "open_zero": ("open",),
    "high_zero": ("high",),
    "low_zero": ("low",),
    "close_outside": ("open", "high", "low"),
    "open_outside": ("open",),
    "zero_volume": ("volume",),
}


@dataclass(frozen=True)
class RuleSet:
    """Rules that are judged in one pass.

    Args:
        schema: the columns they need and their expressions.
        names: every rule of the schema, the weightiest first.
    """

    schema: type[dy.Schema]
    names: tuple[str, ...]

    def filter(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows that break no rule, and the others with one more column a rule: ``valid`` or ``invalid``."""
        passed, failure = self.schema.filter(rows)
        return passed, failure.details()


def told(name: str) -> pl.Expr:
    """The value of a column, null where 0 stands for "none"."""
    return pl.when(pl.col(name) != 0).then(name)


def _without_trade() -> pl.Expr:
    prices = pl.all_horizontal((pl.col("open", "high", "low") == 0).fill_null(False))
    return prices & (pl.col("volume").fill_null(0.0) == 0)


def _outside(name: str) -> pl.Expr:
    """Whether a price lies outside the range, as far as there is one."""
    above = (told(name) > told("high")).fill_null(False)
    return above | (told(name) < told("low")).fill_null(False)


class _Possible(dy.Schema):
    """Rows that can be a bar by themselves."""

    symbol = dy.String(nullable=True)
    session = dy.Date(nullable=True)
    open = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    high = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    low = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    close = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    volume = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    row = dy.UInt32(nullable=True)

    position = dy.Int32(nullable=True)
    today = dy.Date(nullable=True)
    # How far (log) the close lies outside the range, beyond what is allowed; null where there is no range.
    far_outside = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)

    @dy.rule()
    def future_session(self) -> pl.Expr:
        return pl.col("session") <= pl.col("today")

    @dy.rule()
    def not_a_session(self) -> pl.Expr:
        return pl.col("position").is_not_null()

    @dy.rule()
    def close_missing(self) -> pl.Expr:
        return pl.col("close").is_not_null()

    @dy.rule()
    def not_finite(self) -> pl.Expr:
        return pl.all_horizontal(pl.col(VALUES).is_finite().fill_null(True))

    @dy.rule()
    def close_not_positive(self) -> pl.Expr:
        return pl.col("close") > 0

    @dy.rule()
    def price_negative(self) -> pl.Expr:
        return pl.all_horizontal((pl.col("open", "high", "low") >= 0).fill_null(True))

    @dy.rule()
    def volume_negative(self) -> pl.Expr:
        return pl.col("volume") >= 0

    @dy.rule()
    def high_below_low(self) -> pl.Expr:
        return told("high") >= told("low")

    @dy.rule()
    def close_far_outside(self) -> pl.Expr:
        return pl.col("far_outside") <= 0


class _Plausible(dy.Schema):
    """Rows that can follow the row before them."""

    row = dy.UInt32(nullable=True)
    repeated = dy.Bool(nullable=True)
    jumped = dy.Bool(nullable=True)

    @dy.rule()
    def repeated_bar(self) -> pl.Expr:
        return ~pl.col("repeated")

    @dy.rule()
    def jump(self) -> pl.Expr:
        return ~pl.col("jumped")


class _Whole(dy.Schema):
    """Rows of which every value can be used."""

    open = dy.Float64(nullable=True)
    high = dy.Float64(nullable=True)
    low = dy.Float64(nullable=True)
    close = dy.Float64(nullable=True)
    volume = dy.Float64(nullable=True)
    row = dy.UInt32(nullable=True)

    @dy.rule()
    def no_trade(self) -> pl.Expr:
        return ~_without_trade()

    @dy.rule()
    def open_zero(self) -> pl.Expr:
        return (pl.col("open") != 0) | _without_trade()

    @dy.rule()
    def high_zero(self) -> pl.Expr:
        return (pl.col("high") != 0) | _without_trade()

    @dy.rule()
    def low_zero(self) -> pl.Expr:
        return (pl.col("low") != 0) | _without_trade()

    @dy.rule()
    def close_outside(self) -> pl.Expr:
        return ~_outside("close")

    @dy.rule()
    def open_outside(self) -> pl.Expr:
        return ~_outside("open")

    @dy.rule()
    def zero_volume(self) -> pl.Expr:
        return (pl.col("volume") != 0) | (told("high") <= told("low")).fill_null(True)

    @dy.rule()
    def flat_bar(self) -> pl.Expr:
        return told("high") != told("low")


POSSIBLE = RuleSet(
    _Possible,
    (
        "future_session",
        "not_a_session",
        "close_missing",
        "not_finite",
        "close_not_positive",
        "price_negative",
        "volume_negative",
        "high_below_low",
        "close_far_outside",
    ),
)
PLAUSIBLE = RuleSet(_Plausible, ("repeated_bar", "jump"))
WHOLE = RuleSet(_Whole, (*NULLED, "flat_bar"))
REFUSING = ("duplicate_key", "conflicting_key", *POSSIBLE.names, *PLAUSIBLE.names)
