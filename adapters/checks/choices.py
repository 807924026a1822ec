"""What the settings say of themselves: whether they are complete, go together, and leave nothing open that should be closed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from adapters.checks.finding import LEAST_SECRET_CHARACTERS, MAKE_ONE, Finding
from adapters.edge.bill_template import BadTemplate, read_template
from adapters.setting_kinds import ROLES, Address, address_text
from adapters.settings import Settings, is_loopback

CONTRADICTION = "change one of the two"


def complete(settings: Settings) -> Iterator[Finding]:
    """What keeps `serve` from starting."""
    problems, shared = settings.problems_for_serving(), settings.shared_files()
    for problem in problems:
        yield Finding("FAIL", "settings", problem, CONTRADICTION if problem in shared else "set it in the environment or in tillproof.toml")
    if not problems:
        yield Finding("ok", "settings", f"complete for serve (ENV={settings.env}, mode {settings.order_and_pay_mode})")


def contradictions(settings: Settings) -> Iterator[Finding]:
    """Settings of which each is good by itself."""
    if settings.listen == settings.console_listen and settings.listen[1]:
        yield Finding("FAIL", "settings", f"LISTEN and CONSOLE_LISTEN are one address: {address_text(settings.listen)}", CONTRADICTION)
    elif _overlap(settings.listen, settings.console_listen):
        wide, narrow = sorted((settings.listen, settings.console_listen), key=lambda address: not _is_wildcard(address[0]))
        text = f"LISTEN and CONSOLE_LISTEN overlap: {address_text(wide)} takes in {address_text(narrow)}"
        yield Finding("FAIL", "settings", text, CONTRADICTION)
    if settings.lease_s * 1_000 <= settings.call_deadline_ms:
        text = f"LEASE_S ({settings.lease_s}) ends before a call may (CALL_DEADLINE_MS {settings.call_deadline_ms}): calls are sent twice"
        yield Finding("warn", "settings", text, "make LEASE_S longer, or CALL_DEADLINE_MS shorter")
    if settings.retry_base_ms > settings.retry_cap_ms:
        text = f"the first pause (RETRY_BASE_MS {settings.retry_base_ms}) is longer than the longest (RETRY_CAP_MS {settings.retry_cap_ms})"
        yield Finding("warn", "settings", text, CONTRADICTION)
    if settings.env == "test" and not settings.epos_username:
        yield Finding("warn", "settings", "ENV=test without credentials: anybody may call Dojo's side", "ENV=production, and EPOS_USERNAME")


def _overlap(one: Address, other: Address) -> bool:
    """Whether a wildcard takes the other's port as well. Only within its family: we listen on [::] for IPv6 alone."""
    is_one_family = (":" in one[0]) == (":" in other[0])
    return one[1] == other[1] != 0 and is_one_family and (_is_wildcard(one[0]) or _is_wildcard(other[0]))


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def exposure(settings: Settings) -> Iterator[Finding]:
    """What others could read or reach."""
    for name, (host, _) in (("LISTEN", settings.listen), ("CONSOLE_LISTEN", settings.console_listen)):
        if not is_loopback(host):
            text = f"{name} is {host}: plain http beyond this machine shows passwords and tokens"
            yield Finding("warn", "plain http", text, f"set TILLPROOF_{name} to 127.0.0.1, and a TLS proxy in front of it")
    everybody = " and ".join(str(network) for network in settings.trusted_proxies if network.prefixlen == 0)
    if everybody:
        text = f"TRUSTED_PROXIES holds {everybody}, which is everybody: any caller can forge X-Forwarded-For"
        yield Finding("warn", "proxies", text, "set TILLPROOF_TRUSTED_PROXIES to the address of the proxy alone")
    if settings.env == "test":
        return
    if settings.public_url is None:
        text = "PUBLIC_URL is absent: nothing can be registered, and Dojo will not call"
        yield Finding("warn", "public URL", text, "set TILLPROOF_PUBLIC_URL to the https address of the proxy")
        return
    parts = urlsplit(settings.public_url)
    if parts.scheme == "http":
        text = f"{settings.public_url} is not https: Dojo's password for us can be read on the way"
        yield Finding("FAIL", "public URL", text, "set TILLPROOF_PUBLIC_URL to the https address of the proxy")
    if is_loopback(parts.hostname or ""):
        yield Finding("FAIL", "public URL", f"Dojo cannot reach {settings.public_url}", "set TILLPROOF_PUBLIC_URL to a public address")
    elif parts.scheme == "https" and not settings.trusted_proxies:
        text = "TRUSTED_PROXIES is absent: behind a proxy all callers have one address, and strangers share one limit with webhooks"
        yield Finding("warn", "proxies", text, "set TILLPROOF_TRUSTED_PROXIES to the address of the proxy")


