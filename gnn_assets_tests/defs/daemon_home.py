"""A home with the real webserver and daemon over it, and what a drill does to them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

from gnn_assets.core.config import build_config
from gnn_assets.core.settings import Settings
from gnn_assets.defs.resources import Platform
from gnn_assets_tests.conftest import Home

BIN = Path(sys.executable).parent
OVER = {"SUCCESS", "FAILURE", "CANCELED"}
_RUNS = """{ runsOrError { ... on Runs { results { runId rootRunId status startTime updateTime
  assetSelection { path } tags { key value } } } } }"""
_LOCATIONS = "{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } } }"
_EVENTS = """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
  ... on EngineEvent { metadataEntries { label ... on TextMetadataEntry { text } } } } } } }"""
_LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


class Dagsters:
    """Dagster's processes over a home, at one session of the sample.

    Args:
        home: where a demo was run.
        settings: further variables of their environment.
    """

    def __init__(self, home: Home, **settings: str) -> None:
        self.home, self.settings = home, settings
        self.session: date | None = None
        self.extra: dict[str, str] = {}
        self.daemon: subprocess.Popen[bytes] | None = None
        self.webserver: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    # ---- processes -----------------------------------------------------------------------------------------------

    def at(self, session: date, **extra: str) -> None:
        """Moves the clock to a session, and the settings with it; what runs is ended first."""
        self.stop()
        self.session, self.extra = session, extra

    def environment(self) -> dict[str, str]:
        pinned = {"GNN_ASSETS_CONFIG__CLOCK__SESSION": str(self.session), "DAGSTER_HOME": str(self.home.path)}
        return self.home.environment(**self.settings, **pinned, **self.extra)

    def start(self) -> None:
        self.webserver = self._process("dagster-webserver", "-h", "127.0.0.1", "-p", str(self.port))
        self.start_daemon()
        wait_for(self.answers, seconds=240, what="the webserver to answer")

    def start_daemon(self) -> None:
        self.daemon = self._process("dagster-daemon", "run")

    def second_daemon(self) -> "subprocess.Popen[bytes]":
        return self._process("dagster-daemon", "run")

    def stop(self) -> None:
        for process in (self.daemon, self.webserver):
            if process is not None:
                end(process, signal.SIGTERM)
        self.daemon = self.webserver = None

    def kill_daemon(self) -> None:
        """As the machine's memory killer would: the daemon, its code server, and the runs they had started."""
        assert self.daemon is not None
        end(self.daemon, signal.SIGKILL)
        self.daemon = None

    def _process(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.home.path / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [BIN / name, *arguments, "-w", "workspace.yaml"],
                cwd=self.home.path,
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    # ---- what a person does --------------------------------------------------------------------------------------

    def command(self, *arguments: str) -> str:
        result = self.home.run(*arguments, **{**self.settings, **self._pinned(), **self.extra})
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def _pinned(self) -> dict[str, str]:
        return {"GNN_ASSETS_CONFIG__CLOCK__SESSION": str(self.session)}

    def materialize_without_daemon(self, *names: str) -> None:
        """`dagster asset materialize`, in a process of its own."""
        command = [BIN / "dagster", "asset", "materialize", "-m", "gnn_assets.definitions", "--select", ",".join(names)]
        result = subprocess.run(
            command, cwd=self.home.path, env=self.environment(), capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]

    def launch(self, *names: str) -> dict[str, Any]:
        """Some assets materialized from the UI; the run, once it is over."""
        run_id = self.begin(*names)
        wait_for(lambda: self.run_of(run_id)["status"] in OVER, seconds=240, what=f"{names} to be made")
        return self.run_of(run_id)

    def begin(self, *names: str) -> str:
        """Some assets asked for from the UI; the run's id."""
        selector = {
            "jobName": "__ASSET_JOB",
            "repositoryName": "__repository__",
            "repositoryLocationName": "gnn_assets",
            "assetSelection": [{"path": [name]} for name in names],
        }
        answer = self.ask(_LAUNCH, p={"selector": selector})["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    # ---- what a drill looks at -----------------------------------------------------------------------------------

    def answers(self) -> bool:
        try:
            return "runsOrError" in self.ask("{ runsOrError { __typename } }")
        except OSError:
            return False

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.load(answer)
        assert "errors" not in said, said
        return said["data"]

    def locations(self) -> dict[str, str]:
        """Code location → whether it loaded, in Dagster's words."""
        entries = self.ask(_LOCATIONS)["workspaceOrError"]["locationEntries"]
        return {entry["name"]: (entry["locationOrLoadError"] or {}).get("__typename", "") for entry in entries}

    def runs(self) -> list[dict[str, Any]]:
        """Every run, oldest first, with the names it makes and its tags as a mapping."""
        runs = self.ask(_RUNS)["runsOrError"]["results"]
        for run in runs:
            run["names"] = sorted(entry["path"][-1] for entry in run["assetSelection"] or ())
            run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
        return runs[::-1]

    def run_of(self, run_id: str) -> dict[str, Any]:
        return next(run for run in self.runs() if run["runId"] == run_id)

    def worker_of(self, run_id: str) -> int | None:
        """Number of the process that runs a run, as Dagster was told; None before."""
        events = self.ask(_EVENTS, id=run_id)["logsForRun"]["events"]
        numbers = [entry["text"] for event in events for entry in event.get("metadataEntries", ()) if "text" in entry]
        return int(numbers[0]) if numbers else None

    def runs_of(self, name: str) -> list[dict[str, Any]]:
        return [run for run in self.runs() if name in run["names"]]

    def quiet(self, *, seconds: float, longest: float = 420) -> None:
        """Waits until no run is under way and none has begun for so long."""
        seen, since = -1, time.monotonic()

        def still() -> bool:
            nonlocal seen, since
            runs = self.runs()
            if len(runs) != seen or any(run["status"] not in OVER for run in runs):
                seen, since = len(runs), time.monotonic()
            return time.monotonic() - since >= seconds

        wait_for(still, seconds=longest, what="the platform to come to rest")

    @property
    def platform(self) -> Platform:
        """What is stored, read by the drill itself."""
        config = build_config("test", {"clock": {"session": self.session}})
        return Platform(settings=Settings(profile="test", home=self.home.path), config=config)

    @property
    def decisions(self) -> list[dict[str, Any]]:
        return self.platform.ledger.read("decisions")

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        return [event for event in self.platform.ledger.read("events") if event["event"] in kinds]


def wait_for(done: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Seconds until something held."""
    begun = time.monotonic()
    while not done():
        assert time.monotonic() - begun < seconds, f"waited {seconds} s for {what}"
        time.sleep(0.5)
    return time.monotonic() - begun


def end(process: "subprocess.Popen[bytes]", how: signal.Signals) -> None:
    """Ends a process and all that it has started."""
    try:
        os.killpg(process.pid, how)
        process.wait(timeout=30)
    except ProcessLookupError:
        pass
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def shown(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """The drill's table, as people read it."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="The loop under a real daemon")
    for column in ("what happened", "what followed", "why", "seconds"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(width=150, file=StringIO())
    console.print(table)
    return console.file.getvalue()
