"""A market that never was: a seeded factor model with sectors, fat tails, a regime change, delistings and dirt.

A bar depends on the settings, the symbol's name and the exchange's calendar alone, so any part of the history, asked
for in any company, is the same. Randomness is drawn by calendar day: exchanges share their market and sector factors.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnn_assets.bars.fetched import ACTION_COLUMNS, FETCHED_COLUMNS, VALUES, Access, Ask, Fetched
from gnn_assets.bars.universe import check_symbol
from gnn_assets.core.config import SimulatedConfig
from gnn_assets.core.errors import NoData, SourceError, UnknownSymbol
from gnn_assets.core.sessions import SessionCalendar

NAME_FOR_PEOPLE = "Simulated: a seeded factor model, not market data"
TERMS = "Simulated, not market data: no company, price or event in it is real, and no result over it means anything."
KEYS = ()
SIMULATED = True

SECTORS = (
    "Communication Services",
    "Consumer Discretionary",
    "Consumer Staples",
    "Energy",
    "Financials",
    "Health Care",
    "Industrials",
    "Information Technology",
    "Materials",
    "Real Estate",
    "Utilities",
)

# Names that begin so do not exist here: a simulation must have strangers too.
_UNKNOWN = "ZZ"
# A symbol's whole past is drawn, whatever the range: so few at once keep an answer of ten years below 50 MB.
_SYMBOLS_PER_ASK = 250

_REGIME_SESSIONS = 60
# Delistings and splits fall into the first ten years: a calendar that grows must never change the past.
_EVENT_DAYS = 3652
_QUARTER_DAYS, _QUARTERS = 91, 4
_SPLITS = (2.0, 3.0, 4.0, 1.5, 0.1)  # new shares for one old
_BETAS = (0.5, 1.5)
_FIRST_CLOSE, _FIRST_CLOSE_SPREAD = 40.0, 0.7  # median over symbols, deviation of its logarithm
_SHARES, _SHARES_SPREAD = 400_000.0, 1.2  # daily volume: median over symbols, deviation of its logarithm
_VOLUME_NOISE, _VOLUME_ON_MOVE = 0.35, 0.8  # log volume: own deviation, and its rise with the log of the move's size
_AFTER_OPEN, _OPEN_NOISE = 0.7, 0.3  # share of a move made after the open, and noise of the open in deviations
_WICK = 0.4  # how far a day's range reaches beyond its body (deviations)

Floats = NDArray[np.float64]
Days = NDArray[np.int64]
_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME = range(len(VALUES))
_OPEN_ZERO, _VOLUME_ZERO, _HIGH_BELOW_BODY, _REPEATED, _CLOSE_ZERO, _NEGATIVE, _MISSING = range(7)
_KINDS_OF_DIRT = 7
_WEEKDAYS, _THURSDAY = 5, 3  # numpy counts days from a Thursday


@dataclass(frozen=True)
class _Market:
    """What all symbols of one exchange share. Days are counted from the simulation's first.

    Args:
        settings: the section of the configuration.
        first: day 0.
        sessions: days that are sessions, ascending, (T,).
        closed: other weekdays, ascending.
        until: days drawn; every day above is below it.
        scale: what deviations are multiplied with on each session, (T,).
        market: log return of the market factor on each session, unscaled, (T,).
        sectors: likewise of each sector's factor, (S, T).
    """

    settings: SimulatedConfig
    first: np.datetime64
    sessions: Days
    closed: Days
    until: int
    scale: Floats
    market: Floats
    sectors: Floats


@dataclass(frozen=True)
class _Path:
    """One symbol's life up to its delisting, session by session: raw prices, not a grain of dirt.

    Args:
        ends: day of the delisting, or a day beyond all drawn.
        log_returns: true log returns from close to close, dividends included; NaN on the first session, (T,).
        splits: new shares for one old on each session, 1 for none, (T,).
        dividends: cash a share on each session, after that session's split, 0 for none, (T,).
        values: `VALUES` on each session, (T, 5).
    """

    ends: int
    log_returns: Floats
    splits: Floats
    dividends: Floats
    values: Floats


@dataclass(frozen=True)
class _Simulated:
    access: Access

    @property
    def basis(self) -> str:
        return "raw"

    def symbols_per_ask(self, ask: Ask) -> int:  # noqa: ARG002
        return _SYMBOLS_PER_ASK

    def fetch(self, ask: Ask) -> Fetched:
        for symbol in ask.symbols:
            check_symbol(symbol)
        known = [symbol for symbol in ask.symbols if not symbol.startswith(_UNKNOWN)]
        calendar = self.access.exchanges.of(ask.exchange)
        market = _market(self.access.config.sources.simulated, calendar, until=ask.last)
        paths = {symbol: _path(symbol, market) for symbol in known}
        bars, actions = _bars(paths, market, first=ask.first), _actions(paths, market, first=ask.first)
        given = set(bars["symbol"].unique())
        failures = {symbol: _no_bars(symbol, ask) for symbol in ask.symbols if symbol not in given}
        return Fetched(bars=bars, failures=failures, payload_hash=_hash(bars, actions), actions=actions)


def open_source(access: Access) -> _Simulated:
    """The simulated market of `access.config.sources.simulated`."""
    return _Simulated(access)


def sector_of(symbol: str) -> str:
    """The sector whose factor the symbol moves with: one of `SECTORS`, by its name alone."""
    return SECTORS[_seed("sector", symbol) % len(SECTORS)]


def true_returns(symbol: str, settings: SimulatedConfig, calendar: SessionCalendar) -> pl.DataFrame:
    """What a reader who adjusts for splits and dividends, and meets no dirt, must find.

    Args:
        symbol: a symbol's name.
        settings: the section `sources.simulated` of the configuration.
        calendar: of the symbol's exchange.

    Returns:
        Columns ``session`` and ``close_return`` (log return since the session before, dividends included), from the
        second session the symbol trades on to its last, or to the calendar's end.
    """
    market = _market(settings, calendar, until=calendar.sessions[-1])
    returns = _path(symbol, market).log_returns
    sessions = _dates(market, market.sessions[: returns.size])
    return pl.DataFrame({"session": sessions[1:], "close_return": returns[1:]})


def _seed(*parts: object) -> int:
    """128 bits that depend on the parts alone."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:16], "big")


