"""The command line: `gnn-assets demo`, `dev`, `status`, `backfill`, `retry`, ... Every error is one sentence."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gnn_assets.core.config import profile_names
from gnn_assets.core.errors import ConfigError, GnnAssetsError
from gnn_assets.core.logs import newest
from gnn_assets.core.settings import load_config, read_settings
from gnn_assets.defs.command_log import command_logged
from gnn_assets.defs.resources import Platform

if TYPE_CHECKING:
    from gnn_assets.defs.switching import Switched

app = typer.Typer(
    help="Markets as assets: bars, correlation graphs, trained networks, backtests and forecasts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
config_app = typer.Typer(help="The configuration in force.", no_args_is_help=True)
app.add_typer(config_app, name="config")
hypotheses_app = typer.Typer(help="Batches of hypotheses, registered before they are judged.", no_args_is_help=True)
app.add_typer(hypotheses_app, name="hypotheses")


@app.command()
def demo() -> None:
    """Materialize every asset, with progress, then say what came out."""
    platform = Platform.from_environment()
    from gnn_assets.definitions import build_definitions
    from gnn_assets.defs.demo import run_demo

    raise typer.Exit(0 if run_demo(platform, build_definitions(platform), Console()) else 1)


@app.command()
def dev(port: Annotated[int, typer.Option(help="Port of the UI on 127.0.0.1.")] = 3000) -> None:
    """Start the Dagster UI and daemon on 127.0.0.1; end both with Ctrl-C."""
    from gnn_assets.defs.operate import serve_ui

    raise typer.Exit(serve_ui(Platform.from_environment(), port=port))


@app.command()
def replay(
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First session walked.")],
    last: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last session walked.")],
    speed: Annotated[
        float | None, typer.Option(min=0.01, help="Sessions a second at most; as fast as it goes by default.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of its folder in data/replay; the first session's month by default.")
    ] = None,
) -> None:
    """Walk the platform through past sessions in a home of its own, and draw what happened."""
    from gnn_assets.definitions import build_definitions
    from gnn_assets.defs.replay_command import replay as walk

    walk(
        read_settings(),
        build_definitions,
        first=first.date(),
        last=last.date(),
        speed=speed,
        name=name,
        console=Console(),
    )


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Say, for every asset, how old it is, its limit, its version and data end, and who is champion."""
    from gnn_assets.defs.status import platform_status

    report = platform_status(Platform.from_environment())
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    table = Table(title=f"{report['profile']} profile, {report['clock']}, now {report['now']}")
    for column in ("asset", "state", "age (h)", "limit (h)", "data end", "version"):
        table.add_column(column, no_wrap=True)
    for row in report["assets"]:
        table.add_row(
            row["asset"],
            row["state"],
            "" if row["age_hours"] is None else f"{row['age_hours']:.1f}",
            f"{row['limit_hours']:g}",
            row["data_end"] or "",
            (row["version"] or "")[:8],
        )
    console = Console()
    console.print(table)
    champion = report["champion"]
    told = (
        f"{champion['version'][:12]}, by rule {champion['rule']}, verdict {champion['verdict']}"
        if champion
        else "none yet"
    )
    console.print(f"champion: {told}", highlight=False, soft_wrap=True)
    for name, state in report["sources"].items():
        console.print(f"source {name}: circuit {state['state']}", highlight=False, soft_wrap=True)
    for letter in report["dead_letters"]:
        console.print(f"failed {letter['symbol']}: {letter['reason']}", highlight=False, soft_wrap=True, markup=False)
    if report["dead_letters"]:
        console.print("`gnn-assets retry` asks for the failed symbols again.", highlight=False)


@app.command()
def why(
    asset: Annotated[str, typer.Argument(help="Such as gnn_weights; `gnn-assets status` lists them.")],
    last: Annotated[int, typer.Option(min=1, help="How many of its newest events.")] = 10,
) -> None:
    """Say when an asset was made, refused or failed, and why; of the weights also what is decided now."""
    from gnn_assets.defs.history import story

    for line in story(Platform.from_environment(), asset, last=last):
        typer.echo(line)


@app.command()
def logs(
    run: Annotated[str, typer.Option(help="Of this run alone, or how its id begins.")] = "",
    asset: Annotated[str, typer.Option(help="Of this asset alone.")] = "",
    last: Annotated[int, typer.Option(min=1, help="How many of the newest lines.")] = 50,
) -> None:
    """Print the newest lines of the log, as JSON: what happened in which run, and why something failed."""
    ids = {name: value for name, value in (("run", run), ("asset", asset)) if value}
    for line in newest(Platform.from_environment().log_file, last=last, ids=ids):
        typer.echo(json.dumps(line, ensure_ascii=False))


