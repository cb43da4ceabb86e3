"""Where a replay keeps Dagster's state: SQLite as ever, but for three things that are done at every event.

They are a new connection, a flush to the disk, and a look at which tables and columns there are. A replay that is cut
off is begun anew, so it need not outlive the machine; its tables are made with its home, and stay as they are; and half
a year is some hundred thousand events. The files are those that any SQLite storage of Dagster reads.
"""

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Self

import sqlalchemy as db
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
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

    @cached_property
    def _seen(self) -> set[str]:
        return set()

    def has_table(self, table_name: str) -> bool:
        """Whether there is a table of that name: one that was there stays."""
        if table_name not in self._seen and super().has_table(table_name):
            self._seen.add(table_name)
        return table_name in self._seen


class ReplayRuns(SqliteRunStorage):
    """Dagster's runs of a replay."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """As Dagster opens it, which names its own class here."""
        return cls.from_local(inst_data=inst_data, **config_value)

    @cached_property
    def _engine(self) -> db.Engine:
        return _engine_of(self._conn_string)

    @contextmanager
    def connect(self) -> Generator[db.Connection]:
        """A connection that is kept for the next time."""
        with self._engine.begin() as connection:
            yield connection

    @cached_property
    def _with_times(self) -> bool:
        return super().has_run_stats_index_cols()

    def has_run_stats_index_cols(self) -> bool:
        """Whether the table of runs has the columns of their times."""
        return self._with_times