def _random(settings: SimulatedConfig, *parts: str) -> np.random.Generator:
    """One stream for one purpose. It is read from its start and day by day, so a longer history begins alike."""
    return np.random.Generator(np.random.PCG64(_seed(settings.seed, *parts)))


def _shocks(settings: SimulatedConfig, *parts: str, days: int) -> Floats:
    """Student's t of deviation 1, one a day, (days,)."""
    freedom = settings.tail
    return _random(settings, *parts).standard_t(freedom, days) * np.sqrt((freedom - 2) / freedom)


def _market(settings: SimulatedConfig, calendar: SessionCalendar, *, until: date) -> _Market:
    first = np.datetime64(settings.first_session, "D")
    days = max(int((np.datetime64(until, "D") - first).astype(int)) + 1, 0)
    opened = np.array(calendar.between(settings.first_session, until), dtype="datetime64[D]")
    sessions = (opened - first).astype(np.int64)
    every = np.arange(days)
    weekday = (every + first.astype(int) + _THURSDAY) % 7
    scale = np.ones(sessions.size)
    upset = int(np.searchsorted(opened, np.datetime64(settings.regime_session, "D")))
    scale[upset : upset + _REGIME_SESSIONS] = settings.regime_volatility
    return _Market(
        settings=settings,
        first=first,
        sessions=sessions,
        closed=np.setdiff1d(every[weekday < _WEEKDAYS], sessions, assume_unique=True),
        until=days,
        scale=scale,
        market=settings.market_volatility * _shocks(settings, "market", days=days)[sessions],
        sectors=np.stack(
            [settings.sector_volatility * _shocks(settings, "sector", name, days=days)[sessions] for name in SECTORS]
        ),
    )