@app.command()
def backfill(
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First session wanted.")],
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last session wanted; the newest by default.")
    ] = None,
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols of the universe; all by default.")] = None,
) -> None:
    """Fetch the bars that are missing between two sessions; what a killed run had fetched is not asked for again."""
    _update(
        {
            "first": first.date().isoformat(),
            "last": last.date().isoformat() if last else "",
            "symbols": symbols or [],
        }
    )


@app.command()
def update(
    accept_revisions: Annotated[
        bool, typer.Option("--accept-revisions", help="Store corrected history that the `revisions` check refused.")
    ] = False,
) -> None:
    """Fetch the bars of every session since the last update."""
    _update({"accept_revisions": accept_revisions})


@app.command()
def retry(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols; every one that failed by default.")] = None,
) -> None:
    """Fetch the bars of failed symbols again."""
    _update({"symbols": symbols or [], "failed_only": not symbols})


def _update(request: dict[str, Any]) -> None:
    platform = Platform.from_environment()
    from gnn_assets.definitions import build_definitions
    from gnn_assets.defs.demo import run_with_progress

    outcome = run_with_progress(
        platform,
        build_definitions(platform),
        Console(),
        job="refresh_data",
        requests={"market_bars": request},
    )
    raise typer.Exit(0 if outcome.success else 1)


@app.command()
def collect() -> None:
    """Remove stored versions that nothing cites any more; what is removed can be made again."""
    from gnn_assets.defs.clean_up import clean_up

    typer.echo(clean_up(Platform.from_environment()))


@app.command()
def verify(
    session: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="Session whose published forecasts are recomputed.")
    ],
) -> None:
    """Recompute a session's forecasts from their card and compare them bit for bit."""
    from gnn_assets.defs.verify import verify_session

    typer.echo(verify_session(Platform.from_environment(), session.date()).sentence)


@app.command()
def report(
    version: Annotated[
        str | None, typer.Argument(help="Weights, or how their version begins; the champion by default.")
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="Print where its tear sheet is, a page for a browser.")] = False,
) -> None:
    """Print the score card of a candidate, as Markdown."""
    from gnn_assets.defs.reports import report_of, tear_sheet_file

    platform = Platform.from_environment()
    if html:
        typer.echo(tear_sheet_file(platform, version))
    else:
        typer.echo(report_of(platform, version), nl=False)


@app.command()
def models() -> None:
    """List every candidate: model, data end, rule and verdict, served since when or why not."""
    from gnn_assets.defs.candidates import standings
    from gnn_assets.defs.switching import to_follow

    platform = Platform.from_environment()
    table = Table()
    for column in ("version", "model", "data end", "rule", "verdict"):
        table.add_column(column, no_wrap=True)
    table.add_column("what became of it", overflow="fold")
    for row in standings(platform):
        table.add_row(row.version[:12], row.model, row.data_end, row.rule, row.verdict, escape(row.fate))
    console = Console()
    console.print(table)
    _say_what_follows(console, to_follow(platform))


_Version = Annotated[str, typer.Option("--to", help="Version of gnn_weights, or how it begins.")]
_Reason = Annotated[str, typer.Option(help="Why, for the ledger.")]


@app.command()
def promote(to: _Version, reason: _Reason = "") -> None:
    """Serve a candidate that has scores, whatever the gate's evidence says; its hard checks still hold."""
    from gnn_assets.defs.switching import promote_by_hand

    _switch(promote_by_hand, to, reason)


@app.command()
def rollback(to: _Version, reason: _Reason = "") -> None:
    """Go back to a former champion; the gate leaves it there until there is a newer candidate."""
    from gnn_assets.defs.switching import roll_back

    _switch(roll_back, to, reason)


def _switch(switch: Callable[..., "Switched"], version: str, reason: str) -> None:
    from gnn_assets.defs.switching import to_follow

    platform = Platform.from_environment()
    done = switch(platform, version, reason=reason)
    console, champion = Console(), done.champion
    if not done.moved:
        console.print(f"{champion.version[:12]} is the champion already: nothing was moved.", highlight=False)
    else:
        before = done.before.version[:12] if done.before else "nobody"
        told = (
            f"champion: {before} → {champion.version[:12]}, by rule {champion.rule}, {champion.by}: {champion.reason}"
        )
        console.print(told, highlight=False, soft_wrap=True, markup=False)
        console.print("The gate leaves it there until there is a newer candidate.", highlight=False)
    _say_what_follows(console, to_follow(platform))


def _say_what_follows(console: Console, behind: Mapping[str, str]) -> None:
    if behind:
        shown = ", ".join(f"{asset} (shows {version[:12]})" for asset, version in behind.items())
        console.print(
            f"not yet the champion's: {shown}. `gnn-assets dev` makes them anew by itself, `gnn-assets demo` at once.",
            highlight=False,
            soft_wrap=True,
        )


