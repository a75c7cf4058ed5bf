"""Apps: a blog with linkbacks, as small as a test wants it."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from flask import Flask, abort, render_template_string
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateIndex, CreateTable
from werkzeug.serving import BaseWSGIServer, make_server

from flask_linkback import CallbackView, Linkback
from flask_linkback.outbox.worker import Runner
from flask_linkback.site import Site

PAGE = """<!doctype html><html><head><title>{{ post.title }}</title>{{ linkback_head() }}</head>
<body><article><p>{{ post.html | safe }}</p></article>
{% from "linkback/macros.html" import pingback_list %}{{ pingback_list(post) }}</body></html>"""


@dataclass
class Blog:
    """An application, its database, its extension and its one model."""

    app: Flask
    db: SQLAlchemy
    linkback: Linkback
    Post: Any
    base_url: str
    server: BaseWSGIServer | None = None
    thread: threading.Thread | None = None
    started: list[Any] = field(default_factory=list)

    @property
    def site(self) -> Site:
        return self.app.extensions["linkback"]  # type: ignore[no-any-return]

    def add(self, slug: str, **values: Any) -> Any:
        """Add a post in the current context and commit."""
        post = self.Post(**{"slug": slug, "title": f"About {slug}", "html": "", **values})
        self.db.session.add(post)
        self.db.session.commit()
        return post

    def url(self, slug: str) -> str:
        return f"{self.base_url}/post/{slug}"

    def serve(self) -> None:
        """Serve it for real; the base URL must be that of `free_address`."""
        host, port = self.base_url.removeprefix("http://").split(":")
        self.server = make_server(host, int(port), self.app, threaded=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.site.get(Runner).stop(10)
        if self.server is not None and self.thread is not None:
            self.server.shutdown()
            self.thread.join(10)
            self.server.server_close()
        with self.app.app_context():
            self.db.session.remove()
            for engine in self.db.engines.values():
                engine.dispose()
        self.site.fetch.close()


def create_tables(db: SQLAlchemy) -> None:
    """Create the tables that are not there; in an SQLite file in one transaction, which is soon done."""
    if db.engine.dialect.name == "postgresql":
        if not sa.inspect(db.engine).has_table("post"):
            db.create_all()
        return
    with contextlib.closing(db.engine.raw_connection()) as connection:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            connection.executescript(f"BEGIN; {definition(db)}; COMMIT")


def definition(db: SQLAlchemy) -> str:
    """All tables and indexes in SQL."""
    tables = db.metadata.sorted_tables
    indexes = [
        index for table in tables for index in sorted(table.indexes, key=lambda index: str(index.name))
    ]
    statements = [*map(CreateTable, tables), *map(CreateIndex, indexes)]
    return ";".join(str(statement.compile(dialect=db.engine.dialect)) for statement in statements)


def make_blog(
    database_url: str,
    *,
    base_url: str = "https://blog.example",
    testing: bool = True,
    content: Any = "html",
    callback_view: type[CallbackView] = CallbackView,
    **settings: Any,
) -> Blog:
    """Make a blog whose posts accept linkbacks and send them."""

    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)
    linkback = Linkback(db=db, callback_view=callback_view)

    class Post(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        slug: Mapped[str] = mapped_column(unique=True)
        title: Mapped[str] = mapped_column(default="")
        html: Mapped[str] = mapped_column(default="")
        closed: Mapped[bool] = mapped_column(default=False)

        def url(self) -> str:
            return f"/post/{self.slug}"

        def is_open(self) -> bool:
            return not self.closed

    app = Flask(__name__)
    app.config.update(
        TESTING=testing,
        SECRET_KEY="test",
        SQLALCHEMY_DATABASE_URI=database_url,
        LINKBACK_BASE_URL=base_url,
        LINKBACK_ALLOW_NETWORKS="127.0.0.0/8",
        LINKBACK_ALLOW_PORTS="any",
    )
    app.config.update({f"LINKBACK_{name}": value for name, value in settings.items()})
    db.init_app(app)
    linkback.init_app(app)

    @app.get("/post/<slug>")
    def post(slug: str) -> str:
        found = load(slug)
        if found is None:
            abort(404)
        return render_template_string(PAGE, post=found)

    @app.get("/about")
    def about() -> str:
        return "<title>About</title>"

    @linkback.target("post", model=Post, url="url", accepts="is_open")
    def load(slug: str) -> Any:
        return db.session.scalar(db.select(Post).filter_by(slug=slug))

    if content is not None:
        linkback.ping_external_links(Post, content=content, url="url")
    with app.app_context():
        create_tables(db)
    return Blog(app=app, db=db, linkback=linkback, Post=Post, base_url=base_url)


def protected(database_url: str, first: str, **settings: Any) -> tuple[Flask, SQLAlchemy]:
    """Make an application with CSRFProtect, which is put into it before the extension or after it."""
    app = Flask(__name__)
    app.config.update(
        TESTING=True,
        SECRET_KEY="x",
        SQLALCHEMY_DATABASE_URI=database_url,
        LINKBACK_BASE_URL="https://blog.example",
        **{f"LINKBACK_{name}": value for name, value in settings.items()},
    )
    db = SQLAlchemy(app)
    protect, linkback = CSRFProtect(), Linkback(db=db)
    for each in (protect, linkback) if first == "csrf" else (linkback, protect):
        each.init_app(app)
    app.add_url_rule("/own", "own", lambda: "own", methods=["POST"])
    assert app.test_client().post("/own").status_code == 400  # it works
    return app, db


def mounted(database_url: str, blueprint: str, mount: dict[str, Any] | None) -> tuple[Flask, SQLAlchemy]:
    """Make an application that mounts one of the blueprints itself, with a page that accepts linkbacks."""
    app = Flask(__name__, subdomain_matching=True)
    app.config.update(
        TESTING=True,
        SERVER_NAME="blog.example",
        PREFERRED_URL_SCHEME="https",
        SQLALCHEMY_DATABASE_URI=database_url,
    )
    db = SQLAlchemy(app)
    linkback = Linkback(app, db, blueprints=())
    if mount is not None:
        app.register_blueprint(linkback.blueprints[blueprint], **mount)
    app.add_url_rule("/page", "page", lambda: render_template_string("{{ linkback_head() }}"))
    linkback.target("page")(lambda: "page")
    with app.app_context():
        db.create_all()
    return app, db
