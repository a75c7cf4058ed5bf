"""People: an application with one model, as in the examples of webhooks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_linkback import Linkback
from flask_linkback.models import Event, Listener
from flask_linkback.outbox.worker import Runner
from flask_linkback.webhooks.hooks import ModelHook
from tests.neighbours import Neighbour, Request
from tests.pingback.tools import Clock


@dataclass
class People:
    """An application, its database, its extension, its model and the hook on that."""

    app: Flask
    db: SQLAlchemy
    linkback: Linkback
    Person: Any
    PersonHook: Any

    def add(self, **values: Any) -> Any:
        """Add a person and commit."""
        person = self.Person(**values)
        self.db.session.add(person)
        self.db.session.commit()
        return person

    def work(self) -> int:
        return self.linkback.run_until_idle()

    def close(self) -> None:
        site = self.app.extensions["linkback"]
        site.get(Runner).stop(10)
        with self.app.app_context():
            self.db.session.remove()
            self.db.engine.dispose()
        site.fetch.close()


def make_people(database_url: str, clock: Clock | None = None, **settings: Any) -> People:
    """Make the application of durian's example: a person has a name, an address and a secret."""

    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)
    linkback = Linkback(db=db)

    class Person(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        address: Mapped[str] = mapped_column(default="")
        secret: Mapped[str] = mapped_column(default="")

    @linkback.hooks.register
    class PersonHook(ModelHook):
        name = "person"
        model = Person
        provides_args = ("name", "address")

    app = Flask(__name__)
    app.config.update(
        TESTING=True,
        SECRET_KEY="test",
        SQLALCHEMY_DATABASE_URI=database_url,
        LINKBACK_BASE_URL="https://people.example",
        LINKBACK_ALLOW_NETWORKS="127.0.0.0/8",
        LINKBACK_ALLOW_PORTS="any",
        LINKBACK_RUNNER="off",
    )
    app.config.update({f"LINKBACK_{name}": value for name, value in settings.items()})
    db.init_app(app)
    linkback.init_app(app)
    with app.app_context():
        db.create_all()
    if clock is not None:
        app.extensions["linkback"].now = clock
    return People(app=app, db=db, linkback=linkback, Person=Person, PersonHook=PersonHook)


def events(db: SQLAlchemy) -> list[Event]:
    """Return all events, the oldest first."""
    return list(db.session.scalars(db.select(Event).order_by(Event.id)))


def listeners(db: SQLAlchemy) -> list[Listener]:
    return list(db.session.scalars(db.select(Listener).order_by(Listener.id)))


def bodies(neighbour: Neighbour) -> list[dict[str, Any]]:
    """Return what a listener was sent."""
    return [json.loads(request.body) for request in neighbour.requests]


def only(requests: list[Request]) -> Request:
    (one,) = requests
    return one
