"""One bit of the champion's weights is flipped, as a failing disk may do to any file.

Somebody else must serve at once, a former champion or the best baseline, and say so on every row; people must be told;
once the file is restored, the champion must say what it said before, to the last bit.
"""

import shutil
from pathlib import Path

import polars as pl

from gnn_assets.defs.drills.bench import DETECTED, RECOVERED, SERVED, Bench
from gnn_assets.defs.switching import promote_by_hand
from gnn_assets.models.variants import refit_part

_FORECASTS = "forecasts"


def run(bench: Bench) -> None:
    """Flips the bit, has the forecasts made, restores the file, has them made again."""
    before, chosen = bench.served(), bench.champion
    assert before is not None
    weights = bench.platform.weights.root / "artefacts" / chosen.version
    backup = Path(shutil.copytree(weights, bench.folder / "backup"))
    file = weights / f"{refit_part(chosen.model).replace('/', '.')}.safetensors"
    _flip_last_bit(file)
    # One past session instead of many: stored forecasts of other settings are not taken for these, and are made anew.
    bench.reopen({"forecasts": {"history_sessions": 1}})
    bench.broken(f"the last bit of {file.relative_to(bench.folder)} is flipped; the forecasts are asked for again")

    ran = bench.run(_FORECASTS)
    gone_back = bench.champion.version != chosen.version
    if gone_back:
        ran = bench.run(_FORECASTS)
    events = bench.platform.ledger.read("events")
    told = [event for event in events if event["event"] == "degraded"]
    reason = told[-1]["reason"] if told else "nothing in the ledger"
    bench.claim(DETECTED, "the damage is found as the weights are read", holds="expected sha256" in reason, seen=reason)
    bench.claim_alert("critical", "degraded forecasts")
    now = bench.served()
    seen = f"{now.sentence}; was {before.served_by}" if now else ran.sentence
    bench.claim(
        SERVED,
        "sound forecasts of the same session are served and say who made them",
        holds=now is not None and now.degraded and now.session == before.session and _is_sound(now.rows),
        seen=seen,
    )

    _restore(backup, weights)
    if gone_back:
        promote_by_hand(bench.platform, chosen.version, reason="drill: the file is restored")
    ran = bench.run(_FORECASTS)
    after = bench.served()
    bench.claim(
        RECOVERED,
        "with the file restored the champion serves again and says what it said, bit for bit",
        holds=after is not None and not after.degraded and after.says_as(before),
        seen=after.sentence if after else ran.sentence,
    )
    bench.claim_over("degraded/forecasts")


def _is_sound(rows: pl.DataFrame) -> bool:
    return bool(rows["expected_return"].is_finite().all())


def _flip_last_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)


def _restore(backup: Path, weights: Path) -> None:
    shutil.rmtree(weights)
    shutil.copytree(backup, weights)
