"""Migrations: the tables in an application's own history, by the commands that people type."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.model import Model
from sqlalchemy.orm import (
    DeclarativeBase,
    DeclarativeBaseNoMeta,
    Mapped,
    MappedAsDataclass,
    Session,
    declarative_base,
    mapped_column,
)

from flask_linkback import Linkback
from flask_linkback.models import Base, Job, Link, attach
from tests.conftest import postgresql_database
from tests.thorough import FULL

APPLICATION = """
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={convention!r})

db = SQLAlchemy(model_class=Base)

class Author(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True, index=True)

class Post(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = {url!r}
db.init_app(app)
Migrate(app, db)
if {linkback!r}:
    from flask_linkback import Linkback
    Linkback(app, db)
"""
CONVENTIONS: dict[str, dict[str, str]] = {
    "none": {},
    "own": {
        "pk": "pk__%(table_name)s",
        "fk": "fk__%(table_name)s__%(column_0_N_name)s__%(referred_table_name)s",
        "uq": "uq__%(table_name)s__%(column_0_N_name)s",
        "ix": "ix__%(column_0_N_label)s",
        "ck": "ck__%(table_name)s__%(constraint_name)s",
    },
}


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A database without any table."""
    return f"sqlite:///{tmp_path}/blog.db"


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """A database without any table."""
    with postgresql_database() as url:
        yield url


class Project:
    """An application in a directory of its own, and ``flask db`` in it."""

    def __init__(self, directory: Path, url: str, convention: dict[str, str]) -> None:
        self.directory = directory
        self.url = url
        self.convention = convention

    def write(self, *, linkback: bool) -> None:
        source = APPLICATION.format(url=self.url, convention=self.convention, linkback=linkback)
        (self.directory / "blog.py").write_text(source)

    def db(self, *args: str) -> str:
        """Run ``flask db``, warnings being errors but for that of its own template; return what it says."""
        environment = {**os.environ, "PYTHONWARNINGS": "error,ignore:'get_engine' is deprecated"}
        ran = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "blog", "db", *args],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def migrations(self) -> list[str]:
        return [
            path.read_text() for path in sorted((self.directory / "migrations" / "versions").glob("*.py"))
        ]

    def tables(self) -> dict[str, Any]:
        """What the database has: every table with its columns, indexes and constraints."""
        engine = sa.create_engine(self.url)
        found = sa.inspect(engine)
        described = {
            name: {
                "columns": [
                    (each["name"], str(each["type"]), each["nullable"]) for each in found.get_columns(name)
                ],
                "indexes": {(each["name"], *each["column_names"]) for each in found.get_indexes(name)},
                "unique": {
                    (each["name"], *each["column_names"]) for each in found.get_unique_constraints(name)
                },
                "primary": found.get_pk_constraint(name)["name"],
                "foreign": {each["name"] for each in found.get_foreign_keys(name)},
            }
            for name in found.get_table_names()
            if name.startswith("linkback_")
        }
        engine.dispose()
        return described


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_flask_db_in_an_application_that_has_a_history(
    tmp_path: Path, database_url: str, convention: str
) -> None:
    """init, migrate, upgrade; then Linkback comes: migrate, upgrade, check, downgrade, upgrade."""
    if not FULL and database_url.startswith("sqlite") != (convention == "own"):
        pytest.skip("by make hostile")
    project = Project(tmp_path, database_url, CONVENTIONS[convention])
    project.write(linkback=False)
    project.db("init")
    project.db("migrate", "--rev-id", "0001")
    project.db("upgrade")
    assert project.tables() == {}

    project.write(linkback=True)
    project.db("migrate", "--rev-id", "0002")
    project.db("upgrade")
    assert "No new upgrade operations detected." in project.db("check")

    first, second = project.migrations()
    assert "linkback" not in first
    assert "flask_linkback" not in second
    created = set(re.findall(r"create_table\('(\w+)'", second))
    assert created == set(Base.metadata.tables)
    assert set(re.findall(r"drop_table\('(\w+)'", second)) == created
    imports = re.findall(r"^(?:from|import) .*$", second, re.MULTILINE)
    assert all(re.match(r"(from alembic|import sqlalchemy|from sqlalchemy)\b", line) for line in imports)

    migrated = project.tables()
    assert set(migrated) == set(Base.metadata.tables)
    project.db("downgrade", "0001")
    assert project.tables() == {}
    project.db("upgrade")
    assert project.tables() == migrated
    assert migrated == tables_of_create_all(tmp_path, database_url)


def tables_of_create_all(directory: Path, url: str) -> dict[str, Any]:
    """What ``flask linkback init-db`` makes on the same database."""
    engine = sa.create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    engine.dispose()
    return Project(directory, url, {}).tables()


# --- every base class ---------------------------------------------------------------------------------


def fresh(*bases: type) -> type[Any]:
    return type("Base", bases, {})


