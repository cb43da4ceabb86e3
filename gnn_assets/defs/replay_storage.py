"""Where a replay keeps Dagster's state: SQLite as ever, without a new connection and a flush to the disk an event.

A replay that is cut off is begun anew, so it need not outlive the machine; and half a year is some hundred thousand
events. The files are those that any SQLite storage of Dagster reads.
"""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property

import sqlalchemy as db
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import event


def _engine_of(address: str) -> db.Engine:
    engine = db.create_engine(address, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def begin(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    return engine


class ReplayEventLog(ConsolidatedSqliteEventLogStorage):
    """Dagster's events of a replay."""

    @cached_property
    def _engine(self) -> db.Engine:
        return _engine_of(self._conn_string)

    @contextmanager
    def _connect(self) -> Generator[db.Connection]:
        with self._engine.begin() as connection:
            yield connection


class ReplayRuns(SqliteRunStorage):
    """Dagster's runs of a replay."""

    @cached_property
    def _engine(self) -> db.Engine:
        return _engine_of(self._conn_string)

    @contextmanager
    def connect(self) -> Generator[db.Connection]:
        """A connection that is kept for the next time."""
        with self._engine.begin() as connection:
            yield connection
