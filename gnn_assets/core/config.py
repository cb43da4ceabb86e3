"""Configuration as validated, frozen data: its shape here, its values in `defaults.yaml` beside this file.

No class below carries a default: every number stands, with its unit, in one file. An unknown or misspelt setting is
refused by name.
"""

from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from gnn_assets.core.errors import ConfigError
from gnn_assets.core.execution import Count, ExecutionConfig, NonNegative, Section

DEFAULTS_FILE = Path(__file__).with_name("defaults.yaml")

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Dropout = Annotated[float, Field(ge=0, lt=1)]
# What models are trained on; see `gnn_assets.models.dataset.Dataset.targets`.
Target = Literal["label", "residual", "scaled"]


class ClockConfig(Section):
    """Which clock the platform lives by."""

    kind: Literal["live", "snapshot"]
    session: date | None

    @model_validator(mode="after")
    def _snapshot_needs_session(self) -> "ClockConfig":
        if (self.kind == "snapshot") != (self.session is not None):
            raise ValueError("clock.session must be a date for a snapshot clock and null for a live one")
        return self


class CalendarConfig(Section):
    """The exchange whose sessions count."""

    exchange: str
    others: tuple[str, ...]
    first_session: date
    grace_minutes: NonNegative


class UniverseConfig(Section):
    """Where the universe is written down."""

    file: str


class RulesConfig(Section):
    """What is dirt in bars, level by level: row, symbol, session."""

    max_abs_log_return: Positive
    max_range_excess: Positive
    stale_sessions: Annotated[int, Field(ge=2)]
    max_gap_sessions: Count
    split_tolerance: Positive
    session_neighbours: Count
    min_session_coverage: Share
    max_rule_share: Share
    min_rule_symbols: Count


class BarsConfig(Section):
    """Where bars come from and what is refused."""

    sources: Annotated[tuple[Name, ...], Field(min_length=1)]
    from_session: date
    overlap_sessions: Count
    min_symbol_coverage: Share
    min_success_share: Share
    max_quarantine_share: Share
    max_revised_share: Share
    min_revised_symbols: Count
    rules: RulesConfig

    @model_validator(mode="after")
    def _each_source_once(self) -> "BarsConfig":
        twice = [name for name in self.sources if self.sources.count(name) > 1]
        if twice:
            raise ValueError(f"bars.sources must name each source once, {twice[0]} comes twice")
        return self


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


_MOST_SESSIONS = 32767  # of a window, and of neighbours: what 16 bits hold
_MOST_HALVINGS = 40  # beyond this a series that moved early in the window alone would count as constant


class ExponentialConfig(Section):
    """The exponentially weighted correlation."""

    half_life: Positive


class LeadLagConfig(Section):
    """The lead-lag correlation."""

    lag: Annotated[int, Field(ge=1, le=_MOST_SESSIONS)]


class DriftConfig(Section):
    """When a correlation graph is farther from its reference than chance explains."""

    reference_windows: Count
    symbols: Annotated[int, Field(ge=2)]
    sessions_per_alarm: Count
    quiet_sessions: Count
    history_windows: Count
    paths: Count
    path_sessions: Count
    block: Count
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _history_holds_both_graphs(self) -> "DriftConfig":
        if self.history_windows <= self.reference_windows:
            raise ValueError(
                "graphs.drift.history_windows must be above graphs.drift.reference_windows "
                f"({self.reference_windows}), was {self.history_windows}"
            )
        return self


class FactorsConfig(Section):
    """The leading directions in which symbols move together."""

    window: Annotated[int, Field(ge=2)]
    refresh_weeks: Count
    min_share: Annotated[float, Field(gt=0, le=1)]
    clip: Positive
    count: Count
    max_share: Annotated[float, Field(gt=0, lt=1)]
    projected: Count

    @model_validator(mode="after")
    def _projected_fits(self) -> "FactorsConfig":
        if self.projected > self.count:
            raise ValueError(
                f"graphs.factors.projected must be at most graphs.factors.count ({self.count}), was {self.projected}"
            )
        return self

    @property
    def lookback(self) -> int:
        """Sessions, the last included, whose returns give the loadings known before the last one."""
        return self.window + 7 * self.refresh_weeks


class TemporalConfig(Section):
    """Edges through time."""

    lags: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _lags_ascend(self) -> "TemporalConfig":
        if list(self.lags) != sorted(set(self.lags)):
            raise ValueError(f"graphs.temporal.lags must ascend, was {list(self.lags)}")
        return self


