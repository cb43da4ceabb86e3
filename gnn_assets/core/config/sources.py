"""Where bars are asked for, and what happens when nobody answers."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from gnn_assets.core.config.base import Positive, Share
from gnn_assets.core.execution import Count, NonNegative, Section


class RateConfig(Section):
    """How often and how patiently a source is asked."""

    requests: Count
    per_seconds: Positive
    timeout_seconds: Positive


class MassiveConfig(RateConfig):
    """The massive API."""

    base_url: str | None


class AlpacaConfig(RateConfig):
    """The Alpaca market data API."""

    base_url: str | None
    feed: Literal["iex", "sip"]
    symbols_per_ask: Count


class FileColumns(Section):
    """What the columns of the user's files are called; null for those they lack."""

    symbol: str | None
    session: str
    open: str | None
    high: str | None
    low: str | None
    close: str
    volume: str | None
    split: str | None
    dividend: str | None


class FilesConfig(Section):
    """A folder of the user's own bars."""

    folder: str
    pattern: str
    columns: FileColumns
    basis: Literal["raw", "split", "split_div"]
    timezone: str | None


class SimulatedConfig(Section):
    """The simulated market."""

    seed: Annotated[int, Field(ge=0)]
    first_session: date
    market_volatility: Positive
    sector_volatility: Positive
    own_volatility: Positive
    tail: Annotated[float, Field(gt=2)]
    regime_session: date
    regime_volatility: Positive
    delisted_share: Share
    split_share: Share
    dividend_yield: NonNegative
    dirt_share: Share


class SourcesConfig(Section):
    """One section a source that has settings."""

    massive: MassiveConfig
    yahoo: RateConfig
    alpaca: AlpacaConfig
    files: FilesConfig
    simulated: SimulatedConfig


class FailoverConfig(Section):
    """How a faulty source is tried again, left alone and replaced by the next."""

    attempts: Count
    wait_initial_seconds: Positive
    wait_max_seconds: Positive
    retry_budget: Count
    retry_refill: NonNegative
    breaker_failures: Count
    breaker_slow_answers: Count
    slow_seconds: Positive
    pause_seconds: Positive
    max_pause_seconds: Positive
