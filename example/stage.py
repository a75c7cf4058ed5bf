"""Stage: what the scenes of the demo are made of. Blogs in processes, what they say, a timeline."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TextIO

from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Request, Response

__all__ = ["Answering", "Blog", "DemoError", "Event", "Stage"]

ROOT = Path(__file__).parents[1]
Event = dict[str, Any]


class DemoError(Exception):
    """The demo did not go as it should; the message says why."""


class Blog:
    """The example in a process and on a port of its own, with a database in a folder."""

    def __init__(self, name: str, folder: Path, hear: Callable[[Blog, Event], None], **settings: Any) -> None:
        self.name = name
        self._hear = hear
        self._database = folder / f"{name}.db"
        self._log = folder / f"{name}.log"
        self._socket = socket.create_server(("127.0.0.1", 0))  # known before the process starts
        port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        settings = {
            "LINKBACK_BASE_URL": self.url,
            "LINKBACK_SITE_NAME": name,
            "SECRET_KEY": os.urandom(16).hex(),
            "SESSION_COOKIE_NAME": f"session-{port}",  # cookies do not tell ports apart
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{self._database}",
            **settings,
        }
        # the same door that everybody has: app.config.from_prefixed_env()
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("FLASK_")}
        self._environment |= {f"FLASK_{key}": json.dumps(value) for key, value in settings.items()}
        self._browser = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor()
        )

    # --- the process ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with self._socket, self._log.open("w") as log:
            number = self._socket.fileno()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "example.serve", str(number)],
                cwd=ROOT,
                env=self._environment,
                pass_fds=[number],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for the demo, which ends its blogs itself
            )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=[self.process.stdout], daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the process; not by force, unless it does not listen."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()

    def _read(self, lines: TextIO) -> None:
        with lines:
            for line in lines:
                self._hear(self, json.loads(line))
        self._hear(self, {"name": "ended", "at": time.time()})

    def log(self) -> str:
        """Return the end of what the process wrote on standard error."""
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""

    # --- its doors -----------------------------------------------------------------------------------

    def get(self, url: str) -> str:
        """Return one of its pages, by URL or path."""
        return self._open(url)[1]

    def submit(self, url: str, action: str = "", **fields: str) -> str:
        """Open a page and send its form, as a browser does; return the URL that it leads to."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.get(url))
        if token is None:
            raise DemoError(f"{self.name} shows no form at {url}")
        data = urllib.parse.urlencode({"csrf_token": token[1], **fields}).encode()
        return self._open(action or url, data)[0]

    def write(self, *, title: str, html: str = "", in_reply_to: str = "", like_of: str = "") -> str:
        """Publish a post, which may be a reply or a like; return its URL."""
        return self.submit("/desk/write", title=title, html=html, in_reply_to=in_reply_to, like_of=like_of)

    def edit(self, url: str, **fields: str) -> str:
        """Change a post: all that it is to have; a link that its text has no more is gone."""
        return self.submit(f"/desk/write/{self._slug(url)}", **fields)

    def delete(self, url: str) -> str:
        """Delete a post."""
        slug = self._slug(url)
        return self.submit(f"/desk/write/{slug}", f"/desk/delete/{slug}")

    def command(self, *words: str) -> str:
        """Run a ``flask --app example`` command of this blog and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "example", *words],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if done.returncode:
            raise DemoError(f"flask {words[0]} of {self.name} failed: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()

    def created_at(self, post_url: str) -> float:
        """Return when a post was written, from its row."""
        slug = urllib.parse.unquote(self._slug(post_url))
        with contextlib.closing(sqlite3.connect(self._database)) as database:
            (text,) = database.execute("SELECT created_at FROM post WHERE slug = ?", [slug]).fetchone()
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    @staticmethod
    def _slug(url: str) -> str:
        return url.rpartition("/")[2]

    def _open(self, url: str, data: bytes | None = None) -> tuple[str, str]:
        try:
            with self._browser.open(urllib.parse.urljoin(self.url, url), data, timeout=10) as answer:
                return answer.url, answer.read().decode()
        except (OSError, urllib.error.URLError) as error:
            raise DemoError(f"{self.name} does not answer at {url}: {error}") from None


class Answering:
    """A server that has an address, and answers 204 as soon as it is told to begin."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        self._server: BaseWSGIServer | None = None

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Take whatever is posted from now on."""
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
        self._socket.listen()
        port = self._socket.getsockname()[1]
        self._server = make_server("127.0.0.1", port, _take, threaded=True, fd=self._socket.fileno())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._socket.close()


@Request.application
def _take(request: Request) -> Response:
    return Response(status=204)


class Stage:
    """The blogs that play, what they said, and the timeline on the terminal."""

    def __init__(self, folder: Path, *, seconds: float = 30, colours: bool = False) -> None:
        self.seconds = seconds
        """How long a scene may take."""
        self.blogs: list[Blog] = []
        self._folder = folder
        self._colours = colours
        self._said: list[tuple[Blog, Event]] = []
        self._changed = threading.Condition()
        self._first = 0  # what the scene has to do with begins here
        self._began: float | None = None
        self._deadline = 0.0

    def blog(self, name: str, **settings: Any) -> Blog:
        """Return one more blog, with settings of its own; entering it starts it."""
        blog = Blog(name, self._folder, self._hear, **settings)
        self.blogs.append(blog)
        return blog

    # --- timeline ------------------------------------------------------------------------------------

    def begin(self, title: str) -> None:
        """Begin a scene: its clock starts with its first step."""
        self._first = len(self._said)
        self._began = None
        self._deadline = time.monotonic() + self.seconds
        self.say(f"\n{self.paint(title, '1')}")

    def step(self, word: str, blog: Blog, text: str, *, at: float) -> None:
        """Write a line of the timeline; ``at`` is when it happened."""
        if self._began is None:
            self._began = at
        seconds = self.paint(f"{at - self._began:7.3f} s", "2")
        self.say(f"{seconds}  {self.paint(f'{word:<10}', '36')}  {blog.name:<9}  {text}")

    def say(self, text: str = "") -> None:
        print(text, flush=True)

    def paint(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._colours else text

    # --- what happens --------------------------------------------------------------------------------

    def wait_for(
        self,
        blog: Blog,
        name: str,
        *,
        unless: Collection[str] = ("link_failed", "mention_removed"),
        **wanted: Any,
    ) -> Event:
        """Return the event of a blog with this name and these values, as soon as it has happened.

        Of a row only what is given has to match: ``mention={"source": url}``. What `serve` says is
        what there is. An event of any blog that is named in ``unless``, the end of a blog and the
        end of the scene's time raise `DemoError`.
        """
        seen = self._first
        with self._changed:
            while True:
                for speaker, event in self._said[seen:]:
                    if speaker is blog and event["name"] == name and matches(event, wanted):
                        return event
                    if event["name"] in (*unless, "ended"):
                        reason = event.get("reason", "see what it wrote")
                        raise DemoError(f"{speaker.name} said {event['name']!r}: {reason}")
                seen = len(self._said)
                if not self._changed.wait(max(0.0, self._deadline - time.monotonic())):
                    said = ", ".join(
                        f"{who.name} {event['name']}" for who, event in self._said[self._first :]
                    )
                    raise DemoError(
                        f"{blog.name} did not say {name!r} within {self.seconds:g} s. "
                        f"What was said: {said or 'nothing'}."
                    )

    def look_for(self, blog: Blog, text: str) -> None:
        """Return as soon as the front page of a blog has this text; raise `DemoError` if it never does."""
        never = threading.Event()
        while text not in blog.get("/"):
            if time.monotonic() > self._deadline:
                raise DemoError(f"{blog.name} does not show {text} within {self.seconds:g} s.")
            never.wait(0.02)

    def stay(self) -> None:
        """Wait until a blog ends."""
        with self._changed:
            self._changed.wait_for(lambda: any(event["name"] == "ended" for _, event in self._said))

    def _hear(self, blog: Blog, event: Event) -> None:
        with self._changed:
            self._said.append((blog, event))
            self._changed.notify_all()


def matches(value: Any, wanted: Any) -> bool:
    """Does a value have all that is wanted, and maybe more?"""
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            matches(value.get(key), each) for key, each in wanted.items()
        )
    return bool(value == wanted)