class GraphsConfig(Section):
    """How correlation graphs are made and checked."""

    measure: Name
    signed: bool
    window: Annotated[int, Field(ge=2, le=_MOST_SESSIONS)]
    k: Annotated[int, Field(ge=1, le=_MOST_SESSIONS)]
    min_abs_corr: Share
    min_overlap: Annotated[int, Field(ge=2)]
    exponential: ExponentialConfig
    lead_lag: LeadLagConfig
    factors: FactorsConfig
    temporal: TemporalConfig
    max_density_change: Share
    history_sessions: Count
    min_history_sessions: Count
    max_churn_excess: Share
    max_churn_deviations: Positive
    drift: DriftConfig

    @model_validator(mode="after")
    def _oldest_session_counts(self) -> "GraphsConfig":
        if self.window > _MOST_HALVINGS * self.exponential.half_life:
            raise ValueError(
                f"graphs.exponential.half_life must be at least graphs.window / {_MOST_HALVINGS} "
                f"({self.window / _MOST_HALVINGS}), was {self.exponential.half_life}"
            )
        return self

    @model_validator(mode="after")
    def _overlap_fits(self) -> "GraphsConfig":
        if self.min_overlap > self.window:
            raise ValueError(
                f"graphs.min_overlap must be at most graphs.window ({self.window}), was {self.min_overlap}"
            )
        return self


class FeaturesConfig(Section):
    """Node features, all from bars known at the session's close."""

    groups: Annotated[tuple[Name, ...], Field(min_length=1)]
    compared: tuple[Name, ...]
    lags: Count
    windows: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)]
    short: Annotated[int, Field(ge=2)]
    long: Annotated[int, Field(ge=2)]
    min_share: Annotated[float, Field(gt=0, le=1)]
    event_size: Positive
    scaling: Literal["rank", "robust"]
    clip: Positive
    history: Count

    @model_validator(mode="after")
    def _windows_ascend(self) -> "FeaturesConfig":
        if list(self.windows) != sorted(set(self.windows)):
            raise ValueError(f"models.features.windows must ascend, was {list(self.windows)}")
        if self.short >= self.long:
            raise ValueError(
                f"models.features.short must be below models.features.long ({self.long}), was {self.short}"
            )
        return self

    @property
    def lookback(self) -> int:
        """Sessions of returns the longest feature needs."""
        return max(*self.windows, self.long, self.history)


class TargetsConfig(Section):
    """What models are trained on."""

    clip: Positive
    clip_scaled: Positive
    window: Annotated[int, Field(ge=2)]
    min_share: Annotated[float, Field(gt=0, le=1)]


class FoldsConfig(Section):
    """Lengths of a walk-forward fold's parts, in sessions."""

    train: Count
    validation: Count
    test: Count
    embargo: Annotated[int, Field(ge=0)]


class GraphAttentionConfig(Section):
    """Size of the graph attention network."""

    hidden: Count
    heads: Count
    layers: Count
    dropout: Dropout

    @model_validator(mode="after")
    def _heads_divide(self) -> "GraphAttentionConfig":
        if self.hidden % self.heads:
            raise ValueError(
                f"graph_attention.hidden must be a multiple of graph_attention.heads ({self.heads}), was {self.hidden}"
            )
        return self


class HighPassConfig(Section):
    """Size of the high-pass graph network."""

    hidden: Count
    narrow: Count
    feature_dropout: Dropout
    dropout: Dropout


class MlpConfig(Section):
    """Size of the network without graph."""

    hidden: Count
    layers: Count
    dropout: Dropout


class TrainingConfig(Section):
    """How a neural network is trained."""

    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    loss: Literal["ic", "huber", "rank", "pairwise"]
    epochs: Count
    patience: Count
    sessions_per_step: Count
    learning_rate: Positive
    warm_up: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegative
    gradient_clip: Positive
    average: Annotated[float, Field(ge=0, lt=1)]
    ensemble: Count
    workers: Count
    attempts: Count
    retry_delay_seconds: NonNegative
    budget_seconds: Positive | None


class LightgbmConfig(Section):
    """The boosted trees."""

    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    trees: Count
    learning_rate: Positive
    leaves: Annotated[int, Field(ge=2)]
    min_leaf_share: Annotated[float, Field(ge=0, lt=1)]
    feature_fraction: Annotated[float, Field(gt=0, le=1)]
    l2: NonNegative


class RidgeConfig(Section):
    """The ridge baseline."""

    target: Target
    penalty: NonNegative