def people(settings: Settings) -> Iterator[Finding]:
    """Who may do what, and how well their secrets are chosen."""
    roles = {token.role for token in settings.tokens}
    if not roles:
        text = "nobody can use the till's API or read the journal over HTTP"
        yield Finding("warn", "tokens", text, "set TILLPROOF_TOKENS=role:name:token,…")
    else:
        held = roles | ({"auditor"} if "operator" in roles else set())
        without = {
            "till": "no till can connect",
            "auditor": "nobody can read the journal",
            "operator": "nobody can settle what needs a person",
        }
        for role in (role for role in ROLES if role not in held):
            yield Finding(
                "warn", "tokens", f"no token of role {role}: {without[role]} over HTTP", f"add {role}:name:token to TILLPROOF_TOKENS"
            )
    weak = [f"the token of {token.name}" for token in settings.tokens if len(token.token) < LEAST_SECRET_CHARACTERS]
    weak += ["EPOS_PASSWORD"] if settings.epos_password and len(settings.epos_password) < LEAST_SECRET_CHARACTERS else []
    weak += ["one of WEBHOOK_SECRETS"] if any(len(secret) < LEAST_SECRET_CHARACTERS for secret in settings.webhook_secrets) else []
    for what in weak:
        yield Finding("warn", "weak secret", f"{what} has fewer than {LEAST_SECRET_CHARACTERS} characters: it can be guessed", MAKE_ONE)
    if not settings.webhook_secrets:
        text = "WEBHOOK_SECRETS is absent: webhooks are refused, and events come by HandleEvent alone"
        yield Finding("warn", "webhooks", text, "set TILLPROOF_WEBHOOK_SECRETS where a webhook is registered at Dojo")


def bill(settings: Settings) -> Iterator[Finding]:
    """The bill's template."""
    path = settings.bill_template
    try:
        found = read_template(path, settings.venue_name)
    except BadTemplate as error:
        yield from (Finding("FAIL", "bill", problem, "correct the template, then tillproof doctor") for problem in error.problems)
        return
    if path:
        yield Finding("ok", "bill", f"{path}: {len(found.header)} lines above the order, {len(found.footer)} below it")


def till(settings: Settings) -> Iterator[Finding]:
    """Whether the till is called, and how safely."""
    url, secret = settings.till_url, settings.till_secret
    if url is None:
        yield Finding("ok", "till", "not called: TILL_URL is absent; it follows GET /till/feed")
        if secret:
            yield Finding("warn", "till", "TILL_SECRET signs nothing without TILL_URL", "set TILLPROOF_TILL_URL, or leave both out")
        return
    yield Finding("ok", "till", f"called at {url}, and nowhere else")
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        text = "plain http beyond this machine: calls are signed, but orders and names can be read on the way"
        yield Finding("warn", "till", text, "use https, or a network that only the tills are in")
    if secret and len(secret) < LEAST_SECRET_CHARACTERS:
        text = f"TILL_SECRET has fewer than {LEAST_SECRET_CHARACTERS} characters: it can be guessed"
        yield Finding("warn", "till", text, MAKE_ONE)
