"""Membership: a condition on many ids that the database is given as one value, in its own dialect."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, Session

from ..models import Job

__all__ = ["among", "dialect_of"]


def dialect_of(session: Session) -> str:
    """Return the name of the dialect of the database that our tables are in."""
    return session.get_bind(clause=sa.insert(Job.__table__)).dialect.name


def among(
    dialect: str, column: sa.ColumnElement[Any] | InstrumentedAttribute[Any], ids: str | Collection[int]
) -> sa.ColumnElement[bool]:
    """Return the condition that a column is among some integers, or the list in the parameter of that name.

    However many there are, the statement is the same: neither SQLAlchemy nor the database looks at it anew.
    """

    def given(kind: Any) -> sa.BindParameter[Any]:
        return sa.bindparam(ids, type_=kind) if isinstance(ids, str) else sa.literal(sorted(ids), kind)

    if dialect == "postgresql":
        return sa.any_(given(ARRAY(sa.BigInteger))) == column
    values = sa.func.json_each(given(sa.JSON())).table_valued("value")
    return column.in_(sa.select(values.c.value))