STYLES: dict[str, Callable[[], SQLAlchemy]] = {
    "the default": lambda: SQLAlchemy(),
    "DeclarativeBase": lambda: SQLAlchemy(model_class=fresh(DeclarativeBase)),
    "DeclarativeBaseNoMeta": lambda: SQLAlchemy(model_class=fresh(DeclarativeBaseNoMeta)),
    "dataclasses": lambda: SQLAlchemy(model_class=fresh(MappedAsDataclass, DeclarativeBase)),
    "dataclasses without metaclass": lambda: SQLAlchemy(
        model_class=fresh(MappedAsDataclass, DeclarativeBaseNoMeta)
    ),
    "Model": lambda: SQLAlchemy(model_class=fresh(Model)),
    "declarative_base()": lambda: SQLAlchemy(model_class=declarative_base()),
    "no automatic names": lambda: SQLAlchemy(model_class=fresh(DeclarativeBase), disable_autonaming=True),
    "a MetaData": lambda: SQLAlchemy(metadata=sa.MetaData(naming_convention=CONVENTIONS["own"])),
    "a MetaData of the base": lambda: SQLAlchemy(
        model_class=type(
            "Base", (DeclarativeBase,), {"metadata": sa.MetaData(naming_convention=CONVENTIONS["own"])}
        )
    ),
}


def model_of(db: SQLAlchemy) -> Any:
    class Post(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "post"
        __allow_unmapped__ = True

        id: Mapped[int] = mapped_column(primary_key=True)
        html: Mapped[str] = mapped_column()

    return Post


def application(db: SQLAlchemy, url: str, **config: Any) -> Flask:
    app = Flask("blog")
    app.testing = True
    app.config.update(SQLALCHEMY_DATABASE_URI=url, LINKBACK_BASE_URL="https://blog.example", **config)
    db.init_app(app)
    return app


def new_post(Post: Any) -> Any:
    post = Post.__new__(Post)
    Post.__init__(post, **({"id": 1} if hasattr(Post, "__dataclass_fields__") else {}), html=LINKS)
    return post


LINKS = '<a href="https://elsewhere.example/">elsewhere</a>'


@pytest.mark.parametrize("style", STYLES)
def test_every_base_class_that_flask_sqlalchemy_accepts(style: str, database_url: str) -> None:
    try:
        db = STYLES[style]()
        Post = model_of(db)
    except Exception as error:
        pytest.skip(f"Flask-SQLAlchemy itself does not take it: {type(error).__name__}: {error}")
    app = application(db, database_url)
    linkback = Linkback(app, db)
    linkback.ping_external_links(Post, content="html", url=lambda post: f"/post/{post.id}")
    with app.app_context():
        db.create_all()
        db.create_all()
        assert set(Base.metadata.tables) < set(sa.inspect(db.engine).get_table_names())
        db.session.add(new_post(Post))
        db.session.commit()
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Job)) == 1
        with Session(db.engine) as session:
            assert session.scalars(sa.select(Link)).all() == []
        db.session.remove()
        db.drop_all()
        assert sa.inspect(db.engine).get_table_names() == []
        db.engine.dispose()


def test_init_db_is_for_applications_without_migrations(database_url: str) -> None:
    db = SQLAlchemy(model_class=fresh(DeclarativeBase))
    app = application(db, database_url)
    Linkback(app, db)
    for _ in range(2):
        ran = app.test_cli_runner().invoke(args=["linkback", "init-db"])
        assert ran.exit_code == 0, ran.output
    with app.app_context():
        assert set(sa.inspect(db.engine).get_table_names()) == set(Base.metadata.tables)
        db.engine.dispose()


def test_tables_live_in_the_default_bind(tmp_path: Path) -> None:
    db = SQLAlchemy(model_class=fresh(DeclarativeBase))
    app = application(db, f"sqlite:///{tmp_path}/a.db", SQLALCHEMY_BINDS={"b": f"sqlite:///{tmp_path}/b.db"})
    Linkback(app, db)
    with app.app_context():
        db.create_all()
        assert set(sa.inspect(db.engine).get_table_names()) == set(Base.metadata.tables)
        assert sa.inspect(db.engines["b"]).get_table_names() == []
        assert db.session.scalars(sa.select(Job)).all() == []
        for engine in db.engines.values():
            engine.dispose()


def test_a_metadata_with_a_schema_is_refused_when_the_extension_is_made() -> None:
    db = SQLAlchemy(metadata=sa.MetaData(schema="blog"))
    with pytest.raises(Exception, match="default schema"):
        Linkback(db=db)


def test_sessions_of_both_sides_see_the_same_rows(database_url: str) -> None:
    """The models are of our own base, the tables that were created of the application's metadata."""
    db = SQLAlchemy(model_class=fresh(DeclarativeBase))
    attach(db.metadata)
    app = application(db, database_url)
    Linkback(app, db)
    with app.app_context():
        db.create_all()
        copied = db.metadata.tables["linkback_host"]
        with db.engine.begin() as connection:
            now = sa.func.now()
            values = {"name": "a.example", "fetches": [], "leases": [], "changed_at": now}
            connection.execute(sa.insert(copied).values(**values))
        with app.extensions["linkback"].new_session() as session:
            host = session.execute(sa.text("SELECT name FROM linkback_host")).scalar_one()
        assert host == "a.example"
        db.engine.dispose()
