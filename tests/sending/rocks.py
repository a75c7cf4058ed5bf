"""Rocks: what webmention.rocks serves to those who send, as a neighbour.

From its lib/Rocks/*TestData.php and controllers at 7b97198: each case is a page, its endpoint says yes only
to what that case is about, and everything else is in `Rocks.faults`.
"""

from __future__ import annotations

import html
import itertools
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from tests.neighbours import Answer, Neighbour, Request, Wire
from tests.pingback.peers import request_of

RIGHT = "/webmention"
Link = Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A page: its Link headers (each with its name) and what stands in its head and body."""

    headers: Sequence[tuple[str, str]] = ()
    head: str = ""
    body: str = ""


@dataclass
class Rocks:
    """The server: what its endpoints took is in ``taken``, as (path with query, source, target)."""

    neighbour: Neighbour
    taken: list[tuple[str, str, str]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """The sources of what was taken that had no link any more, or were gone."""
    faults: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    spent: set[str] = field(default_factory=set)
    status: int = 202
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self.base = self.neighbour.url("")
        self.cases = cases(self.base)
        self.neighbour.default(self._serve)

    def url(self, path: str) -> str:
        return self.base + path

    # --- requests -----------------------------------------------------------------------------------------

    def _serve(self, request: Request, wire: Wire) -> None:
        path = request.path.partition("?")[0]
        routes: list[tuple[str, Callable[..., Answer]]] = [
            (r"/test/23/page", self._redirect),
            (r"/test/23/page/(\w+)", self._page_23),
            (r"/test/23/page/webmention-endpoint/(\w+)", self._endpoint_23),
            (r"/test/(\d+)", self._case),
            (r"/test/(\d+)/webmention", self._endpoint),
            (r"/(update/\d|update/\d/part/\d|delete/1)", self._page_with_key),
            (r"/(update/\d|update/\d/part/\d|delete/1)/webmention", self._endpoint_with_key),
        ]
        with self.lock:
            for pattern, route in routes:
                match = re.fullmatch(pattern, path)
                if match is not None:
                    answer = route(request, *match.groups())
                    break
            else:
                answer = self._fault(f"nobody should come here: {request.method} {request.path}", 404)
        wire.send(answer.dump(request.method))

    def _fault(self, reason: str, status: int = 400) -> Answer:
        self.faults.append(reason)
        return Answer(status=status, body=reason.encode(), headers=[("Content-Type", "text/plain")])

    def _page(self, request: Request, case: Case) -> Answer:
        mark = "?head=true" if request.method == "HEAD" else ""
        headers = [(name, value.replace(">", f"{mark}>", 1)) for name, value in case.headers]
        text = f"<!doctype html><html><head>{case.head}</head><body>{case.body}</body></html>"
        return Answer(body=text.encode(), headers=[("Content-Type", "text/html; charset=UTF-8"), *headers])

    # --- discovery ----------------------------------------------------------------------------------------

    def _case(self, request: Request, number: str) -> Answer:
        if request.method == "POST":
            return self._endpoint(request, number) if number == "15" else self._fault("that is a page", 405)
        return self._page(request, self.cases[int(number)])

    def _endpoint(self, request: Request, number: str) -> Answer:
        if number == "21" and not request.path.endswith("?query=yes"):
            return self._fault("the query is not there")
        return self._take(request, self.url(f"/test/{number}"))

    def _redirect(self, request: Request) -> Answer:
        return Answer(status=302, headers=[("Location", f"page/{self._new_key()}")])

    def _page_23(self, request: Request, key: str) -> Answer:
        if f"page {key}" in self.spent or key not in self.keys:
            return self._fault("Code expired", 410)
        self.spent.add(f"page {key}")
        endpoint = f"webmention-endpoint/{key}"
        case = Case(
            headers=[("Link", f"<{endpoint}>; rel=webmention")],
            body=f'<a href="{endpoint}" rel="webmention">here</a>',
        )
        return self._page(request, case)

    def _endpoint_23(self, request: Request, key: str) -> Answer:
        if not self._spend(key):
            return self._fault("the endpoint was used before")
        return self._take(request, self.url("/test/23/page"))

    # --- updates and deletions ----------------------------------------------------------------------------

    def _page_with_key(self, request: Request, name: str) -> Answer:
        part = "/part/1" if name == "update/1" else ""
        endpoint = f"/{name}{part}/webmention?key={self._new_key()}"
        return self._page(request, Case(head=f'<link rel="webmention" href="{endpoint}">'))

    def _endpoint_with_key(self, request: Request, name: str) -> Answer:
        if not self._spend(request.path.partition("?key=")[2]):
            return self._fault("the endpoint was used before")
        page = "update/1" if name == "update/1/part/1" else name
        return self._take(request, self.url(f"/{page}"), may_be_gone=True)

    # --- what all endpoints do ----------------------------------------------------------------------------

    def _new_key(self) -> str:
        key = f"key{next(self._numbers)}"
        self.keys.add(key)
        return key

    def _spend(self, key: str) -> bool:
        fresh = key in self.keys and key not in self.spent
        self.spent.add(key)
        return fresh

    def _take(self, request: Request, page: str, *, may_be_gone: bool = False) -> Answer:
        if request.method != "POST":
            return self._fault("an endpoint is posted to", 405)
        if "head=true" in request.path:
            return self._fault("the endpoint was found by HEAD")
        if "application/x-www-form-urlencoded" not in (request.header("Content-Type") or ""):
            return self._fault("the Content-Type is wrong")
        form = parse_qs(request.body.decode(), keep_blank_values=True)
        if sorted(form) != ["source", "target"] or any(len(values) > 1 for values in form.values()):
            return self._fault(f"the parameters are {sorted(form)}")
        source, target = form["source"][0], form["target"][0]
        if target != page:
            return self._fault(f"the target is {target}, not {page}")
        status, _, body = request_of("GET", source, {})
        links = [html.unescape(href) for href in re.findall(r'<a\s[^>]*?href="([^"]*)"', body.decode())]
        meta = b'<meta http-equiv="Status" content="410 Gone">' in body
        if status == 410 or meta or target not in links:
            if not may_be_gone:
                return self._fault(f"{source} ({status}) has no link to {target}")
            self.gone.append(source)
        self.taken.append((request.path, source, target))
        return Answer(status=self.status, body=b"Thank you.", headers=[("Content-Type", "text/plain")])


def cases(base: str) -> dict[int, Case]:
    """Return what each of the first 22 cases of discovery serves."""

    def link(number: int, *, absolute: bool = False, path: str = RIGHT) -> str:
        return f"{base if absolute else ''}/test/{number}{path}"

    def a(href: str, *, rel: str = "webmention") -> str:
        return f'<a href="{href}" rel="{rel}">an endpoint</a>'

    return {
        1: Case(headers=[("Link", f"<{link(1)}>; rel=webmention")]),
        2: Case(headers=[("Link", f"<{link(2, absolute=True)}>; rel=webmention")]),
        3: Case(head=f'<link rel="webmention" href="{link(3)}">'),
        4: Case(head=f'<link href="{link(4, absolute=True)}" rel="webmention">'),
        5: Case(body=f'<a rel="webmention" href="{link(5)}">an endpoint</a>'),
        6: Case(body=a(link(6, absolute=True))),
        7: Case(headers=[("LinK", f"<{link(7, absolute=True)}>; rel=webmention")]),
        8: Case(headers=[("Link", f'<{link(8, absolute=True)}>; rel="webmention"')]),
        9: Case(head=f'<link rel="webmention somethingelse" href="{link(9, absolute=True)}">'),
        10: Case(headers=[("Link", f'<{link(10, absolute=True)}>; rel="webmention somethingelse"')]),
        11: Case(
            headers=[("Link", f"<{link(11)}>; rel=webmention")],
            head=f'<link rel="webmention" href="{link(11, path="/error")}">',
            body=a(link(11, path="/error")),
        ),
        12: Case(
            head=f'<link rel="not-webmention" href="{link(12, absolute=True, path="/error")}">',
            body=a(link(12, absolute=True)),
        ),
        13: Case(body=f"<!-- {a(link(13, path='/error'))} -->{a(link(13))}"),
        14: Case(body=f"<code>{html.escape(a(link(14, path='/error')))}</code>{a(link(14))}"),
        15: Case(head='<link rel="webmention" href="">'),
        16: Case(body=f'{a(link(16))}<link rel="webmention" href="{link(16, path="/error")}">'),
        17: Case(body=f'<link rel="webmention" href="{link(17)}">{a(link(17, path="/error"))}'),
        18: Case(
            headers=[
                ("Link", f'<{link(18, path="/error")}>; rel="other"'),
                ("Link", f'<{link(18)}>; rel="webmention"'),
            ]
        ),
        19: Case(
            headers=[("Link", f'<{link(19, path="/error")}>; rel="other", <{link(19)}>; rel="webmention"')]
        ),
        20: Case(head='<link rel="webmention">', body=a(link(20))),
        21: Case(head=f'<link rel="webmention" href="{link(21)}?query=yes">'),
        22: Case(head='<link rel="webmention" href="22/webmention">'),
    }
