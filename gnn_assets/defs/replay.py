"""The home of a replay: a folder of its own with lake, ledger and Dagster's state, and a clock that is moved by hand."""

import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from importlib.resources import files

import yaml

from gnn_assets.core.clock import ReplayClock
from gnn_assets.core.config import Config, build_config
from gnn_assets.core.errors import ConfigError
from gnn_assets.core.settings import Settings, load_config
from gnn_assets.defs.resources import Platform
from gnn_assets.monitoring.alerts import SEVERITIES

PROFILE = "replay"
SETTINGS_FILE = "settings.yaml"
# The clock is moved by hand, nobody is told of what is long past, and what follows a switch does so at once: the
# machine's time must not decide anything.
_REPLAYED = {
    "clock": {"kind": "live", "session": None},
    "alerts": {"routes": {severity: [] for severity in SEVERITIES}},
    "automation": {"follow_delay_seconds": 0},
}
# How far before its first session a replay's clock is first asked: a session before lies within it.
_BEFORE = timedelta(days=14)


@dataclass(frozen=True)
class Route:
    """Where a replay goes.

    Args:
        name: of its folder under data/replay.
        first: first session walked; the champion is trained as of the session before.
        last: the last session walked is the newest up to this day.
    """

    name: str
    first: date
    last: date


def open_replay(settings: Settings, route: Route) -> tuple[Platform, tuple[date, ...]]:
    """A platform in a new home of its own, its clock at the close before the first session.

    The sample is walked by the profile `replay`: the same stocks, and models that are trained in seconds. Any other
    profile is walked as it is. What the environment sets beside the profile holds here too.

    Returns:
        The platform, and the sessions to walk, ascending.

    Raises:
        ConfigError: if the home is there already, or there is no session to walk.
    """
    home = settings.data / "replay" / route.name
    if home.exists():
        raise ConfigError.of(
            "replay --name",
            expected="a name that is not taken",
            was=route.name,
            do=f"look at it with `make dev REPLAY={route.name}`, choose another name, or remove its folder in data/replay",
        )
    profile = PROFILE if settings.profile == "sample" else settings.profile
    config = _config(settings, profile)
    platform = Platform(settings=Settings(profile=profile, home=home), config=config)
    clock = ReplayClock(datetime.combine(route.first, time(), tzinfo=UTC) - _BEFORE)
    platform.clock = clock
    sessions = platform.calendar.between(route.first, route.last)
    if not sessions:
        raise ConfigError.of(
            "replay --from and --to",
            expected=f"a session of {config.calendar.exchange} between them",
            was=f"none from {route.first} to {route.last}",
            do="give a longer time, not in the future",
        )
    clock.advance_to(platform.calendar.available_at(platform.calendar.offset(sessions[0], -1)))
    home.mkdir(parents=True)
    own = files("gnn_assets.defs") / "replay_dagster.yaml"
    (home / "dagster.yaml").write_text(own.read_text(encoding="utf-8"), encoding="utf-8")
    shutil.copy(settings.home / "workspace.yaml", home / "workspace.yaml")
    _save_settings(platform, sessions[-1])
    return platform, sessions


def _config(settings: Settings, profile: str) -> Config:
    asked = load_config(settings.model_copy(update={"profile": profile}))
    return build_config(profile, asked.model_dump(mode="json"), _REPLAYED)


def _save_settings(platform: Platform, last: date) -> None:
    """What `make dev REPLAY=...` opens the home with: the same settings, the clock where the walk ends."""
    settings = platform.config.model_dump(mode="json")
    settings["clock"] = {"kind": "snapshot", "session": last.isoformat()}
    told = yaml.safe_dump(settings, sort_keys=False)
    (platform.settings.home / SETTINGS_FILE).write_text(told, encoding="utf-8")
