"""What was served, session after session: the table that only grows, beside the forecasts that are made anew.

`forecasts` holds the newest session, and past ones as the present champion would have said; `served_forecasts` holds
each session as it was published last before its fill.
"""

from calendar import monthrange
from contextlib import suppress
from datetime import date, datetime

import polars as pl

from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, SchemaMismatch
from gnn_assets.defs.resources import Platform
from gnn_assets.forecasts.schema import FORECASTS, SERVED_BEFORE_DEGRADED, SERVED_FORECASTS
from gnn_assets.store.schema import Table

_NOT_WHOLE = (CorruptArtefact, MissingArtefact)


def enter_served(platform: Platform, *, run_id: str) -> None:
    """Enters the newest session of what is published now among all that was ever served.

    Until the moment of its fill the last publication counts; one made then or later could not be traded as it says,
    and changes nothing. Entering the same again writes nothing.

    Args:
        platform: the opened platform.
        run_id: run that enters it.

    Raises:
        LockTimeout, DiskFull: what is published stays; the next run enters it.
    """
    _carry_over(platform, run_id=run_id)
    try:
        publication = platform.versions(FORECASTS.name).current()
        made = platform.lake.read(FORECASTS, version=publication.version) if publication else FORECASTS.empty()
    except (*_NOT_WHOLE, SchemaMismatch):
        return  # what nobody can read serves nobody, and is made anew
    if publication is None or made.is_empty():
        return
    newest = made.filter(pl.col("session") == pl.col("session").max())
    first = newest.row(0, named=True)
    if publication.published_at >= _fill_at(platform, first["target_start"]):
        return
    # A symbol that the last publication left out is not served any more.
    stays = (pl.col("session") != first["session"]) | (pl.col("card_id") == first["card_id"])
    _mend(platform, run_id=run_id)
    platform.lake.upsert(SERVED_FORECASTS, newest, run_id=run_id, reduce=lambda rows: rows.filter(stays))


def _carry_over(platform: Platform, *, run_id: str) -> None:
    """Keeps what a release before the column `degraded` served; whether it was, nobody told, and nothing is invented."""
    try:
        manifest = platform.lake.manifest(SERVED_FORECASTS)
    except _NOT_WHOLE:
        return  # mended below
    if manifest is None or manifest.schema_version != SERVED_BEFORE_DEGRADED.schema_version:
        return
    _mend(platform, run_id=run_id, table=SERVED_BEFORE_DEGRADED)
    before = platform.lake.read(SERVED_BEFORE_DEGRADED)
    unknown = pl.lit(None, dtype=pl.Boolean)
    rows = SERVED_FORECASTS.conform(before.with_columns(degraded=unknown))
    platform.lake.publish(SERVED_FORECASTS, rows, lineage=None, data_end=None, run_id=run_id)


def _fill_at(platform: Platform, session: date) -> datetime:
    """Moment at which what is forecast is traded: the open or the close of the fill's session, without any grace."""
    calendar = platform.calendar
    return calendar.open_at(session) if platform.config.execution.fill == "open_next" else calendar.close_at(session)


def _mend(platform: Platform, *, run_id: str, table: Table = SERVED_FORECASTS) -> None:
    """Where a month is damaged, leaves it out and tells; the others stay.

    An upsert would go back to a publication that is whole, and months lie in every publication since.
    """
    manifest = None
    # Without it no month can be found: the upsert takes the newest publication that is whole.
    with suppress(*_NOT_WHOLE):
        manifest = platform.lake.manifest(table)
    whole, lost = [table.empty()], []
    for file in manifest.files if manifest else ():
        year, month = (int(part) for part in file.month.split("-"))
        first, last = date(year, month, 1), date(year, month, monthrange(year, month)[1])
        try:
            whole.append(platform.lake.read(table, first=first, last=last))
        except _NOT_WHOLE:
            lost.append(file.month)
    if lost:
        platform.lake.publish(table, pl.concat(whole), lineage=None, data_end=None, run_id=run_id)
        reason = f"what was served in {', '.join(lost)} is damaged and left out; its files are in quarantine"
        platform.ledger.append("events", {"event": "served_lost", "asset": FORECASTS.name, "reason": reason})
