"""What a stage says while it works: all of it to who listens, a line a per cent to the log that is kept."""

from types import SimpleNamespace

from gnn_assets.defs.stage import StageRun
from gnn_assets.store.versions import Lineage


def test_a_thousand_steps_are_all_heard_and_logged_once_a_per_cent_and_at_their_end():
    heard: list[tuple[str, float, str]] = []
    logged: list[str] = []
    run = StageRun(
        platform=SimpleNamespace(progress=lambda *told: heard.append(told)),
        asset="gnn_weights",
        inputs={},
        lineage=Lineage(inputs={}, code_version="", config_hash=""),
        symbols=(),
        run_id="",
        log=logged.append,
    )
    for step in range(1, 1001):
        run.progress(step / 1000, f"tree {step}")
    run.progress(1.0, "done")
    assert heard == [
        *(("gnn_weights", step / 1000, f"tree {step}") for step in range(1, 1001)),
        ("gnn_weights", 1.0, "done"),
    ]
    assert logged[0] == "  0% tree 1"
    assert logged[-2:] == ["100% tree 1000", "100% done"]
    assert len(logged) == 102
