"""Flask-WebSub: its hub with Celery, on SQLite as it comes."""

from __future__ import annotations

import os

from celery import Celery
from flask_websub.hub import Hub, SQLite3HubStorage

__all__ = ["BROKER", "QUEUE", "STORAGE", "app", "hub"]

BROKER = "LINKBACK_BENCHMARK_BROKER"
QUEUE = "LINKBACK_BENCHMARK_QUEUE"
STORAGE = "LINKBACK_BENCHMARK_STORAGE"

app = Celery("benchmarks-hub", broker=os.environ.get(BROKER))
app.conf.update(
    task_default_queue=os.environ.get(QUEUE, "celery"),
    task_ignore_result=True,
    worker_prefetch_multiplier=32,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
)
storage = SQLite3HubStorage(os.environ.get(STORAGE, ":memory:"))
hub = Hub(storage, app, SIGNATURE_ALGORITHM="sha256", REQUEST_TIMEOUT=10)