class BlendConfig(Section):
    """The blend."""

    members: Annotated[tuple[Name, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _members_differ(self) -> "BlendConfig":
        if len(set(self.members)) < len(self.members) or "blend" in self.members:
            raise ValueError(f"blend.members must be different models, none of them blend, was {list(self.members)}")
        return self


class ReversalConfig(Section):
    """Reversal, as a baseline and as a strategy."""

    window: Count


class ModelsConfig(Section):
    """The candidate, its baselines and how they are trained."""

    candidate: Name
    baselines: tuple[Name, ...]
    seed: Annotated[int, Field(ge=0)]
    features: FeaturesConfig
    targets: TargetsConfig
    folds: FoldsConfig
    training: TrainingConfig
    graph_attention: GraphAttentionConfig
    high_pass: HighPassConfig
    mlp: MlpConfig
    lightgbm: LightgbmConfig
    ridge: RidgeConfig
    blend: BlendConfig
    reversal: ReversalConfig


class CombinatorialConfig(Section):
    """How history is cut for combinatorial purged cross-validation."""

    groups: Annotated[int, Field(ge=3)]
    tested: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _something_trains(self) -> "CombinatorialConfig":
        if self.tested >= self.groups:
            raise ValueError(
                f"backtests.combinatorial.tested must be below backtests.combinatorial.groups ({self.groups}), "
                f"was {self.tested}"
            )
        return self


class RegimesConfig(Section):
    """What counts as a calm and as a wild market."""

    volatility_window: Annotated[int, Field(ge=2)]
    history: Annotated[int, Field(ge=2)]


class BrakeConfig(Section):
    """When exposure is cut after losses, and when it comes back."""

    # Below one per cent an ordinary session would set it off.
    drawdown: Annotated[float, Field(ge=0.01, lt=1)] | None
    # Without any exposure what was lost could never be won back, and the brake never be let go.
    exposure: Annotated[float, Field(gt=0, lt=1)]
    restore: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _restored_above_the_cut(self) -> "BrakeConfig":
        if self.drawdown is not None and self.restore >= self.drawdown:
            raise ValueError(
                f"backtests.brake.restore must be below backtests.brake.drawdown ({self.drawdown}), was {self.restore}"
            )
        return self


class LongShortConfig(Section):
    """The best names against the worst."""

    exposure: Positive


class MomentumConfig(Section):
    """The past year's winners, its last month left out."""

    window: Count
    skip: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _something_is_left(self) -> "MomentumConfig":
        if self.skip >= self.window:
            raise ValueError(
                "backtests.strategies.momentum.skip must be below backtests.strategies.momentum.window "
                f"({self.window}), was {self.skip}"
            )
        return self


class EmaCrossConfig(Section):
    """Two exponential averages of the price."""

    fast: Annotated[int, Field(ge=2)]
    slow: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _fast_is_faster(self) -> "EmaCrossConfig":
        if self.fast >= self.slow:
            raise ValueError(
                "backtests.strategies.ema_cross.fast must be below backtests.strategies.ema_cross.slow "
                f"({self.slow}), was {self.fast}"
            )
        return self


class RsiConfig(Section):
    """The relative strength index."""

    window: Annotated[int, Field(ge=2)]
    low: Annotated[float, Field(gt=0, lt=100)]
    high: Annotated[float, Field(gt=0, lt=100)]

    @model_validator(mode="after")
    def _bought_below_sold(self) -> "RsiConfig":
        if self.low >= self.high:
            raise ValueError(
                f"backtests.strategies.rsi.low must be below backtests.strategies.rsi.high ({self.high}), was {self.low}"
            )
        return self


class BollingerConfig(Section):
    """Bands about the mean price."""

    window: Annotated[int, Field(ge=2)]
    deviations: Positive


class IchimokuConfig(Section):
    """The cloud."""

    conversion: Annotated[int, Field(ge=2)]
    base: Annotated[int, Field(ge=2)]
    span: Annotated[int, Field(ge=2)]


class VwapConfig(Section):
    """The volume-weighted average price."""

    window: Annotated[int, Field(ge=2)]


class StrategiesConfig(Section):
    """One section a strategy that has settings of its own."""

    long_short: LongShortConfig
    momentum: MomentumConfig
    reversal: ReversalConfig
    ema_cross: EmaCrossConfig
    rsi: RsiConfig
    bollinger: BollingerConfig
    ichimoku: IchimokuConfig
    vwap: VwapConfig


class ForecastRiskConfig(Section):
    """How volatilities and correlations are forecast from trailing returns."""

    window: Annotated[int, Field(ge=20)]
    half_life: Positive | None
    min_share: Annotated[float, Field(ge=0.1, le=1)]

    @model_validator(mode="after")
    def _oldest_session_counts(self) -> "ForecastRiskConfig":
        if self.half_life is not None and self.window > _MOST_HALVINGS * self.half_life:
            raise ValueError(
                f"backtests.sizing.forecast.half_life must be at least backtests.sizing.forecast.window / "
                f"{_MOST_HALVINGS} ({self.window / _MOST_HALVINGS}), was {self.half_life}"
            )
        return self


class CorrelationConfig(Section):
    """When two names count as one."""

    limit: Annotated[float, Field(gt=0, lt=1)] | None
    way: Literal["leave_out", "share"]


class KellyConfig(Section):
    """How much of the portfolio past outcomes speak for."""

    form: Literal["binary", "moments"] | None
    fraction: Annotated[float, Field(gt=0, le=1)]
    cap: Annotated[float, Field(gt=0, le=1)]
    # A share of wins among fewer is a guess.
    min_outcomes: Annotated[int, Field(ge=10)]


class GapConfig(Section):
    """What is held over long closures of the exchange."""

    days: Count | None
    window: Annotated[int, Field(ge=20)]
    min_gaps: Annotated[int, Field(ge=2)]


class SizingConfig(Section):
    """What becomes of a strategy's weights before they are traded."""

    forecast: ForecastRiskConfig
    # Outside of 1 % to 100 % a year it is a mistaken unit.
    volatility: Annotated[float, Field(ge=0.01, le=1)] | None
    name_cap: Annotated[float, Field(gt=0, le=1)] | None
    sector_cap: Annotated[float, Field(gt=0, le=1)] | None
    correlation: CorrelationConfig
    kelly: KellyConfig
    gap: GapConfig

    @model_validator(mode="after")
    def _sector_holds_a_name(self) -> "SizingConfig":
        if self.name_cap is not None and self.sector_cap is not None and self.sector_cap < self.name_cap:
            raise ValueError(
                f"backtests.sizing.sector_cap must be at least backtests.sizing.name_cap ({self.name_cap}), "
                f"was {self.sector_cap}"
            )
        return self


class PortfoliosConfig(Section):
    """Whether an optimiser shares out among the names that a strategy holds."""

    method: Literal["min_variance", "max_ratio", "hierarchical", "risk_budgeting"] | None
    # Beyond a tenth nobody has forecast anything; a larger number is a mistaken unit.
    information_coefficient: Annotated[float, Field(gt=0, le=0.3)]


class BacktestsConfig(Section):
    """How out-of-sample scores become portfolios and intervals."""

    strategy: Name
    held: Count
    hysteresis: NonNegative
    max_weight: Annotated[float, Field(gt=0, le=1)]
    rebalance: Literal["sessions", "week", "month"]
    rebalance_sessions: Count
    brake: BrakeConfig
    sizing: SizingConfig
    portfolios: PortfoliosConfig
    strategies: StrategiesConfig
    sessions_per_year: Count
    bootstrap_block: Count
    bootstrap_resamples: Count
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    power: Annotated[float, Field(gt=0.5, lt=1)]
    seed: Annotated[int, Field(ge=0)]
    min_sessions: Count
    overfitting_blocks: Annotated[int, Field(ge=4, le=20, multiple_of=2)]
    combinatorial: CombinatorialConfig
    regimes: RegimesConfig

    @model_validator(mode="after")
    def _cap_below_the_strategy_s(self) -> "BacktestsConfig":
        if self.sizing.name_cap is not None and self.sizing.name_cap > self.max_weight:
            raise ValueError(
                f"backtests.sizing.name_cap must be at most backtests.max_weight ({self.max_weight}), "
                f"was {self.sizing.name_cap}"
            )
        return self


class VerdictConfig(Section):
    """What a hypothesis must show for each word."""

    scale_sharpe: float
    scale_ratio: Annotated[float, Field(ge=1)]
    probability: Annotated[float, Field(gt=0.5, lt=1)]
    iterate_sharpe: float
    iterate_lead: NonNegative
    ready: Literal["SCALE", "ITERATE"]

    @model_validator(mode="after")
    def _scale_is_harder(self) -> "VerdictConfig":
        if self.scale_sharpe < self.iterate_sharpe:
            raise ValueError(
                f"verdict.scale_sharpe must be at least verdict.iterate_sharpe ({self.iterate_sharpe}), "
                f"was {self.scale_sharpe}"
            )
        return self


class GateConfig(Section):
    """Limits of the promotion gate."""

    non_inferiority_margin: NonNegative
    max_rmse_ratio: Positive
    spread_sigma: Positive
    max_outside_share: Share
    min_symbol_share: Share


class ForecastsConfig(Section):
    """What is published."""

    coverage: Annotated[float, Field(gt=0, lt=1)]
    history_sessions: Annotated[int, Field(ge=0)]
    min_calibration_sessions: Count


class AgeLimit(Section):
    """One asset's limits: see the comment above `ages` in the defaults file."""

    age_hours: Positive
    deadline_hours: Positive
    rebuild: bool


class RuntimeConfig(Section):
    """The machine's side of things."""

    threads: Count
    lock_timeout_seconds: NonNegative
    keep_versions: Count
    grace_hours: Positive
    retries: Annotated[int, Field(ge=0)]
    retry_delay_seconds: NonNegative


class AutomationConfig(Section):
    """When the live profile asks for bars."""

    bars_cron: str
    timezone: str
    rebuild_cron: str
    sensor_interval_seconds: Count


class Config(Section):
    """The whole configuration, frozen."""

    clock: ClockConfig
    calendar: CalendarConfig
    universe: UniverseConfig
    bars: BarsConfig
    sources: SourcesConfig
    failover: FailoverConfig
    execution: ExecutionConfig
    graphs: GraphsConfig
    models: ModelsConfig
    backtests: BacktestsConfig
    verdict: VerdictConfig
    gate: GateConfig
    forecasts: ForecastsConfig
    ages: dict[str, AgeLimit]
    runtime: RuntimeConfig
    automation: AutomationConfig

    def slice(self, *sections: str) -> dict[str, Any]:
        """The named sections as plain JSON data: the part of the configuration an asset depends on.

        Args:
            sections: such as ``graphs``, or ``runtime.threads`` for one setting of a section.
        """
        whole = self.model_dump(mode="json")
        chosen: dict[str, Any] = {}
        for name in sections:
            section, _, setting = name.partition(".")
            if setting:
                chosen.setdefault(section, {})[setting] = whole[section][setting]
            else:
                chosen[name] = whole[section]
        return chosen


@cache
def _defaults() -> dict[str, Any]:
    return yaml.safe_load(DEFAULTS_FILE.read_text(encoding="utf-8"))


def profile_names() -> tuple[str, ...]:
    """Names of the profiles in the defaults file."""
    return tuple(_defaults()["profiles"])


def build_config(profile: str, *overrides: Mapping[str, Any]) -> Config:
    """The defaults, changed by a profile, changed by each of `overrides` in turn.

    Args:
        profile: one of `profile_names()`.
        overrides: nested mappings in the shape of `Config`, such as ``{"graphs": {"k": 7}}``.

    Raises:
        ConfigError: for an unknown profile, an unknown or misspelt setting, or a value out of range.
    """
    if profile not in profile_names():
        raise ConfigError.of(
            "profile", expected=f"one of {', '.join(profile_names())}", was=repr(profile), do="set GNN_ASSETS_PROFILE"
        )
    merged: dict[str, Any] = _defaults()["base"]
    for change in (_defaults()["profiles"][profile], *overrides):
        merged = _merge(merged, change)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from error


def restored(config: Config, sections: Mapping[str, Any]) -> Config:
    """A configuration with stored sections in it, such as the recipe some weights were trained by.

    A setting that was stored and is known no more is left out; one that is new keeps its present value.

    Args:
        config: what holds for everything that was not stored.
        sections: section → settings, as `Config.slice` gave them when they were stored.

    Raises:
        ConfigError: if a stored value is no longer allowed.
    """
    whole = config.model_dump(mode="json")
    try:
        return Config.model_validate(_merge(whole, _known(sections, whole)))
    except ValidationError as error:
        raise ConfigError(f"stored configuration: {_sentence(error)}") from error


def _known(stored: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored under names that are still known, section by section."""
    kept: dict[str, Any] = {}
    for name, value in stored.items():
        if name in present:
            nested = isinstance(value, Mapping) and isinstance(present[name], Mapping)
            kept[name] = _known(value, present[name]) if nested else value
    return kept


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _sentence(error: ValidationError) -> str:
    """One sentence about the first thing wrong: the field, its value and the fix."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" ({error.error_count() - 1} more settings are wrong)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _siblings(first["loc"])
        near = get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "remove it"
        return f"{place}: no such setting (value {first['input']!r}); {hint}{more}"
    reason = first["msg"].removeprefix("Value error, ")
    subject = f"{place}: " if place else ""
    was = "" if first["type"] == "value_error" else f", was {first['input']!r}"
    return f"{subject}{reason}{was}; correct it in your configuration{more}."


def _siblings(place: tuple[int | str, ...]) -> list[str]:
    level: Any = _defaults()["base"]
    for part in place[:-1]:
        level = level.get(part, {}) if isinstance(level, Mapping) else {}
    return [str(name) for name in level] if isinstance(level, Mapping) else []
