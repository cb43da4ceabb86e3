"""The copy of a home that a drill breaks: the same data and settings, other channels, and a clock that can be moved."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from gnn_assets.core.clock import ReplayClock
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import DiskFull, MissingArtefact
from gnn_assets.core.settings import subprocess_environment
from gnn_assets.defs.drills.listener import HOST
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.tables import stored
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.monitoring.alerts import SEVERITIES

# Other homes, and what nothing is served from.
_LEFT_OUT = ("alerts", "dagster", "logs", "mlflow", "replay")
# What people were told stays with the home: the copy has told nobody anything.
_TOLD = "alerts.jsonl"
# What a drill writes beside its copy: new bars, graphs and forecasts are most of the home once more (times its size).
_ROOM = 2.0
_SETTINGS_FILE = "settings.yaml"
# The vendor of a drill is this machine; the home's own key goes nowhere.
VENDOR_KEY = "no-secret-but-as-long-as-one"


def size_of(platform: Platform) -> int:
    """Bytes a copy of the home takes."""
    kept = [path for path in platform.data.iterdir() if path.name not in _LEFT_OUT] if platform.data.is_dir() else []
    files = (file for path in kept for file in (path.rglob("*") if path.is_dir() else (path,)))
    return sum(file.stat().st_size for file in files if file.is_file())


def refuse_empty(platform: Platform) -> None:
    """Refuses a home that serves nothing: there is nothing to be broken.

    Raises:
        MissingArtefact: if there is no champion or no forecast.
        CorruptArtefact: if the forecasts are damaged already.
    """
    if platform.champion.current() is None or stored(platform, FORECASTS).is_empty():
        raise MissingArtefact.of(
            "drill", expected="a home that serves forecasts", was="one without", do="run `gnn-assets demo` first"
        )


def copy_home(platform: Platform, folder: Path) -> None:
    """Copies a home's data, file by file, so that nothing done to the copy reaches it.

    Args:
        platform: the home's.
        folder: the copy's home; exists and is empty.

    Raises:
        DiskFull: before anything is copied, if it and what a drill writes have no room.
    """
    need, have = int(size_of(platform) * _ROOM), shutil.disk_usage(folder).free
    if have < need:
        raise DiskFull(f"{folder}: disk full: need {need} bytes, have {have}; free some room, or set TMPDIR elsewhere.")
    shutil.copytree(platform.data, folder / "data", ignore=_ignored(platform.data))


def open_copy(
    home: Platform, folder: Path, *, channels: Mapping[str, str], clock: ReplayClock, changes: Mapping[str, Any]
) -> Platform:
    """The platform of a copy, by the home's settings but for what a drill needs otherwise.

    Every alert goes by the drill's own channels, in their order, at once and with pauses too short to notice; nobody
    else is told anything, and no secret of the home is used. A stage that fails is not tried again by itself.

    Args:
        home: the home's platform.
        folder: the copy's.
        channels: name → address, in the order of the routes.
        clock: the copy's.
        changes: settings of the drill, in the shape of `Config`.
    """
    ours = {
        "alerts": {
            "routes": {severity: list(channels) for severity in SEVERITIES},
            "private_hosts": [HOST],
            "group_seconds": 0.0,
            "pause_seconds": 0.1,
            "attempts": 2,
            "last_attempts": 1,
        },
        "runtime": {"retries": 0},
    }
    config = build_config(home.settings.profile, home.config.model_dump(mode="json"), ours, changes)
    own = {
        "home": folder,
        "alerts": {name: SecretStr(address) for name, address in channels.items()},
        "alerts_heartbeat": None,
        "massive_key": SecretStr(VENDOR_KEY),
        "alpaca_key": None,
        "alpaca_secret": None,
    }
    settings = home.settings.model_copy(update=own)
    copied = Platform(settings=settings, config=config, progress=home.progress)
    copied.clock = clock
    told = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    (folder / _SETTINGS_FILE).write_text(told, encoding="utf-8")
    return copied


def environment_of(copied: Platform, **ours: str) -> dict[str, str]:
    """The environment of a process that opens the copy by itself; none of the home's settings is left in it.

    Args:
        copied: the copy's platform.
        ours: further variables.
    """
    everything = subprocess_environment(copied.settings).items()
    others = {name: value for name, value in everything if not name.upper().startswith("GNN_ASSETS_")}
    folder = copied.settings.home
    return {
        **others,
        "GNN_ASSETS_PROFILE": copied.settings.profile,
        "GNN_ASSETS_HOME": str(folder),
        "GNN_ASSETS_CONFIG_FILE": str(folder / _SETTINGS_FILE),
        **ours,
    }


def _ignored(data: Path) -> Callable[[str, list[str]], set[str]]:
    def ignored(folder: str, names: list[str]) -> set[str]:
        out = {*_LEFT_OUT} if Path(folder) == data else {_TOLD} if Path(folder) == data / "ledger" else set()
        return out & set(names)

    return ignored