def _path(symbol: str, market: _Market) -> _Path:
    settings = market.settings
    traits = _random(settings, "traits", symbol)
    beta = traits.uniform(*_BETAS)
    first_close = _FIRST_CLOSE * np.exp(_FIRST_CLOSE_SPREAD * traits.standard_normal())
    shares = _SHARES * np.exp(_SHARES_SPREAD * traits.standard_normal())
    leaves, leaves_on = traits.random() < settings.delisted_share, int(traits.integers(1, _EVENT_DAYS))
    splits_once, splits_on = traits.random() < settings.split_share, int(traits.integers(1, _EVENT_DAYS))
    ratio = traits.choice(_SPLITS)
    payday = int(traits.integers(_QUARTER_DAYS))

    ends = leaves_on if leaves else market.until
    sessions = market.sessions[: np.searchsorted(market.sessions, ends, side="right")]
    count = sessions.size
    own = settings.own_volatility * _shocks(settings, "own", symbol, days=market.until)[sessions]
    scale = market.scale[:count]
    sector = market.sectors[SECTORS.index(sector_of(symbol)), :count]
    returns = scale * (beta * market.market[:count] + sector + own)
    returns[:1] = 0.0

    splits = np.ones(count)
    split_at = np.searchsorted(sessions, splits_on)
    if splits_once and 0 < split_at < count:
        splits[split_at] = ratio
    # The first session of each quarter, counted from the symbol's own payday, is an ex-date.
    quarter = (sessions - payday) // _QUARTER_DAYS
    paid = np.where(np.diff(quarter, prepend=quarter[:1]) > 0, settings.dividend_yield / _QUARTERS, 0.0)
    # (close + dividend) · split / close before = exp(return), with the dividend a share of the new close.
    close = first_close * np.exp(np.cumsum(returns - np.log(splits) - np.log1p(paid)))

    noise = _random(settings, "shape", symbol).standard_normal((market.until, 4))[sessions]
    calm = np.sqrt(
        (beta * settings.market_volatility) ** 2 + settings.sector_volatility**2 + settings.own_volatility**2
    )
    deviation = scale * calm
    opened = close * np.exp(-_AFTER_OPEN * returns - _OPEN_NOISE * deviation * noise[:, 0])
    wicks = np.exp(_WICK * deviation[:, None] * np.abs(noise[:, 1:3]))
    volume = shares * np.cumprod(splits) * np.exp(_VOLUME_NOISE * noise[:, 3])
    volume *= (1 + np.abs(returns) / calm) ** _VOLUME_ON_MOVE
    values = np.column_stack(
        [
            opened,
            np.maximum(opened, close) * wicks[:, 0],
            np.minimum(opened, close) / wicks[:, 1],
            close,
            np.maximum(np.round(volume), 1.0),
        ]
    )
    truth = returns.copy()
    truth[:1] = np.nan
    return _Path(ends=ends, log_returns=truth, splits=splits, dividends=paid * close, values=values)


