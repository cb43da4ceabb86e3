"""The disk that holds the copy is filled to its last byte while an update is to be stored.

It is a real, small disk in memory, mounted for this drill alone where the kernel lets a user do that. The update must fail
and say so, nothing half-written may be visible, and readers must have what they had; with room again all must be as if
nothing had been.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from gnn_assets.bars.schema import MARKET_BARS
from gnn_assets.core.clock import LiveClock
from gnn_assets.core.errors import ConfigError
from gnn_assets.core.settings import subprocess_environment
from gnn_assets.defs.drills.bench import DETECTED, RECOVERED, Bench
from gnn_assets.defs.drills.copied import size_of
from gnn_assets.defs.drills.market import market_until
from gnn_assets.defs.heartbeat import read_heartbeat
from gnn_assets.defs.resources import Platform

_BALLAST = "ballast"
_PIECE = 1 << 20  # bytes
# A disk for the copy, what an update writes, and Dagster's records: times the home's size, and bytes.
_TIMES, _BESIDE = 4, 64 << 20
_FLOW = ("market_bars", "returns")


def elsewhere(home: Platform) -> bool | None:
    """Does the whole drill again in a process whose temporary folder is a small disk, unless this one's is.

    Args:
        home: the home's platform.

    Returns:
        Whether the verdict there was PASS; None where it is to be done here.

    Raises:
        ConfigError: if the kernel lets nobody mount a disk.
    """
    room = size_of(home) * _TIMES + _BESIDE
    # Twice: the home may have shrunk since the disk was made, and disks are made of whole pages.
    if shutil.disk_usage(tempfile.gettempdir()).total <= 2 * room:
        return None
    with tempfile.TemporaryDirectory(prefix="gnn-assets-drill-disk-") as disk:
        script = f'mount -t tmpfs -o size={room} tmpfs "$0" && exec "$@"'
        mounted = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, disk]
        if shutil.which("unshare") is None or subprocess.run([*mounted, "true"], check=False).returncode:  # noqa: S603
            raise ConfigError.of(
                "drill disk_full",
                expected="a system that lets a user mount a disk of his own (`unshare --user --mount`)",
                was="one that does not",
                do="run it on Linux with user namespaces, or set TMPDIR to a small disk",
            )
        done = subprocess.run(  # noqa: S603 - this very command again
            [*mounted, sys.executable, *sys.argv],
            env={**subprocess_environment(home.settings), "TMPDIR": disk},
            check=False,
        )
    return done.returncode == 0


def run(bench: Bench) -> None:
    """Fills the disk, runs the update, makes room, runs it again."""
    before, bars = bench.served(), bench.platform.versions(MARKET_BARS.name).current()
    folder = bench.folder / "bars"
    market = market_until(bench.platform, bench.clock.now())
    market.write(folder)
    bench.let_time_pass(market.settings(folder), to=bench.platform.calendar.available_at(market.days[-1]))
    # Dagster keeps its records in memory here: on a full disk it would fail before the platform does.
    bench.remember_runs_in_memory()
    files = _files(bench)
    written = _fill(bench.folder / _BALLAST)
    free = shutil.disk_usage(bench.folder).free
    bench.broken(f"{written >> 20} MiB are written into {bench.folder}, {free} bytes are free; the daily update runs")

    ran = bench.run(*_FLOW)
    reason = ran.failures.get("market_bars", "market_bars was published")
    bench.claim(DETECTED, "the update fails and says why", holds="disk full: need" in reason, seen=reason)
    left = sorted(str(path) for path in _files(bench) - files if path.suffix != ".lock")
    stored = bench.platform.versions(MARKET_BARS.name).current()
    bench.claim(
        DETECTED,
        "nothing is half-written, and the bars are those from before",
        holds=not [path for path in left if "lake" in path] and stored == bars,
        seen=f"left behind: {', '.join(left) or 'nothing'}",
    )
    asked = LiveClock().now()
    bench.claim_alert("disk full: need")
    bench.claim_served_as(before)

    (bench.folder / _BALLAST).unlink()
    bench.say(RECOVERED, "the ballast is removed, and the update runs again")
    ran = bench.run(*_FLOW)
    stored = bench.platform.versions(MARKET_BARS.name).current()
    bench.claim(
        RECOVERED,
        "the same update is stored whole",
        holds=not ran.failures and stored != bars,
        seen=stored.version[:12] if stored and not ran.failures else ran.sentence,
    )
    if bench.was_told("run_failed/market_bars"):
        bench.claim_over("run_failed/market_bars")
    # Where not even the ledger had room, it was shouted, which nothing resolves but that the heartbeat goes on.
    heard = bench.look()
    beat = read_heartbeat(bench.platform)
    bench.claim(
        RECOVERED,
        "the platform looks at itself again, and writes its heartbeat",
        holds=beat is not None and beat.at > asked,
        seen=f"heartbeat {beat.at:%H:%M:%S} UTC" if beat else f"no heartbeat; arrived: {[one.title for one in heard]}",
    )


def _fill(path: Path) -> int:
    """Writes until the disk takes no byte more; how many it took."""
    written = 0
    with path.open("wb", buffering=0) as file, suppress(OSError):
        for size in (_PIECE, 1):
            with suppress(OSError):
                while taken := file.write(b"\0" * size):
                    written += taken
        os.fsync(file.fileno())
    return written


def _files(bench: Bench) -> set[Path]:
    return {path for path in bench.platform.data.rglob("*") if path.is_file()}
