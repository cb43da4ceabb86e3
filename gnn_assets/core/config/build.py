"""The whole configuration, and how defaults, profiles and what a user sets become one."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError, model_validator

from gnn_assets.core.config.alerts import AlertsConfig
from gnn_assets.core.config.backtests import BacktestsConfig, VerdictConfig
from gnn_assets.core.config.bars import BarsConfig, UniverseConfig
from gnn_assets.core.config.base import CalendarConfig, ClockConfig
from gnn_assets.core.config.graphs import GraphsConfig
from gnn_assets.core.config.models import ModelsConfig
from gnn_assets.core.config.operations import (
    AgeLimit,
    AutomationConfig,
    ForecastsConfig,
    GateConfig,
    LiveConfig,
    LiveDriftConfig,
    RetrainConfig,
    RuntimeConfig,
)
from gnn_assets.core.config.sources import FailoverConfig, SourcesConfig
from gnn_assets.core.errors import ConfigError
from gnn_assets.core.execution import ExecutionConfig, Section

DEFAULTS_FILE = Path(__file__).parents[1] / "defaults.yaml"


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
    live: LiveConfig
    ages: dict[str, AgeLimit]
    runtime: RuntimeConfig
    drift: LiveDriftConfig
    retrain: RetrainConfig
    automation: AutomationConfig
    alerts: AlertsConfig

    @model_validator(mode="after")
    def _who_left_is_followed_until_it_is_sold(self) -> "Config":
        followed, longest = self.bars.sessions_after_membership, self.backtests.longest_hold(self.execution)
        if longest > followed:
            raise ValueError(
                f"bars.sessions_after_membership must be at least {longest}, the sessions from one rebalance to the "
                f"next one's fill, or a name that left the universe is taken for delisted before it can be sold, was "
                f"{followed}"
            )
        return self

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
