"""Does the page on logging name every logger that there is?"""

from __future__ import annotations

import re
from pathlib import Path

import flask_linkback

PACKAGE = Path(flask_linkback.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "logging.rst"


def test_every_logger_has_a_row_and_every_row_a_logger() -> None:
    loggers: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        module = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
        for name in re.findall(r"logging\.getLogger\((.*?)\)", file.read_text()):
            loggers.add(module if name == "__name__" else name.strip('"'))
    rows = re.findall(r"^   \* - ``(.*?)``$", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(loggers)