def _dirtied(symbol: str, path: _Path, market: _Market) -> tuple[Days, Floats]:
    """Days (D,) and values (D, 5) as a careless vendor would tell them."""
    sessions, values, share = market.sessions[: len(path.values)], path.values.copy(), market.settings.dirt_share
    if not sessions.size:
        return sessions, values
    drawn = _random(market.settings, "dirt", symbol).random(market.until)
    kind = np.full(sessions.size, -1)
    hit = drawn[sessions] < share
    kind[hit] = drawn[sessions][hit] / share * _KINDS_OF_DIRT
    values[kind == _OPEN_ZERO, _OPEN] = 0.0
    values[kind == _VOLUME_ZERO, _VOLUME] = 0.0
    body = np.minimum(values[:, _OPEN], values[:, _CLOSE])
    values[kind == _HIGH_BELOW_BODY, _HIGH] = (body + values[:, _LOW])[kind == _HIGH_BELOW_BODY] / 2
    repeated = np.flatnonzero(kind == _REPEATED)
    values[repeated] = path.values[np.maximum(repeated - 1, 0)]
    values[kind == _CLOSE_ZERO, _CLOSE] = 0.0
    values[kind == _NEGATIVE, _CLOSE] *= -1
    told = kind != _MISSING
    # A stray bar on a closed day is the bar of the session before.
    stray = market.closed[drawn[market.closed] < share]
    stray = stray[(stray > sessions[0]) & (stray < path.ends)]
    before = np.searchsorted(sessions, stray) - 1
    days = np.concatenate([sessions[told], stray])
    order = np.argsort(days)
    return days[order], np.concatenate([values[told], path.values[before]])[order]


def _bars(paths: dict[str, _Path], market: _Market, *, first: date) -> pl.DataFrame:
    told = [_dirtied(symbol, path, market) for symbol, path in paths.items()]
    days = _joined([days for days, _ in told], np.int64)
    values = np.concatenate([np.empty((0, len(VALUES))), *(values for _, values in told)])
    return (
        pl.DataFrame(
            {
                "symbol": _repeated(list(paths), [days.size for days, _ in told]),
                "session": _dates(market, days),
                **{name: values[:, column] for column, name in enumerate(VALUES)},
            }
        )
        .cast(dict(FETCHED_COLUMNS))
        .filter(pl.col("session") >= first)
    )


def _actions(paths: dict[str, _Path], market: _Market, *, first: date) -> pl.DataFrame:
    frames = []
    for kind, neutral in (("split", 1.0), ("dividend", 0.0)):
        series = [path.splits if kind == "split" else path.dividends for path in paths.values()]
        where = [np.flatnonzero(values != neutral) for values in series]
        frames.append(
            pl.DataFrame(
                {
                    "symbol": _repeated(list(paths), [at.size for at in where]),
                    "session": _dates(market, market.sessions[_joined(where, np.int64)]),
                    "value": _joined([values[at] for values, at in zip(series, where, strict=True)], np.float64),
                }
            ).with_columns(kind=pl.lit(kind))
        )
    return (
        pl.concat(frames)
        .select(*ACTION_COLUMNS)
        .cast(dict(ACTION_COLUMNS))
        .filter(pl.col("session") >= first)
        .sort("symbol", "session", "kind")
    )


def _joined(parts: Sequence[NDArray], kind: type) -> NDArray:
    return np.concatenate([np.empty(0, dtype=kind), *parts])


def _repeated(symbols: Sequence[str], counts: Sequence[int]) -> pl.Series:
    names = pl.Series(symbols, dtype=pl.String)
    return names.gather(np.repeat(np.arange(len(symbols)), np.array(counts, dtype=np.int64)))


def _dates(market: _Market, days: Days) -> NDArray[np.datetime64]:
    return market.first + days.astype("timedelta64[D]")


def _hash(*frames: pl.DataFrame) -> str:
    """SHA-256 of the values told; nothing was sent as bytes."""
    content = hashlib.sha256()
    for frame in frames:
        for column in frame.iter_columns():
            if column.dtype == pl.String:
                runs = column.rle().struct.unnest()
                content.update(repr(runs.rows()).encode())
            else:
                content.update(column.to_physical().to_numpy().tobytes())
    return content.hexdigest()


def _no_bars(symbol: str, ask: Ask) -> SourceError:
    subject, remedy = f"simulated, asked for {symbol}", "edit the universe file"
    if symbol.startswith(_UNKNOWN):
        wanted = f"a name that does not begin with {_UNKNOWN}"
        return UnknownSymbol.of(subject, expected=wanted, was=repr(symbol), do=remedy)
    return NoData.of(subject, expected=f"bars from {ask.first} to {ask.last}", was="none", do=remedy)
