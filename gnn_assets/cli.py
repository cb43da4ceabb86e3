"""The command line: `gnn-assets demo`, `dev`, `status`, `backfill`, `retry`, ... Every error is one sentence."""

import json
import sys
from datetime import datetime
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from gnn_assets.core.config import profile_names
from gnn_assets.core.errors import ConfigError, GnnAssetsError
from gnn_assets.core.settings import load_config, read_settings
from gnn_assets.defs.resources import Platform

app = typer.Typer(
    help="Markets as assets: bars, correlation graphs, trained networks, backtests and forecasts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
config_app = typer.Typer(help="The configuration in force.", no_args_is_help=True)
app.add_typer(config_app, name="config")


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
) -> None:
    """Print the score card of a candidate, as Markdown."""
    from gnn_assets.defs.reports import report_of

    typer.echo(report_of(Platform.from_environment(), version), nl=False)


@config_app.command("show")
def config_show() -> None:
    """Print the whole configuration in force, as YAML."""
    typer.echo(yaml.safe_dump(load_config(read_settings()).model_dump(mode="json"), sort_keys=False).rstrip())


@config_app.command("check")
def config_check() -> None:
    """Check the configuration, the universe and the sources without asking or computing anything."""
    from gnn_assets.defs.bars import check_inputs

    settings = read_settings()
    config = load_config(settings)
    typer.echo(f"configuration is valid: profile {settings.profile} (of {', '.join(profile_names())})")
    typer.echo(check_inputs(Platform(settings=settings, config=config)))


def main() -> None:
    """Runs the command line; an error of this platform becomes one sentence and exit code 1 (2 for a setting)."""
    try:
        app()
    except ConfigError as error:
        _fail(error, code=2)
    except GnnAssetsError as error:
        _fail(error, code=1)


def _fail(error: GnnAssetsError, *, code: int) -> None:
    Console(stderr=True, soft_wrap=True).print(f"gnn-assets: {error}", markup=False, highlight=False)
    sys.exit(code)
