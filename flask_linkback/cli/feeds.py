"""Commands for feeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

import click
from werkzeug.routing import BuildError

from ..errors import did_you_mean
from ..fetch import Headers
from ..protocols.feeds import MAX_BYTES, Problem, Report, examine
from ..site import Site, current_site
from .doctor import Case, Mark
from .output import Output, command, counted

__all__ = ["feed"]

_VALIDATORS: Final = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
"""What says which state a feed has, and how a reader that has this state asks."""


@command("feed")
@click.argument("named", metavar="ENDPOINT_OR_URL")
def feed(out: Output, named: str) -> None:
    """Look at a feed: what it is, and what readers will stumble over.

    An endpoint, a path or a URL of ours is asked in this process; any other URL is fetched. Fails when
    something is against the rules of the format; what is only not good is told.
    """
    site = current_site()
    answer = _ask(site, _url_of(site, named), {})
    if answer.status != 200:
        leads = answer.headers.get("Location")
        to = f" and leads to {leads}" if leads is not None else ""
        raise click.ClickException(f"{answer.url} answers {answer.status}{to}.")
    content_type = answer.headers.get("Content-Type", "")
    report = examine(answer.body, url=answer.url, content_type=content_type, now=site.now())
    validators = {name: answer.headers[name] for name in _VALIDATORS if name in answer.headers}
    unchanged = bool(validators) and _is_unchanged(site, answer.url, validators)
    if report.format and not validators:
        report.advise(
            "It has neither ETag nor Last-Modified.", "Readers load all of it each time: give it one of them."
        )
    elif report.format and not unchanged:
        report.advise(
            "It is given in full to who has it already.", "Answer a conditional request with status 304."
        )
    _say(out, answer, report, validators, unchanged=unchanged)
    document = {
        "ok": not report.errors,
        "url": answer.url,
        "content_type": content_type,
        "format": report.format,
        "version": report.version,
        "title": report.title,
        "items": report.items,
        "newest": report.newest and report.newest.isoformat(),
        "self_url": report.self_url,
        "hubs": report.hubs,
        "etag": validators.get("ETag"),
        "last_modified": validators.get("Last-Modified"),
        "unchanged": unchanged,
        "size": report.size,
        "problems": [asdict(each) for each in report.problems],
        "untold": report.untold,
    }
    out.finish(document, failed=bool(report.errors))


def _url_of(site: Site, named: str) -> str:
    """Return the URL of an endpoint without arguments, or what was said if that is a URL or path."""
    if named not in site.app.view_functions:
        if "/" in named:
            return site.absolute(named)
        near = did_you_mean(named, site.app.view_functions)
        raise click.ClickException(f"There is no endpoint {named!r}.{near} A path begins with a slash.")
    try:
        return site.url_for(named)
    except BuildError:
        raise click.ClickException(f"The URL of {named!r} has arguments: give a path instead.") from None


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What is at a URL, whoever was asked."""

    status: int
    url: str
    headers: Headers
    body: bytes


def _ask(site: Site, url: str, headers: Mapping[str, str]) -> _Answer:
    if site.is_own(url) and not site.is_told(url):  # of our own port, too
        own = Case(site=site).ask("GET", url, headers=headers, buffered=True)
        return _Answer(status=own.status_code, url=url, headers=Headers(own.headers.items()), body=own.data)
    found = site.fetch.get(url, headers=headers, max_body=MAX_BYTES)
    return _Answer(status=found.status, url=found.url, headers=found.headers, body=found.body)


def _is_unchanged(site: Site, url: str, validators: Mapping[str, str]) -> bool:
    headers = {_VALIDATORS[name]: value for name, value in validators.items()}
    return _ask(site, url, headers).status == 304


def _say(
    out: Output, answer: _Answer, report: Report, validators: Mapping[str, str], *, unchanged: bool
) -> None:
    kind = f"{report.format} {report.version}".strip() or "No feed"
    out.say(f"{kind} at {answer.url}")
    if report.format:
        newest = f", the newest of {report.newest.isoformat(' ')}" if report.newest is not None else ""
        again = "304" if unchanged else "in full"
        for name, value in {
            "Title": report.title or "-",
            "Items": f"{report.items}{newest}",
            "Self": report.self_url or "-",
            "Hubs": ", ".join(report.hubs) or "-",
            **dict.fromkeys(_VALIDATORS, "-"),
            **validators,
            "Asked again": again,
            "Size": f"{report.size:,} bytes",
        }.items():
            out.say(f"  {name:13}  {value}")
    for each in report.problems:
        out.say(_line(each), fg="red" if each.is_error else "yellow")
    if report.untold:
        out.say(f"and {counted(report.untold, 'other')}")
    if not report.problems:
        out.say(f"{Mark.ok.value} Nothing is wrong.", fg="green")


def _line(problem: Problem) -> str:
    mark = Mark.failure if problem.is_error else Mark.warning
    where = "feed" if problem.item is None else f"item {problem.item}"
    return f"{mark.value} {where}: {problem.what.removesuffix('.')}. {problem.advice}"
