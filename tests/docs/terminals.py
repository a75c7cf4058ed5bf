"""Terminals: runs what a page tells its readers to type, in real processes."""

from __future__ import annotations

import os
import queue
import shlex
import subprocess
import sysconfig
import threading
import urllib.request
from pathlib import Path
from typing import Self

_READY = "Running on "


class Terminal:
    """A shell in a directory: ``export``, ``curl URL`` and commands; a server stays in the background."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLASK_")}
        path = os.pathsep.join((sysconfig.get_path("scripts"), inherited.get("PATH", "")))
        self.environment = {**inherited, "PATH": path, "PYTHONUNBUFFERED": "1", **environment}
        self.servers: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.terminate()
        for server in self.servers:
            server.communicate(timeout=40)

    def type(self, command: str) -> str:
        """Run one command and return what it says; AssertionError when it fails."""
        words = shlex.split(command)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.environment[name] = value
            return ""
        if words[0] == "curl":
            with urllib.request.urlopen(words[1], timeout=30) as response:
                return str(response.read(), "utf-8")
        if "run" in words:
            return self._serve(words)
        ran = subprocess.run(
            words,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, f"$ {command}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def _serve(self, words: list[str]) -> str:
        server = subprocess.Popen(
            words,
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.servers.append(server)
        said: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        def listen() -> None:
            assert server.stdout is not None
            for line in server.stdout:
                said.put(line)
            said.put(None)

        threading.Thread(target=listen, daemon=True).start()
        lines = ""
        while (line := said.get(timeout=30)) is not None:
            lines += line
            if _READY in line:
                return lines
        raise AssertionError(f"$ {shlex.join(words)}\n{lines}")
