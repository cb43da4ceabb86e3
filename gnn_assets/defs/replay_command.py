"""The command `gnn-assets replay`: a new home, the walk in sight, and the page of what happened."""

from collections.abc import Callable
from datetime import date

import dagster as dg
from rich.console import Console

from gnn_assets.core.settings import Settings
from gnn_assets.defs.replay import Route, open_replay
from gnn_assets.defs.replay_view import View
from gnn_assets.defs.replay_walk import run_replay
from gnn_assets.defs.resources import Platform
from gnn_assets.monitoring.timeline import timeline_page
from gnn_assets.monitoring.walk import Walk

WALK_FILE, PAGE_FILE = "walk.json", "timeline.html"


def replay(
    settings: Settings,
    define: Callable[[Platform], dg.Definitions],
    *,
    first: date,
    last: date,
    speed: float | None,
    name: str | None,
    console: Console,
) -> Walk:
    """Walks from one session to another and leaves `walk.json` and `timeline.html` in the replay's home.

    What was walked is kept also where the walk is broken off.

    Args:
        settings: of the environment.
        define: makes the definitions of a platform.
        first: first session wanted.
        last: last session wanted.
        speed: sessions a second at most; None is as fast as it goes.
        name: of its folder in data/replay; None is named after the first month.
        console: where it is shown.

    Raises:
        ConfigError: if the name is taken or there is no session to walk.
        ModelError: if there is nothing to walk with.
    """
    route = Route(name=name or f"{first:%Y-%m}", first=first, last=last)
    platform, sessions = open_replay(settings, route)
    home, view = platform.settings.home, View(console, total=len(sessions))
    walks: list[Walk] = []

    def told(walk: Walk) -> None:
        walks[:] = [walk]
        view.show(walk)

    try:
        with view.live():
            run_replay(platform, define(platform), sessions, name=route.name, speed=speed, told=told)
    finally:
        for walk in walks:
            walk.save(home / WALK_FILE)
            (home / PAGE_FILE).write_text(timeline_page(walk), encoding="utf-8")
    (walk,) = walks
    for line in (
        f"{len(walk.sessions)} sessions in {walk.seconds:.0f} s; hash {walk.hash}",
        f"  {home.relative_to(settings.home.resolve()) / PAGE_FILE}   what happened, for a browser",
        f"  make dev REPLAY={route.name}   the same home in the UI",
    ):
        console.print(line, highlight=False, soft_wrap=True)
    return walk
