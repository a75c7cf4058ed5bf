"""Served: the tests' blog as ``flask --app tests.cli.served`` finds it.

What `make_blog` takes comes as JSON in the environment.
"""

from __future__ import annotations

import json
import os

from tests.apps import make_blog

blog = make_blog(**json.loads(os.environ["LINKBACK_TEST_BLOG"]))
app = blog.app
