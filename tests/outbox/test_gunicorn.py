"""Under gunicorn each worker process works, and the master does not."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from flask_linkback import models
from tests.apps import Blog
from tests.outbox.helpers import all_done, noted, process, said, wait_until

# without its control socket, which has a thread of its own in the master
GUNICORN = (
    *("-m", "gunicorn", "--preload", "-w", "4", "-b", "127.0.0.1:0", "--no-control-socket"),
    "tests.outbox.works:create_app()",
)


def ask(address: str, path: str, *, method: str = "GET") -> bytes:
    request = urllib.request.Request(address + path, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()  # type: ignore[no-any-return]


def test_each_worker_process_has_one_thread_and_the_master_none(blog: Blog, tmp_path: Path) -> None:
    """The application uses the database before the fork, as those do that create their tables."""
    log = tmp_path / "log"
    with process(blog, log, *GUNICORN, settings={"RUNNER": "thread"}) as master:
        found = wait_until(lambda: re.search(r"Listening at: (\S+) \((\d+)\)", said(log).read_text()), 30)
        address = found[1]
        assert int(found[2]) == master.pid
        seen: dict[int, Any] = {}

        def all_seen() -> bool:
            answer = json.loads(ask(address, "/threads"))
            seen[answer["pid"]] = answer
            return len(seen) == 4

        wait_until(all_seen, 30)
        for answer in seen.values():
            assert answer["threads"].count("linkback-worker") == 1
            assert answer["parent"] == master.pid
        assert master.pid not in seen

        for _ in range(20):
            ask(address, "/owe/5", method="POST")
        wait_until(lambda: len(noted(log)) == 100)
        wait_until(lambda: all_done(blog.site))
        assert set(Counter(each["id"] for each in noted(log)).values()) == {1}
        seen.clear()
        wait_until(all_seen, 30)
        for answer in seen.values():
            assert answer["threads"].count("linkback-worker") == 1

        assert len(list(Path(f"/proc/{master.pid}/task").iterdir())) == 1
        master.send_signal(signal.SIGTERM)
        assert master.wait(30) == 0
    with blog.site.new_session() as session:
        left = session.scalars(sa.select(models.Worker.pid)).all()
    assert left == [], "a worker that is told to stop says goodbye"
