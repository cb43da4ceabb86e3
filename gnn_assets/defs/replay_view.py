"""A replay as it is watched in a terminal: where it is, what is wrong, what was done and why, who is served, what it earns."""

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gnn_assets.monitoring.walk import Walk, Walked

# Sessions that stay in sight, and characters of a version that people see.
_IN_SIGHT, _SHOWN = 12, 12
_CALM = "no alarm"
# Made every session; told only where they failed.
_MARKS = {"promoted": "green", "refused": "yellow", "rolled_back": "red", "degraded": "red", "stage_refused": "red"}


class View:
    """Shows a walk so far; one line a session where the output is no terminal."""

    def __init__(self, console: Console, *, total: int) -> None:
        self._console, self._total = console, total
        self._live: Live | None = None

    def show(self, walk: Walk) -> None:
        """Shows the newest session."""
        if self._live is not None:
            self._live.update(self._screen(walk), refresh=True)
        elif walk.sessions:
            self._console.print(line_of(walk.sessions[-1]), soft_wrap=True, highlight=False, markup=False)

    @contextmanager
    def live(self) -> Generator["View"]:
        """Keeps the screen until the end, where there is a terminal."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(console=self._console, auto_refresh=False) as self._live:
            self._live.update(Text("making everything as of the session before the first ..."), refresh=True)
            yield self
        self._live = None

    def _screen(self, walk: Walk) -> RenderableType:
        if not walk.sessions:
            return Text(f"{walk.name}: everything is made as of the session before the first")
        newest = walk.sessions[-1]
        done = f"{len(walk.sessions)} of {self._total} sessions, {walk.seconds:.0f} s"
        alarms = [f"{reason} {_value(measured.value)}, limit {_value(measured.limit)}"
                  for reason, measured in newest.measured.items() if measured.alarm]  # fmt: skip
        told = Group(
            Text(f"session   {newest.session}   ({done})"),
            Text(f"champion  {(newest.champion or 'none')[:_SHOWN]}"),
            Text(f"earned    served {_share(newest.served)}, equal weight {_share(newest.equal_weight)} net; "
                 f"market {_share(newest.market)}"),
            Text(f"alarms    {'; '.join(alarms) or _CALM}", style="red" if alarms else "green"),
            Text(f"decision  {decision_of(newest)}"),
        )  # fmt: skip
        table = Table(expand=True)
        for column in ("session", "made", "why", "what happened"):
            table.add_column(column, overflow="fold", no_wrap=column == "session")
        for walked in walk.sessions[-_IN_SIGHT:]:
            table.add_row(str(walked.session), made_of(walked), decision_of(walked), _happened(walked))
        return Group(Panel(told, title=f"{walk.name}: {walk.label}"), table)


def line_of(walked: Walked) -> str:
    """One session in one line."""
    alarms = [reason for reason, measured in walked.measured.items() if measured.alarm]
    parts = (
        f"{walked.session}  {made_of(walked)}",
        f"served {_share(walked.served)}, equal weight {_share(walked.equal_weight)}",
        f"alarms: {', '.join(alarms)}" if alarms else _CALM,
        decision_of(walked),
        *(f"{one.event} {one.what[:_SHOWN]}: {one.reason}" for one in walked.events),
        *walked.alerts,
    )
    return " | ".join(part for part in parts if part)


def decision_of(walked: Walked) -> str:
    """What was decided and why, as people read it."""
    told = f"{walked.decision}: {walked.why}" if walked.why else walked.decision
    return f"{told} ({walked.cause})" if walked.cause else told


def made_of(walked: Walked) -> str:
    """How many assets were made, and which failed."""
    made = sum(len(ran.why) for ran in walked.runs)
    failed = [asset for ran in walked.runs for asset in ran.failed]
    seconds = sum(ran.seconds for ran in walked.runs)
    told = f"{made} made in {len(walked.runs)} runs, {seconds:.1f} s"
    return f"{told}, FAILED {', '.join(failed)}" if failed else told


def _happened(walked: Walked) -> Text:
    text = Text()
    for one in walked.events:
        text.append(f"{one.event} {one.what[:_SHOWN]}: {one.reason}\n", style=_MARKS.get(one.event, ""))
    for alert in walked.alerts:
        text.append(f"alert: {alert}\n", style="magenta")
    text.rstrip()
    return text


def _share(value: float | None) -> str:
    return "not known yet" if value is None else f"{value:+.2%}"


def _value(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"
