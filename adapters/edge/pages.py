"""Pages for people: templates, the files that they need, and how money and moments look in them.

Everything works without scripts; whatever a page needs comes from us (`Content-Security-Policy: default-src 'self'`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, Response
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, pass_context
from markupsafe import Markup, escape
from werkzeug.exceptions import NotFound

from workflow.money import SIGNS, Money, with_sign
from workflow.plurals import plural

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
ON_PAGES = str.maketrans({"-": "\N{MINUS SIGN}", " ": "\N{NO-BREAK SPACE}"})
"""A browser breaks a line at neither."""
SHARED = "adapters.edge"
"""The package with what all pages look like."""
KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
KEPT_SECONDS = 31_536_000
"""A file under its own hash never changes: a browser may keep it for a year."""


def environment(package: str) -> Environment:
    """Templates of `package`, and the shared ones; every value is escaped, an unknown name is an error."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(SHARED)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"money": money, "amount": amount, "words": in_words, "sums": with_signs}
    made.globals |= {"static": lambda name: static_path(package, name), "plural": plural}
    return made


def money(sum_: Money) -> str:
    """`£1,284.60`; `CHF 12.50` where the currency has no sign that everybody knows; a minus before it."""
    return amount(sum_.value, sum_.currency)


def amount(minor_units: int, currency: str) -> str:
    """The same of a bare number of minor units."""
    return with_sign(Money(minor_units, currency)).translate(ON_PAGES)


def with_signs(sentence: str) -> str:
    """A sentence of ours with its sums as pages write them: `GBP 12.50 is paid` is `£12.50 is paid`."""
    return _SUM.sub(lambda found: f"{SIGNS[found[1]]}{found[2]}", sentence)


_SUM = re.compile(rf"\b({'|'.join(SIGNS)}) (\d+(?:\.\d+)?)")


@pass_context
def with_moments(page: Mapping[str, Any], sentence: str) -> Markup:
    """A sentence of ours with the moments in it as the page shows moments: what the journal tells, it tells in UTC."""
    return Markup(_MOMENT.sub(lambda found: str(page["moment"](found[0])), str(escape(sentence))))  # noqa: S704  # Escaped there.


_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\b", re.ASCII)


def in_words(name: str) -> str:
    """A name of ours or of Dojo's as people read it: `order_and_pay` is `order and pay`."""
    return name.replace("_", " ")


def parsed(at: str) -> datetime:
    """A moment as the journal writes it, aware, UTC."""
    return datetime.fromisoformat(at.replace("Z", "+00:00")).astimezone(UTC)


def moment(at: str, zone: ZoneInfo, today: str, *, utc: bool = False) -> Markup:
    """A `<time>` in the venue's zone, or in UTC: the time alone on the day `today` (YYYY-MM-DD of that zone), else with its date.

    The other one stands in its title. What is no moment, as in a journal that was changed, is shown as it is.
    """
    try:
        there = (then := parsed(at)).astimezone(zone)
    except (ValueError, OverflowError):
        return Markup("{}").format(at)
    local, other = (then, there) if utc else (there, then)
    text = f"{local:%H:%M:%S}" if f"{local:%Y-%m-%d}" == today else f"{local:%-d %b %Y, %H:%M:%S}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at, f"{other:%Y-%m-%d %H:%M:%S} {other.tzname()}", text)


def span(now: datetime, at: str) -> str:
    """How long ago that was: `less than a minute`, `6 min`, `2 h 5 min`, `3 days`. It changes once a minute, with the clock's minute."""
    minutes = max(0, minutes_between(parsed(at), now))
    hours, days = minutes // 60, minutes // (24 * 60)
    if days:
        return plural(days, "day")
    if hours:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{minutes} min" if minutes else "less than a minute"


def minutes_between(earlier: datetime, later: datetime) -> int:
    """So many times the clock's minute changed: an age on a page must not change within one."""
    return int(later.timestamp()) // 60 - int(earlier.timestamp()) // 60


def static_blueprint(packages: Iterable[str]) -> Blueprint:
    """`/static/HASH/NAME`: the styles and scripts of the packages, kept by browsers for as long as they stay the same."""
    blueprint, known = Blueprint("static", __name__), tuple(packages)

    @blueprint.get("/static/<digest>/<name>")
    def static(digest: str, name: str) -> Response:
        for package in known:
            if (found := _file(package, name)) and found[0] == digest:
                kind = next((kind for ending, kind in KINDS.items() if name.endswith(ending)), "application/octet-stream")
                return Response(found[1], content_type=kind, headers={"Cache-Control": f"public, max-age={KEPT_SECONDS}, immutable"})
        raise NotFound("no such file")

    return blueprint


def static_path(package: str, name: str) -> str:
    """The path of a file of the package, or of the shared ones. Raises LookupError: a template names what is not there."""
    for each in (package, SHARED):
        if found := _file(each, name):
            return f"/static/{found[0]}/{name}"
    raise LookupError(name)


@cache
def _file(package: str, name: str) -> tuple[str, bytes] | None:
    if not any(name.endswith(ending) for ending in KINDS) or "/" in name:
        return None
    path = files(package) / "static" / name
    if not path.is_file():
        return None
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:16], content
