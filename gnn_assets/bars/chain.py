"""The sources a platform asks, opened in their order; those that cannot be asked are passed over, with the reason."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gnn_assets.bars import sources as sources_package
from gnn_assets.bars.breaker import Breaker
from gnn_assets.bars.failover import Opened
from gnn_assets.bars.fetched import Access, SourcePlugin
from gnn_assets.bars.guard import RequestGuard
from gnn_assets.core.config import Config, RateConfig
from gnn_assets.core.errors import ConfigError
from gnn_assets.core.plugins import load_plugin
from gnn_assets.core.sessions import Exchanges

SOURCES = sources_package.__name__


@dataclass(frozen=True)
class Chain:
    """Opened sources, the first one asked first.

    Args:
        opened: those that can be asked.
        passed_over: name → why it cannot be.
    """

    opened: tuple[Opened, ...]
    passed_over: Mapping[str, str]

    def states(self, *, now: datetime) -> dict[str, dict[str, Any]]:
        """What each source's breaker says at a moment (aware UTC), as plain data to be carried to the next process."""
        return {source.name: source.breaker.to_dict(now=now) for source in self.opened}


def source_plugin(name: str) -> SourcePlugin:
    """The plug-in of a source.

    Raises:
        PluginError: if there is none of that name.
    """
    return load_plugin(SOURCES, name)  # ty: ignore[invalid-explicit-return] - a module that the contract test holds to it


def source_rate(config: Config, name: str) -> RateConfig | None:
    """How often a source may be asked; None for one that lies on this machine."""
    section = getattr(config.sources, name, None)
    return section if isinstance(section, RateConfig) else None


def open_chain(
    config: Config,
    *,
    keys: Mapping[str, str],
    exchanges: Exchanges,
    now: Callable[[], datetime],
    home: Path,
    scratch: Path,
    states: Mapping[str, Mapping[str, Any]],
) -> Chain:
    """Opens the sources that `bars.sources` names; nobody is asked anything yet.

    Args:
        config: the configuration.
        keys: secret → value, those that are set.
        exchanges: sessions and time zones.
        now: tells the moment, aware UTC.
        home: folder that relative folders of the configuration are taken from.
        scratch: folder for the vendors' clients' own caches.
        states: what `Chain.states` said when the last process ended.

    Raises:
        PluginError: if a source does not exist.
        ConfigError: if every source lacks its key.
    """
    opened: list[Opened] = []
    passed_over: dict[str, str] = {}
    for name in config.bars.sources:
        plugin = source_plugin(name)
        lacking = [key for key in plugin.KEYS if key not in keys]
        if lacking:
            variables = " and ".join(f"GNN_ASSETS_{key.upper()}" for key in lacking)
            passed_over[name] = f"{name}: passed over, {variables} not set"
            continue
        guard = RequestGuard(source_rate(config, name), config.failover)
        access = Access(
            config=config,
            keys={key: keys[key] for key in plugin.KEYS},
            guard=guard,
            exchanges=exchanges,
            now=now,
            home=home,
            scratch=scratch / name,
        )
        state = states.get(name)
        breaker = Breaker.from_dict(state, config.failover, now=now()) if state else Breaker(config.failover)
        opened.append(Opened(name=name, source=plugin.open_source(access), guard=guard, breaker=breaker))
    if not opened:
        raise ConfigError.of(
            "bars.sources",
            expected="one source that can be asked",
            was="; ".join(passed_over.values()),
            do="set its key, or name a source without one, such as yahoo",
        )
    return Chain(opened=tuple(opened), passed_over=passed_over)
