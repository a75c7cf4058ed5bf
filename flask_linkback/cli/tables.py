"""Tables: has the database what the models describe?"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ..models import Base

__all__ = ["Lacking", "address_of", "lacking"]


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """What a database lacks: whole tables, and columns of those that it has; false for nothing."""

    tables: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    """As ``table.column``."""

    def __bool__(self) -> bool:
        return bool(self.tables or self.columns)

    def __str__(self) -> str:
        parts = [
            f"the {noun if len(names) == 1 else noun + 's'} {', '.join(names)}"
            for noun, names in (("table", self.tables), ("column", self.columns))
            if names
        ]
        return " and ".join(parts)

    @property
    def advice(self) -> str:
        """What to do about it."""
        if self.columns:
            return "Run 'flask db migrate' and 'flask db upgrade': 'flask linkback init-db' adds no columns."
        return "Run 'flask db upgrade' or, in an application without migrations, 'flask linkback init-db'."


def lacking(engine: sa.Engine) -> Lacking:
    """Compare the models with the tables of a database."""
    inspector = sa.inspect(engine)
    present = set(inspector.get_table_names())
    tables: list[str] = []
    columns: list[str] = []
    for table in Base.metadata.sorted_tables:
        if table.name not in present:
            tables.append(table.name)
            continue
        names = {column["name"] for column in inspector.get_columns(table.name)}
        columns.extend(f"{table.name}.{column.name}" for column in table.columns if column.name not in names)
    return Lacking(tables=tuple(tables), columns=tuple(columns))


def address_of(engine: sa.Engine) -> str:
    """Return the URL of a database without its password."""
    return engine.url.render_as_string(hide_password=True)
