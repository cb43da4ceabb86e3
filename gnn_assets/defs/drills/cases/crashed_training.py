"""The process that trains a challenger is killed in the middle, as for want of memory or by a reboot.

The champion and its forecasts must stay, the run must be seen to have failed though nobody said so, and training again
must go on where the killed one stopped.
"""

import subprocess
import sys
from time import monotonic, sleep

from gnn_assets.defs.candidates import WEIGHTS
from gnn_assets.defs.drills.bench import DETECTED, RECOVERED, SERVED, Bench
from gnn_assets.defs.drills.copied import environment_of
from gnn_assets.defs.ended_runs import fail_ended_runs

_KEPT = "trained before"
# A small network, trained a little: long enough to be killed in the middle, and what is drilled is the crash.
_SMALL = {"candidate": "mlp", "baselines": [], "training": {"epochs": 2, "ensemble": 1, "workers": 1}}
_MOST_SECONDS, _BETWEEN_LOOKS = 120, 0.005
_COMMAND = ("-m", "dagster", "asset", "materialize", "--select", WEIGHTS, "-m", "gnn_assets.definitions")
_KILLED = -9


def run(bench: Bench) -> None:
    """Trains in a process of its own, kills it, looks, and trains again."""
    before, champion = bench.served(), bench.champion
    newest = bench.platform.weights.current()
    bench.reopen({"models": _SMALL})
    code = _train_and_kill(bench)
    bench.broken(f"a process that trains a challenger was killed in the middle, exit code {code}")

    gone = fail_ended_runs(bench.instance)
    record = bench.instance.get_run_record_by_id(gone[0]) if gone else None
    bench.claim(
        DETECTED,
        "the run, still under way in the records, is failed as its process is gone",
        holds=code == _KILLED and len(gone) == 1 and record is not None,
        seen=f"run {gone[0][:8]}: {record.dagster_run.status.value}" if record else f"exit code {code}, runs {gone}",
    )
    bench.claim_alert(f"run_failed {WEIGHTS}", "is gone")
    bench.claim_served_as(before)
    now = bench.platform.weights.current()
    bench.claim(
        SERVED,
        "the champion is the one before, and no half-trained weights are to be seen",
        holds=bench.champion.version == champion.version and now == newest,
        seen=f"champion {bench.champion.version[:12]}, newest weights {now.version[:12] if now else 'none'}",
    )

    told: list[str] = []
    bench.platform.progress = lambda _asset, _share, text: told.append(text)
    ran = bench.run(WEIGHTS)
    kept = sorted({text for text in told if _KEPT in text})
    bench.claim(
        RECOVERED,
        "training again goes on where the killed process stopped",
        holds=not ran.failures and bool(kept),
        seen="; ".join(kept) or f"everything was trained anew; {ran.sentence}",
    )
    after = bench.platform.weights.current()
    bench.claim(
        RECOVERED,
        "the challenger is stored whole",
        holds=after is not None and after != newest,
        seen=after.version[:12] if after else "none",
    )
    bench.claim_over(f"run_failed/{WEIGHTS}")


def _train_and_kill(bench: Bench) -> int:
    """Exit code of the process that was killed as soon as it had trained and kept a first part; -9 if it was."""
    kept, root = "*/*.trained.json", bench.platform.checkpoints.root
    before = set(root.glob(kept))
    process = subprocess.Popen(  # noqa: S603 - a fixed command of our own
        [sys.executable, *_COMMAND],
        cwd=bench.folder,
        env=environment_of(bench.platform, DAGSTER_HOME=bench.instance.root_directory),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = monotonic() + _MOST_SECONDS
    while process.poll() is None and monotonic() < end and not set(root.glob(kept)) - before:
        sleep(_BETWEEN_LOOKS)
    process.kill()
    return process.wait()
