"""A batch of hypotheses as people write it down: groups of models x strategies x settings, each combination one.

    name: sample
    groups:
      - models: [blend, ridge]
        strategies: [top_k, long_short]
        grid: {held: [3, 5]}
      - strategies: [momentum]
        grid: {strategies.momentum.window: [126, 252]}
      - models: [blend]
        strategies: [top_k]
        grid: {portfolios.method: [hierarchical, null], sizing.volatility: [0.1]}

A strategy that reads no scores is judged once, whatever models stand beside it. A grid names settings of `backtests`
that make a portfolio; what says how sure one is of it is the same for all.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from gnn_assets.backtests.signals import STRATEGIES
from gnn_assets.core.config import BacktestsConfig, Name
from gnn_assets.core.errors import ConfigError
from gnn_assets.core.execution import Section
from gnn_assets.core.hashing import json_hash
from gnn_assets.core.plugins import load_plugin, plugin_names

# Settings a grid may vary: what the engine trades by. The strategy has a place of its own.
_SHAPING = ("portfolios", "sizing")
VARIED = ("held", "hysteresis", "max_weight", "rebalance", "rebalance_sessions", "brake", "strategies", *_SHAPING)
_SCORES = "scores"
_SHOWN = 16  # digits of a hash


class Group(Section):
    """Models x strategies x grid."""

    models: tuple[str, ...] = ()
    strategies: Annotated[tuple[Name, ...], Field(min_length=1)]
    grid: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)


class Batch(Section):
    """What a file says."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    groups: Annotated[tuple[Group, ...], Field(min_length=1)]

    @property
    def hash(self) -> str:
        """Its name among batches: 16 hex digits of what it says, however it is spelt."""
        return json_hash(self.model_dump(mode="json"))[:_SHOWN]


@dataclass(frozen=True)
class Hypothesis:
    """One portfolio to be judged.

    Args:
        model: whose scores it trades; empty where its strategy reads none.
        settings: what the grid sets, dotted name → value.
        config: of its portfolio.
    """

    model: str
    settings: Mapping[str, Any]
    config: BacktestsConfig

    @property
    def name(self) -> str:
        """Model, strategy and settings, for people; no two of a batch have the same."""
        told = ", ".join(
            f"{_short(name)} {'none' if value is None else value}" for name, value in self.settings.items()
        )
        strategy = " ".join(part for part in (self.model, self.config.strategy) if part)
        return f"{strategy} ({told})" if told else strategy


def read_batch(text: str, *, file: str) -> Batch:
    """The batch that a file describes.

    Args:
        text: YAML.
        file: its name, for errors.

    Raises:
        ConfigError: if it is no such description; field, value and fix are named.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not readable as YAML ({error}); correct the file.") from error
    try:
        return Batch.model_validate(content)
    except ValidationError as error:
        raise _told(error, subject=file, known=(*Batch.model_fields, *Group.model_fields)) from error


def hypotheses_of(batch: Batch, *, models: Collection[str], config: BacktestsConfig) -> tuple[Hypothesis, ...]:
    """Every hypothesis of a batch, in its order.

    Args:
        batch: what is to be judged.
        models: those that have scores.
        config: what holds for everything the batch does not set.

    Raises:
        ConfigError: for an unknown model, strategy or setting, a value that is not allowed, a strategy that reads
            scores without a model, or a hypothesis that comes twice.
    """
    found: dict[str, Hypothesis] = {}
    for number, group in enumerate(batch.groups):
        for hypothesis in _of_group(group, place=f"groups.{number}", models=models, config=config):
            if hypothesis.name in found:
                raise ConfigError.of(
                    f"groups.{number}", expected="each hypothesis once", was=f"{hypothesis.name} again", do="remove one"
                )
            found[hypothesis.name] = hypothesis
    return tuple(found.values())


def _short(setting: str) -> str:
    """A setting's last word, which names it but for those of optimiser and sizes: several of them end alike."""
    return setting if setting.startswith(_SHAPING) else setting.rsplit(".", 1)[-1]


def _of_group(group: Group, *, place: str, models: Collection[str], config: BacktestsConfig) -> Iterator[Hypothesis]:
    for model in group.models:
        _require_known(model, models, subject=f"{place}.models", do="name one of {}")
    known = plugin_names(STRATEGIES)
    for strategy in group.strategies:
        _require_known(strategy, known, subject=f"{place}.strategies", do="name one of {}")
        scored = _SCORES in load_plugin(STRATEGIES, strategy).NEEDS
        if scored and not group.models:
            raise ConfigError.of(
                f"{place}.models", expected=f"a model: {strategy} reads scores", was="none", do="name one beside it"
            )
        for model in group.models if scored else ("",):
            for values in product(*group.grid.values()):
                settings = dict(zip(group.grid, values, strict=True))
                own = _varied(config, {"strategy": strategy, **settings}, place=f"{place}.grid")
                yield Hypothesis(model=model, settings=settings, config=own)


def _varied(config: BacktestsConfig, settings: Mapping[str, Any], *, place: str) -> BacktestsConfig:
    whole = config.model_dump(mode="json")
    for name, value in settings.items():
        *sections, last = name.split(".")
        if name != "strategy":
            _require_known(name.split(".")[0], VARIED, subject=f"{place}.{name}", do="vary one of {}")
        level = whole
        for section in sections:
            level = level.get(section)
            if not isinstance(level, dict):
                break
        if not isinstance(level, dict) or last not in level or isinstance(level[last], dict):
            raise ConfigError.of(
                f"{place}.{name}",
                expected="a setting of backtests",
                was="no such one",
                do="see `gnn-assets config show` for their names",
            )
        level[last] = value
    try:
        return BacktestsConfig.model_validate(whole)
    except ValidationError as error:
        raise _told(error, subject=place, known=()) from error


def _require_known(name: str, known: Collection[str], *, subject: str, do: str) -> None:
    if name not in known:
        raise ConfigError.of(subject, expected="a known name", was=repr(name), do=do.format(", ".join(known)))


def _told(error: ValidationError, *, subject: str, known: Sequence[str]) -> ConfigError:
    """The first thing wrong: field, value, fix. A name nobody knows comes first, as it may be why another is missing."""
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    field = ".".join(str(part) for part in first["loc"])
    near = get_close_matches(str(first["loc"][-1]) if first["loc"] else "", known, n=1)
    return ConfigError.of(
        f"{subject}: {field}".rstrip(": "),
        expected=first["msg"].removeprefix("Value error, "),
        was="nothing" if first["type"] == "missing" else repr(first["input"]),
        do=f"did you mean '{near[0]}'?" if first["type"] == "extra_forbidden" and near else "correct it",
    )