@app.command()
def alerts(
    resend: Annotated[bool, typer.Option("--resend", help="Send messages again that no channel took.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Send a test message by every channel.")] = False,
) -> None:
    """Show what is wrong, what people were told of it, and messages that no channel took."""
    from gnn_assets.defs.alert_commands import send_again, show, try_channels

    platform = Platform.from_environment()
    if test:
        failures = 0
        for name, failure in try_channels(platform):
            failures += bool(failure)
            typer.echo(f"{name}: {failure or 'works'}")
        raise typer.Exit(1 if failures else 0)
    if resend:
        for line in send_again(platform):
            typer.echo(line)
        return
    shown = show(platform)
    typer.echo(f"open: {len(shown.open)}")
    for episode in shown.open:
        told = episode.condition
        typer.echo(
            f"  {told.severity} since {episode.since:%Y-%m-%d %H:%M}: {told.kind} {told.subject}: {told.sentence}"
        )
    for message, fate in shown.messages:
        typer.echo(f"message {message.number} {message.at:%Y-%m-%d %H:%M} UTC {message.title}: {fate}")
    if shown.dead_letters:
        typer.echo(f"{len(shown.dead_letters)} dead letters; `gnn-assets alerts --resend` sends them again.")


@app.command()
def watchdog() -> None:
    """For a timer beside the platform: exit code 1 and an alert if it has not looked at itself for too long."""
    from gnn_assets.defs.alert_commands import watch

    silent = watch(Platform.from_environment())
    typer.echo(silent or "The platform looks at itself.")
    raise typer.Exit(1 if silent else 0)


@app.command()
def drill(
    name: Annotated[str | None, typer.Argument(help="Which drill; without it they are listed.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the copy, to be looked at.")] = False,
) -> None:
    """Break something in a copy of this home and see what happens; exit code 0 only if the verdict is PASS."""
    from gnn_assets.defs.drills.command import drills, run_drill

    if name is None:
        for drill_name, told in drills().items():
            typer.echo(f"{drill_name:<22} {told}")
        return
    from gnn_assets.definitions import build_definitions

    passed = run_drill(Platform.from_environment(), build_definitions, name, keep=keep, console=Console())
    raise typer.Exit(0 if passed else 1)


@app.command()
def ready(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Compute the go / no-go list; exit code 0 only if every line passes."""
    from gnn_assets.defs.ready import readiness

    lines = readiness(Platform.from_environment())
    go = all(line.passed for line in lines)
    if as_json:
        typer.echo(json.dumps({"ready": go, "lines": [asdict(line) for line in lines]}, indent=2))
    else:
        table = Table(title="GO" if go else "NO-GO")
        table.add_column("", no_wrap=True)
        for column in ("line", "value", "limit", "what to do"):
            table.add_column(column, overflow="fold")
        for line in lines:
            told = (escape(cell) for cell in (line.name, line.value, line.limit, "" if line.passed else line.do))
            table.add_row("pass" if line.passed else "FAIL", *told)
        Console().print(table)
    raise typer.Exit(0 if go else 1)


@hypotheses_app.command("run")
def hypotheses_run(
    file: Annotated[Path, typer.Argument(help="The batch, as YAML: models x strategies x settings.")],
    page: Annotated[Path | None, typer.Option("--report", help="Markdown file its page is written to.")] = None,
) -> None:
    """Register a batch of hypotheses, then judge it on the newest backtest as one family."""
    from gnn_assets.backtests.hypotheses_page import COLUMNS, cells
    from gnn_assets.defs.hypotheses import run_hypotheses

    found = run_hypotheses(Platform.from_environment(), file, report=page).report
    table = Table()
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for judged in found.judged:
        table.add_row(*(escape(cell) for cell in cells(judged)))
    Console().print(table)


@config_app.command("show")
def config_show() -> None:
    """Print the whole configuration in force, as YAML."""
    typer.echo(yaml.safe_dump(load_config(read_settings()).model_dump(mode="json"), sort_keys=False).rstrip())


@config_app.command("check")
def config_check() -> None:
    """Check the configuration, the universe and the sources without asking or computing anything."""
    from gnn_assets.defs.alerting import check_channels
    from gnn_assets.defs.bars import check_inputs

    settings = read_settings()
    config = load_config(settings)
    typer.echo(f"configuration is valid: profile {settings.profile} (of {', '.join(profile_names())})")
    platform = Platform(settings=settings, config=config)
    typer.echo(check_channels(platform))
    typer.echo(check_inputs(platform))


def main() -> None:
    """Runs the command line; an error of this platform becomes one sentence and exit code 1 (2 for a setting)."""
    with command_logged(sys.argv[1:]):
        try:
            app()
        except ConfigError as error:
            _fail(error, code=2)
        except GnnAssetsError as error:
            _fail(error, code=1)


def _fail(error: GnnAssetsError, *, code: int) -> None:
    Console(stderr=True, soft_wrap=True).print(f"gnn-assets: {error}", markup=False, highlight=False)
    sys.exit(code)
