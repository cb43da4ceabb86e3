"""The declared shape of a stored table: columns, key, layout. Each stage declares its own in its `schema.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from gnn_assets.core.errors import SchemaMismatch

MOMENT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Table:
    """A table's contract.

    Args:
        name: folder in the lake, and the asset that publishes it.
        columns: name → dtype, in order.
        key: columns that identify a row; rows are stored sorted by them.
        descriptions: name → one line with the unit, for people.
        monthly: whether files are split by the month of `session`.
        provenance: columns that say who and when, not what: they do not count for the data version.
        schema_version: raised when columns change; a newer one than the code's is refused at load.
    """

    name: str
    columns: Mapping[str, pl.DataType | type[pl.DataType]]
    key: tuple[str, ...]
    descriptions: Mapping[str, str] = field(default_factory=dict)
    monthly: bool = False
    provenance: tuple[str, ...] = ()
    schema_version: int = 1

    def empty(self) -> pl.DataFrame:
        """A frame of this table with no rows."""
        return pl.DataFrame(schema=dict(self.columns))

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with its columns in the declared order, sorted by key. Nothing is cast.

        Raises:
            SchemaMismatch: if columns or dtypes differ, with the difference named.
        """
        difference = self.difference(frame.schema)
        if difference:
            raise SchemaMismatch.of(
                f"table {self.name}", expected="its declared columns", was="; ".join(difference), do="see its schema.py"
            )
        return frame.select(*self.columns).sort(self.key)

    def difference(self, columns: Mapping[str, pl.DataType | type[pl.DataType]]) -> tuple[str, ...]:
        """How other columns differ from the declared ones, a phrase each; empty when they agree."""
        missing = [f"{name} is missing" for name in self.columns if name not in columns]
        extra = [f"{name} is not declared" for name in columns if name not in self.columns]
        changed = [
            f"{name} is {columns[name]} instead of {dtype}"
            for name, dtype in self.columns.items()
            if name in columns and columns[name] != dtype
        ]
        return (*missing, *extra, *changed)
