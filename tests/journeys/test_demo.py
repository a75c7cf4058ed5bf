"""The demo, as everybody starts it."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.thorough import some

ROOT = Path(__file__).parents[2]
SECONDS = 60

NEVER = """
import sys
from example import demo

def one_blog_dies(cast):
    "One blog dies"
    cast.lamplight.process.kill()
    cast.stage.wait_for(cast.low_tide, "mention_verified")

demo.SCENES = (one_blog_dies,)
sys.exit(demo.main(["--once"]))
"""


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def staying_demo(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int], str]]:
    """Start the demo and yield it with the ports of its blogs, as soon as it invites to have a look.

    And with all that it said.
    """
    with start(tmp_path, "-m", "example.demo") as demo:
        try:
            assert demo.stdout is not None
            seen = ""
            for line in demo.stdout:
                seen += line
                if "Ctrl-C" in line:
                    break
            ports = dict.fromkeys(re.findall(r"127\.0\.0\.1:(\d+)/", seen))
            yield demo, [int(port) for port in ports], seen
        finally:
            demo.kill()


def is_open(port: int) -> bool:
    with contextlib.closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def steps(output: str) -> list[Any]:
    """Return the timeline, a list of (seconds, word, blog) for each scene."""
    line = re.compile(r"^ *(\d+\.\d{3}) s  (\w+(?: \w+)?) +(Low Tide|Lamplight)", re.MULTILINE)
    return [
        [(float(seconds), word, blog) for seconds, word, blog in line.findall(scene)]
        for scene in re.split(r"^\d\. ", output, flags=re.MULTILINE)[1:]
    ]


def test_two_blogs_tell_each_other(tmp_path: Path) -> None:
    with start(tmp_path, "-m", "example.demo", "--once") as demo:
        output, errors = demo.communicate(timeout=SECONDS)
    assert demo.returncode == 0, errors
    assert errors == ""
    first, second, *others = steps(output)
    assert [step[1:] for step in first] == [
        ("published", "Lamplight"),
        ("discovered", "Low Tide"),
        ("told", "Low Tide"),
        ("verified", "Low Tide"),
        ("approved", "Low Tide"),
        ("shown", "Low Tide"),
    ]
    assert [step[1:] for step in second] == [
        ("published", "Low Tide"),
        ("discovered", "Lamplight"),
        ("told", "Lamplight"),
        ("verified", "Lamplight"),
        ("waits", "Lamplight"),
        ("approved", "Lamplight"),
        ("shown", "Lamplight"),
    ]
    assert [scene[-1][1:] for scene in others] == [
        ("shown", "Lamplight"),  # a like
        ("removed", "Lamplight"),  # its link is gone
        ("removed", "Lamplight"),  # its page is gone
        ("left out", "Low Tide"),  # by its filter, after the other listeners
        ("shown", "Lamplight"),  # by a hub
    ]
    at = {word: seconds for seconds, word, _ in others[-1]}
    assert list(at) == ["asked", "confirmed", "published", "pinged", "delivered", "shown"]
    assert at["shown"] - at["published"] < 1
    for scene in (first, second, *others):
        assert scene[0][0] == 0
        assert scene == sorted(scene, key=lambda step: step[0])
    assert "LINKBACK_ALLOW_NETWORKS=127.0.0.0/8" in output
    assert "\033" not in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", some([signal.SIGINT, signal.SIGTERM], each=2))
def test_a_signal_ends_it_and_nothing_is_left(tmp_path: Path, number: signal.Signals) -> None:
    with staying_demo(tmp_path) as (demo, ports, said):
        assert len(ports) == 2
        assert all(is_open(port) for port in ports)
        admins_open_by_the_password_of_this_run(ports, said)
        demo.send_signal(number)
        _, errors = demo.communicate(timeout=SECONDS)
    assert demo.returncode == 0, errors
    assert errors == ""
    assert not any(is_open(port) for port in ports)
    assert list(tmp_path.iterdir()) == []


def admins_open_by_the_password_of_this_run(ports: list[int], said: str) -> None:
    """Fail unless each blog's admin opens by the password that was said, and by no other."""
    (password,) = re.findall(r"the password of this run: (\S+)$", said, re.MULTILINE)
    addresses = re.findall(r"(http://\S+/linkback/admin/)", said)
    assert [f"http://127.0.0.1:{port}/linkback/admin/" for port in ports] == addresses
    for address in addresses:
        for given, status in ((password, 200), (password[:-1], 401), ("", 401)):
            assert knock(address, f"ada:{given}") == status
        assert knock(address, "") == 401
    assert knock(f"{addresses[0]}subscribers/1", f"ada:{password}") == 200  # who followed
    assert knock(f"{addresses[1]}subscriptions/1", f"ada:{password}") == 200
    assert len(password) >= 12


def knock(address: str, credentials: str) -> int:
    """Return the status that somebody with these credentials is answered."""
    headers = {"Authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}
    client = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with client.open(urllib.request.Request(address, headers=headers), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_no_blog_outlives_a_killed_demo(tmp_path: Path) -> None:
    with staying_demo(tmp_path) as (demo, ports, _):
        demo.kill()
        demo.communicate(timeout=SECONDS)
        pause = threading.Event()
        for _ in range(200):
            if not any(is_open(port) for port in ports):
                return
            pause.wait(0.05)
    pytest.fail("A blog is still there.")


def test_failure_is_told(tmp_path: Path) -> None:
    with start(tmp_path, "-c", NEVER) as demo:
        output, errors = demo.communicate(timeout=SECONDS)
    assert demo.returncode == 1
    assert "1. One blog dies" in output
    assert "The demo failed. Lamplight said 'ended'" in errors
    assert list(tmp_path.iterdir()) == []
