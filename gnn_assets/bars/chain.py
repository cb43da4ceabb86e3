"""The sources a platform asks, opened in their order; those that cannot be asked are passed over, with the reason."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gnn_assets.bars import sources as sources_package
from gnn_assets.bars.breaker import Breaker
from gnn_assets.bars.failover import Opened
from gnn_assets.bars.fetched import Access, SourcePlugin
from gnn_assets.bars.guard import RequestGuard
from gnn_assets.core.clock import LiveClock
from gnn_assets.core.config import Config, RateConfig
from gnn_assets.core.errors import ConfigError
from gnn_assets.core.plugins import load_plugin
from gnn_assets.core.sessions import Exchanges

SOURCES = sources_package.__name__
_MACHINE = LiveClock()


@dataclass(frozen=True)
class Chain:
    """Opened sources, the first one asked first.

    Args:
        opened: those that can be asked.
        passed_over: name → why it cannot be.
        local: names of those that lie on this machine: what was wrong with them is no reason for the next process.
    """

    opened: tuple[Opened, ...]
    passed_over: Mapping[str, str]
    local: frozenset[str]

    def states(self, *, now: datetime) -> dict[str, dict[str, Any]]:
        """What the breakers say, as plain data to be carried to the next process; those of local sources are left out.

        Args:
            now: the machine's moment, aware UTC.
        """
        return {source.name: source.breaker.to_dict(now=now) for source in self.opened if source.name not in self.local}


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
    wall: Callable[[], datetime] = _MACHINE.now,
) -> Chain:
    """Opens the sources that `bars.sources` names; nobody is asked anything yet.

    Args:
        config: the configuration.
        keys: secret → value, those that are set.
        exchanges: sessions and time zones.
        now: tells the moment, aware UTC.
        home: folder that relative folders of the configuration are taken from.
        scratch: folder for the vendors' clients' own caches.
        states: what `Chain.states` said when the last process ended; not heeded for a source on this machine.
        wall: tells the machine's moment, aware UTC: pauses run down by it, whatever `now` says.

    Raises:
        PluginError: if a source does not exist.
        ConfigError: if every source lacks its key, or a simulated one does not stand alone.
    """
    _refuse_mixed(config.bars.sources)
    opened: list[Opened] = []
    passed_over: dict[str, str] = {}
    for name in config.bars.sources:
        plugin = source_plugin(name)
        lacking = [key for key in plugin.KEYS if key not in keys]
        if lacking:
            variables = " and ".join(f"GNN_ASSETS_{key.upper()}" for key in lacking)
            passed_over[name] = f"{name}: passed over, {variables} not set"
            continue
        rate = source_rate(config, name)
        guard = RequestGuard(rate, config.failover)
        access = Access(
            config=config,
            keys={key: keys[key] for key in plugin.KEYS},
            guard=guard,
            exchanges=exchanges,
            now=now,
            home=home,
            scratch=scratch / name,
        )
        state = states.get(name) if rate else None
        breaker = Breaker.from_dict(state, config.failover, now=wall()) if state else Breaker(config.failover)
        opened.append(Opened(name=name, source=plugin.open_source(access), guard=guard, breaker=breaker))
    if not opened:
        raise ConfigError.of(
            "bars.sources",
            expected="one source that can be asked",
            was="; ".join(passed_over.values()),
            do="set its key, or name a source without one, such as yahoo",
        )
    local = frozenset(source.name for source in opened if source_rate(config, source.name) is None)
    return Chain(opened=tuple(opened), passed_over=passed_over, local=local)


def _refuse_mixed(names: Sequence[str]) -> None:
    """Raises if an invented price could stand in for a real one."""
    simulated = [name for name in names if source_plugin(name).SIMULATED]
    if simulated and len(names) > 1:
        raise ConfigError.of(
            "bars.sources",
            expected="real sources, or one simulated source alone",
            was=", ".join(names),
            do=f"leave out {simulated[0]}, or name it alone",
        )
