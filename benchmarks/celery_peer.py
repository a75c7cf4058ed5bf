"""Celery: the same deliveries as tasks in Redis, sent by one requests.Session in each process."""

from __future__ import annotations

import os
from typing import Any

import requests
from celery import Celery
from requests.adapters import HTTPAdapter

from .receiver import HOSTS, sign

__all__ = ["BROKER", "QUEUE", "app", "deliver"]

BROKER = "LINKBACK_BENCHMARK_BROKER"
QUEUE = "LINKBACK_BENCHMARK_QUEUE"
LATE = "LINKBACK_BENCHMARK_ACKS_LATE"
PREFETCH = "LINKBACK_BENCHMARK_PREFETCH"

app = Celery("benchmarks", broker=os.environ.get(BROKER))
app.conf.update(
    task_default_queue=os.environ.get(QUEUE, "celery"),
    task_ignore_result=True,
    task_acks_late=os.environ.get(LATE) == "yes",
    task_reject_on_worker_lost=os.environ.get(LATE) == "yes",
    worker_prefetch_multiplier=int(os.environ.get(PREFETCH, "4")),
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
)

# made before the first task and never after a fork: its connections are made by whoever asks first
session = requests.Session()
# one pool for each host, instead of the ten that are kept by default
session.mount("http://", HTTPAdapter(pool_connections=HOSTS, pool_maxsize=8))


@app.task(bind=True, max_retries=7)  # type: ignore[untyped-decorator]
def deliver(self: Any, url: str, number: int, body: str) -> None:
    """Sign the body and post it; come back later when it is not taken."""
    data = body.encode()
    headers = {
        "Content-Type": "application/json",
        "X-Delivery": str(number),
        "X-Hub-Signature": sign(data),
    }
    try:
        session.post(url, data=data, headers=headers, timeout=10).raise_for_status()
    except requests.RequestException as error:
        raise self.retry(exc=error, countdown=5) from error
