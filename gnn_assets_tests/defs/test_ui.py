"""The UI that `gnn-assets dev` starts: the real server and daemon; in the drill, a real browser looking at them."""

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gnn_assets.core.config import build_config
from gnn_assets_tests.conftest import COMMAND, Home

ASSETS = tuple(build_config("test").ages)
CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Ui:
    """A running UI and what it answers over GraphQL."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.base + path, timeout=10) as answer:
            return answer.read()

    def ask(self, query: str, **variables: object) -> dict:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            self.base + "/graphql", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.load(answer)
        assert "errors" not in said, said
        return said["data"]

    def assets(self) -> dict[str, dict]:
        nodes = self.ask(
            "{ assetNodes { assetKey { path } groupName description hasAssetChecks "
            "assetMaterializations(limit: 1) { runId metadataEntries { label __typename } } } }"
        )["assetNodes"]
        return {node["assetKey"]["path"][-1]: node for node in nodes}

    def runs(self) -> list[dict]:
        return self.ask(
            "{ runsOrError { ... on Runs { results { runId status pipelineName assetSelection { path } "
            "tags { key value } } } } }"
        )["runsOrError"]["results"]


@contextmanager
def running_ui(home: Home, **extra: str) -> Iterator[Ui]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (home.path / "dev.log").open("w")
    process = subprocess.Popen(
        [COMMAND, "dev", "--port", str(port)], cwd=home.path, env=home.environment(**extra), stdout=log, stderr=log
    )
    try:
        ui = Ui(port)
        wait_for(lambda: answers(ui), seconds=180, what="the UI to answer", log=home.path / "dev.log")
        yield ui
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) is not None
        log.close()


def answers(ui: Ui) -> bool:
    try:
        return bool(ui.get("/server_info")) and set(ui.assets()) == set(ASSETS)
    except (OSError, urllib.error.URLError):
        return False


def wait_for(done: Callable[[], bool], *, seconds: float, what: str, log: Path) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited {seconds} s for {what}\n{log.read_text()[-4000:]}"
        time.sleep(1)


def no_process_of(home: Home) -> bool:
    """Whether every process started in the home has ended."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cwd").readlink() == home.path:
                return False
        except OSError:
            continue
    return True


@pytest.mark.slow
def test_the_ui_shows_every_asset_and_runs_everything_when_asked(home_copy):
    with running_ui(home_copy) as ui:
        shown = ui.assets()
        for name, node in shown.items():
            assert node["description"], name
            assert node["hasAssetChecks"], name
            assert node["assetMaterializations"], name
        kinds = {
            name: {entry["__typename"] for entry in node["assetMaterializations"][0]["metadataEntries"]}
            for name, node in shown.items()
        }
        # The first champion has not lived a session here: of its drift there is nothing to draw yet.
        for name in set(ASSETS) - {"mlflow_mirror", "model_drift"}:
            assert "MarkdownMetadataEntry" in kinds[name], name
        sensors = ui.ask(
            '{ sensorsOrError(repositorySelector: {repositoryName: "__repository__", '
            'repositoryLocationName: "gnn_assets"}) { ... on Sensors { results { name sensorState { status } } } } }'
        )["sensorsOrError"]["results"]
        assert {sensor["name"]: sensor["sensorState"]["status"] for sensor in sensors} == {
            "alerts": "RUNNING",
            "automation": "RUNNING",
            "champion_switches": "RUNNING",
            "ended_runs": "RUNNING",
        }

        launched = ui.ask(
            "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename "
            "... on LaunchRunSuccess { run { runId } } } }",
            p={
                "selector": {
                    "jobName": "everything",
                    "repositoryName": "__repository__",
                    "repositoryLocationName": "gnn_assets",
                }
            },
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id = launched["run"]["runId"]

        def finished() -> bool:
            status = next(run["status"] for run in ui.runs() if run["runId"] == run_id)
            assert status not in {"FAILURE", "CANCELED"}
            return status == "SUCCESS"

        wait_for(finished, seconds=240, what="the run started from the UI", log=home_copy.path / "dev.log")
    wait_for(lambda: no_process_of(home_copy), seconds=30, what="all processes to end", log=home_copy.path / "dev.log")


@pytest.mark.drill
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: deploy/drill-packages installs it where it may")
def test_a_person_looks_at_the_ui_and_materializes_everything(home_copy, tmp_path):
    from playwright.sync_api import sync_playwright

    with running_ui(home_copy) as ui, sync_playwright() as playwright:
        before = {run["runId"] for run in ui.runs()}
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(CHROMIUM_FLAGS))
        page = browser.new_page(viewport={"width": 1500, "height": 1200})
        pictures = 0
        for name in ASSETS:
            page.goto(f"{ui.base}/assets/{name}")
            page.get_by_text("Latest materialization").first.wait_for(timeout=60_000)
            for position in range(page.get_by_text("[Show Markdown]").count()):
                page.get_by_text("[Show Markdown]").nth(position).click()
                close = page.get_by_role("button", name="Close")
                close.wait_for(timeout=20_000)
                pictures += page.locator("img[src^='data:image/png']").count()
                close.click()
                close.wait_for(state="detached", timeout=20_000)
            page.screenshot(path=tmp_path / f"{name}.png")
        assert pictures >= 8, f"{pictures} plots seen"
        page.goto(f"{ui.base}/asset-groups")
        page.get_by_role("button", name="Materialize all").click(timeout=60_000)

        def finished() -> bool:
            mine = [run for run in ui.runs() if run["runId"] not in before and len(run["assetSelection"] or ASSETS) > 5]
            assert not any(run["status"] in {"FAILURE", "CANCELED"} for run in mine), mine
            return any(run["status"] == "SUCCESS" for run in mine)

        wait_for(finished, seconds=300, what="the run started by a click", log=home_copy.path / "dev.log")
        browser.close()
    print(f"drill: {len(ASSETS)} assets looked at in Chromium, {pictures} plots seen, one click materialized them all")


@pytest.mark.drill
def test_left_alone_with_a_minutes_limit_the_graph_is_reused_and_nothing_else_runs(home_copy):
    minute = {
        "GNN_ASSETS_CONFIG__AGES__CORRELATION_GRAPHS__DEADLINE_HOURS": "0.0167",
        "GNN_ASSETS_CONFIG__AUTOMATION__REBUILD_CRON": "* * * * *",
    }
    with running_ui(home_copy, **minute) as ui:
        before = {run["runId"] for run in ui.runs()}

        def fresh_runs() -> list[dict]:
            return [run for run in ui.runs() if run["runId"] not in before]

        def rebuilt_twice() -> bool:
            return sum(run["status"] == "SUCCESS" for run in fresh_runs()) >= 2

        wait_for(rebuilt_twice, seconds=600, what="two rebuilds of the graph", log=home_copy.path / "dev.log")
        # Two more evaluations of the conditions, so that a wave downstream would have had its chance.
        time.sleep(70)
        selected = {key["path"][-1] for run in fresh_runs() for key in run["assetSelection"] or []}
        rebuilds = len(fresh_runs())
    assert selected == {"correlation_graphs"}
    print(f"drill: left alone, {rebuilds} runs, all of correlation_graphs alone")
