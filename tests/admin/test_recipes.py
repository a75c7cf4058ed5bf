"""Recipes: what the documentation says about who comes in lets in whom it should, and nobody else."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from flask_login import LoginManager, UserMixin, login_user
from flask_security import Security, SQLAlchemyUserDatastore
from flask_security.models import fsqla_v3

from flask_linkback.models import Audit
from tests.admin.conftest import PREFIX, Visitor
from tests.admin.stock import fill
from tests.apps import Blog
from tests.docs.blocks import page_blocks


def follow(recipe: str, blog: Blog) -> None:
    """Do what the page says."""
    (code,) = (block.code for block in page_blocks("howto/admin.rst") if f"recipe-{recipe}" in block.classes)
    exec(compile(code, recipe, "exec"), {"app": blog.app, "db": blog.db, "linkback": blog.linkback})


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Iterator[Blog]:
    """A blog whose admin is closed as yet, with something to see."""
    made = blogs(sqlite_url, RUNNER="off")
    with made.app.app_context():
        fill(made, 9)
    return made


def decide(visitor: Visitor) -> None:
    """Decide about a mention, which has to work."""
    assert visitor.send("/mentions/1", "decide", status="spam").status_code == 200


def who_decided(blog: Blog) -> str:
    with blog.app.app_context():
        newest = sa.select(Audit.who).where(Audit.action == "moderate").order_by(Audit.id.desc()).limit(1)
        return blog.db.session.scalars(newest).one()


# --- Flask-Login -------------------------------------------------------------------------------------


class User(UserMixin):
    """Somebody who has a name, and maybe a right."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.is_admin = name == "ada"
        self.organisation = {"ann": "acme", "olga": "other"}.get(name)


@pytest.fixture
def logins(blog: Blog) -> Blog:
    manager = LoginManager(blog.app)
    manager.login_view = "login"
    manager.user_loader(User)

    @blog.app.get("/login", defaults={"name": ""})
    @blog.app.get("/login/<name>")
    def login(name: str) -> str:
        login_user(User(name))
        return "in"

    return blog


def test_flask_login(logins: Blog) -> None:
    follow("flask-login", logins)
    visitor = Visitor(logins)
    answer = visitor.get("/")
    assert (answer.status_code, answer.location.partition("?")[0]) == (302, "/login")
    assert answer.headers["Cache-Control"] == "no-store"
    visitor.client.get("/login/bob")
    assert visitor.get("/mentions").status_code == 403
    visitor.client.get("/login/ada")
    decide(visitor)
    assert who_decided(logins) == "ada"
    assert logins.app.test_client().get("/about").status_code == 200  # the rest of the site asks nobody


def test_a_portal_shows_each_tenant_its_own(logins: Blog) -> None:
    follow("portal", logins)
    portal, admin = Visitor(logins, "/portal"), Visitor(logins)
    assert portal.get("/").status_code == 403
    for name, own, others in (("ann", "site2.example", "site7.example"), ("olga", "site7.example", "site2.")):
        portal.client.get(f"/login/{name}")
        page = portal.text("/")
        assert f"https://{own}" in page  # a listener in trouble
        assert f"https://{others}" not in page
        assert f'href="{PREFIX}' not in page  # it leads nowhere else
        for path in ("/mentions", "/mentions/1", "/subscriptions", "/hub", "/jobs", "/jobs/1"):
            assert portal.get(path).status_code == 403
    portal.client.get("/login/bob")
    assert portal.get("/").status_code == 403  # of no organisation
    admin.client.get("/login/ada")
    assert admin.get("/mentions").status_code == 200
    admin.client.get("/login/ann")
    assert admin.get("/").status_code == 403


# --- Flask-Security ----------------------------------------------------------------------------------


@pytest.fixture
def roles(blog: Blog) -> Blog:
    """The same, with Flask-Security's users: Ada is an admin, Sam of the staff, Bob is neither."""
    db = blog.db
    fsqla_v3.FsModels.set_db_info(db)

    class Role(db.Model, fsqla_v3.FsRoleMixin):  # type: ignore[name-defined,misc]
        pass

    class User(db.Model, fsqla_v3.FsUserMixin):  # type: ignore[name-defined,misc]
        pass

    blog.app.config.update(
        SECURITY_PASSWORD_SALT="salt", SECURITY_EMAIL_VALIDATOR_ARGS={"test_environment": True}
    )
    store = SQLAlchemyUserDatastore(db, User, Role)
    Security(blog.app, store, register_blueprint=False)
    with blog.app.app_context():
        db.create_all()
        for name, role in (("ada", "admin"), ("sam", "staff"), ("bob", "reader")):
            store.create_user(
                email=f"{name}@blog.example", roles=[store.create_role(name=role)], password="x"
            )
        db.session.commit()

    @blog.app.get("/login/<name>")
    def login(name: str) -> str:
        from flask_security import login_user

        login_user(store.find_user(email=f"{name}@blog.example"))
        return "in"

    return blog


def test_flask_security(roles: Blog) -> None:
    follow("flask-security", roles)
    visitor = Visitor(roles)
    assert visitor.get("/").status_code == 403
    visitor.client.get("/login/bob")
    assert visitor.get("/").status_code == 403
    visitor.client.get("/login/sam")
    page = visitor.text("/mentions/1")
    assert "Approve" not in page
    visitor.client.get("/login/ada")
    decide(visitor)
    assert who_decided(roles) == "ada@blog.example"


# --- HTTP basic --------------------------------------------------------------------------------------


def basic(said: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(said.encode()).decode()}


def test_http_basic(blog: Blog) -> None:
    follow("http-basic", blog)
    client = blog.app.test_client()
    right = basic("ada:correct horse é")
    assert client.get(f"{PREFIX}/", headers=right).status_code == 401  # there is no password yet
    assert client.get(f"{PREFIX}/", headers=basic("ada:")).status_code == 401
    blog.app.config["ADMIN_PASSWORD"] = "correct horse é"
    for headers in (
        {},
        basic("ada:wrong"),
        basic("ada:"),
        basic("ada"),
        {"Authorization": "Bearer correct horse é".encode().decode("latin-1")},
        {"Authorization": "Basic %%%"},
    ):
        for method, path in (("GET", "/"), ("GET", "/mentions/1"), ("POST", "/mentions/1")):
            answer = client.open(f"{PREFIX}{path}", method=method, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")
            assert answer.headers["Cache-Control"] == "no-store"
    assert client.get("/about").status_code == 200
    visitor = Visitor(blog)
    visitor.client.environ_base["HTTP_AUTHORIZATION"] = right["Authorization"]
    decide(visitor)
    assert who_decided(blog) == "ada"


def test_each_recipe_is_tried() -> None:
    named = {name for block in page_blocks("howto/admin.rst") for name in block.classes if "recipe" in name}
    assert named == {"recipe-flask-login", "recipe-flask-security", "recipe-http-basic", "recipe-portal"}
