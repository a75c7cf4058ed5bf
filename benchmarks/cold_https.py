"""Cold HTTPS: the first delivery to each of 200 hosts, certificates checked, for each second of CPU.

Both sides sign and post the same body over new connections, and trust the same bundle: that of
certifi, and the authority of the receivers. Only the CPU time of the client's side counts, its
reading of the bundle included.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from flask_linkback.fetch import Fetcher

from .receiver import HOSTS, address, sign
from .runner import Benchmark, NotHere, Ratio, Scale, Ways
from .sites import BODY, Place, own_site
from .tls_receiver import tls_receiving, write_certificates

__all__ = ["BENCHMARKS"]

Post = Callable[[str, bytes, dict[str, str]], int]


def _post_to_all(post: Post, port: int, hosts: int) -> None:
    body = BODY.encode()
    for number in range(hosts):
        headers = {"Content-Type": "application/json", "X-Hub-Signature": sign(body)}
        status = post(f"https://{address(number)}:{port}/hook", body, headers)
        if status != 200:
            raise SystemExit(f"The receiver answers {status}.")


def by_door(place: Place, port: int, hosts: int) -> float:
    began = time.process_time()
    fetcher = Fetcher(place.site.settings)
    _post_to_all(lambda url, body, headers: fetcher.post(url, body, headers=headers).status, port, hosts)
    took = time.process_time() - began
    fetcher.close()
    return hosts / took


def by_requests(bundle: Path, port: int, hosts: int) -> float:
    import requests

    began = time.process_time()
    with requests.Session() as session:

        def post(url: str, body: bytes, headers: dict[str, str]) -> int:
            return session.post(url, data=body, headers=headers, verify=str(bundle), timeout=10).status_code

        _post_to_all(post, port, hosts)
        took = time.process_time() - began
    return hosts / took


@contextlib.contextmanager
def ways(scale: Scale) -> Iterator[Ways]:
    hosts = scale.of(HOSTS, 20)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="linkback-bench-")))
        try:
            bundle = write_certificates(directory, hosts)
            import requests  # noqa: F401
        except ImportError as error:
            raise NotHere(f"{error.name} is not installed: pip install Flask-Linkback[bench]") from None
        port = stack.enter_context(tls_receiving(directory, hosts))
        place = stack.enter_context(own_site("SQLite", CA_BUNDLE=str(bundle)))
        yield {
            "Fetcher": partial(by_door, place, port, hosts),
            "requests.Session": partial(by_requests, bundle, port, hosts),
        }


BENCHMARKS = (
    Benchmark(
        name="cold_https",
        title="Cold HTTPS to 200 hosts, per CPU-second",
        unit="deliveries/CPU-s",
        better="more",
        ways=ways,
        ratios=[Ratio(what="Fetcher ÷ requests.Session", of="Fetcher", to="requests.Session", at_least=10)],
    ),
)
