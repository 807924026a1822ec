"""Settings: `TILLPROOF_…` variables over `tillproof.toml` over defaults, each declared once, as a row.

The rows are INTERFACE.md §2 as data: parsing, the origins, the help text and the masking of secrets all read them.
"""

from __future__ import annotations

import base64
import difflib
import ipaddress
import os
import re
import tomllib
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import urlsplit

from adapters import setting_kinds as kinds
from adapters.setting_kinds import MASK, Address, Kind, Token, address_text

PREFIX = "TILLPROOF_"
FILE_SUFFIX = "_FILE"
SETTINGS_FILE = Path("tillproof.toml")
"""In the directory that the program is run from."""
UNREAD = "cannot be read"
"""What is said of a settings file of which nothing is known."""
SHOWN_CHARACTERS = 100
"""Of a refused value, this much is repeated in the message."""
PRODUCTION_KEY_PREFIX = "sk_prod_"
_SUFFIXES = {
    "JOURNAL": ("", "-wal", "-shm", "-journal", ".lock", ".new"),
    "WITNESS": ("", ".accepting", ".broken"),
    "SIGNING_KEY": ("", ".next"),
}
"""Of the files that are written for a setting: the one that it names, and others beside it."""

Origin = Literal["environment", "tillproof.toml", "default"]


class SettingsError(Exception):
    """The settings cannot be used; the process ends with exit code 3. `problems` has one line for each fault, never a secret.

    `rest` are the settings with the default of each that cannot be used, to look at only; None where a whole file cannot be read.
    """

    def __init__(self, problems: list[str], rest: Settings | None) -> None:
        super().__init__("\n".join(problems))
        self.problems, self.rest = tuple(problems), rest


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """Every setting, parsed; `ROWS` has the meanings. None and () mean not given.

    `origins` maps each name (`LISTEN`) to where its value came from. The repr hides secrets.
    """

    listen: Address
    public_url: str | None
    console_listen: Address
    journal: Path
    witness: Path
    signing_key: Path
    dojo_url: str
    dojo_api_key: str | None
    dojo_version: str
    software_house_id: str | None
    reseller_id: str | None
    account_ids: tuple[str, ...]
    epos_username: str | None
    epos_password: str | None
    webhook_secrets: tuple[str, ...]
    tokens: tuple[Token, ...]
    till_url: str | None
    till_secret: str | None
    currency: str
    timezone: zoneinfo.ZoneInfo
    venue_name: str
    bill_template: Path | None
    order_and_pay_mode: Literal["event", "inline"]
    search_days: int
    tables_answer: Literal["pages", "page"]
    retry_base_ms: int
    retry_cap_ms: int
    retry_horizon_s: int
    outbound_workers: int
    retry_rps: int
    call_deadline_ms: int
    lease_s: int
    sweep_s: int
    orphan_alarm_s: int
    paid_alarm_s: int
    verify_s: int
    max_body: int
    max_depth: int
    requests_per_second: int
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    env: Literal["production", "test"]
    origins: Mapping[str, Origin]

    def __repr__(self) -> str:
        shown = (f"{row.field}={_masked(row, getattr(self, row.field))}" for row in ROWS)
        return f"Settings({', '.join(shown)})"

    @property
    def is_live(self) -> bool:
        """Whether the key is one of Dojo's for real money."""
        return (self.dojo_api_key or "").startswith(PRODUCTION_KEY_PREFIX)

    def secrets(self) -> tuple[str, ...]:
        """Every secret in clear, the encoded Basic credentials included: what a log must never show."""
        found = [text for row in ROWS if row.secret for text in _texts(getattr(self, row.field))]
        if self.epos_username and self.epos_password:
            found.append(base64.b64encode(f"{self.epos_username}:{self.epos_password}".encode()).decode())
        return tuple(found)

    def is_secret(self, name: str) -> bool:
        """Whether the setting of this name holds a secret."""
        return name in _ROW_OF and _ROW_OF[name].secret

    def problems_for_serving(self) -> list[str]:
        """What keeps `serve` from starting although each value alone is good; a line each, with how to mend it."""
        return [*self._credential_problems(), *self._exposure_problems(), *self.shared_files()]

    def shared_files(self) -> list[str]:
        """Where two files that the program writes are one, by whatever names: one would destroy the other. A line for each two settings."""
        written: dict[str, Path] = {"JOURNAL": self.journal, "WITNESS": self.witness, "SIGNING_KEY": self.signing_key}
        return [
            f"{PREFIX}{name}: {path} is the same file as {other}'s {another}; give each a file of its own"
            for (other, of_other), (name, of_name) in combinations(written.items(), 2)
            for another, path in list(_same_files(other, of_other, name, of_name))[:1]
        ]

    def _credential_problems(self) -> Iterator[str]:
        if self.dojo_api_key is None:
            yield f"{PREFIX}DOJO_API_KEY: required, but absent; payment intents cannot be read without it"
        elif self.env == "test" and self.dojo_api_key.startswith(PRODUCTION_KEY_PREFIX):
            yield f"{PREFIX}ENV: is test, but {PREFIX}DOJO_API_KEY is a production key ({PRODUCTION_KEY_PREFIX}…); use a sandbox key"
        credentials = {"EPOS_USERNAME": self.epos_username, "EPOS_PASSWORD": self.epos_password}
        absent = [name for name, value in credentials.items() if value is None]
        if self.env == "production" or len(absent) == 1:
            yield from (f"{PREFIX}{name}: required, but absent; Dojo must present it to us (only ENV=test does without)" for name in absent)
        if self.till_url and self.till_secret is None:
            yield f"{PREFIX}TILL_SECRET: required with {PREFIX}TILL_URL, but absent; what we send to the till is signed with it"

    def _exposure_problems(self) -> Iterator[str]:
        dojo = urlsplit(self.dojo_url)
        if dojo.scheme == "http" and not (self.env == "test" and is_loopback(dojo.hostname or "")):
            yield f"{PREFIX}DOJO_URL: plain http would show the API key; use https (http needs ENV=test and a loopback address)"
        if not is_loopback(self.console_listen[0]) and not self.tokens:
            yield f"{PREFIX}CONSOLE_LISTEN: {self.console_listen[0]} is beyond loopback; set {PREFIX}TOKENS, or listen on 127.0.0.1"


def _same_files(one: str, of_one: Path, other: str, of_other: Path) -> Iterator[tuple[Path, Path]]:
    for path, another in product(_written(one, of_one), _written(other, of_other)):
        if os.path.realpath(path) == os.path.realpath(another) or _is_same(path, another):
            yield path, another


def _written(name: str, path: Path) -> Iterator[Path]:
    """The file that a setting names, and those that are made beside it."""
    return (Path(f"{path}{suffix}") for suffix in _SUFFIXES[name])


def _is_same(path: Path, another: Path) -> bool:
    """One file under two names, such as a hard link."""
    with suppress(OSError):
        return path.samefile(another)
    return False


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine; a name other than localhost is not looked up and is not."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting. A `default` of None means not given; `<journal>` in it stands for the journal's path."""

    name: str
    kind: Kind
    default: str | None
    meaning: str
    secret: bool = False

    @property
    def field(self) -> str:
        """The attribute of `Settings` that holds it."""
        return self.name.lower()


class Description(NamedTuple):
    """One setting for people: documentation, `--help`, `doctor`."""

    name: str
    default: str
    meaning: str
    expected: str
    secret: bool


def describe() -> tuple[Description, ...]:
    """Every setting in the order of the rows; a dash where there is no default."""
    return tuple(Description(row.name, row.default or "–", row.meaning, row.kind.expected, row.secret) for row in ROWS)


class Shown(NamedTuple):
    """One setting as it is in force, for people; a secret is masked, and of a token the role and the name are left."""

    description: Description
    value: str
    origin: Origin


def shown(settings: Settings) -> tuple[Shown, ...]:
    """Every setting in the order of the rows; a dash where it is not given."""
    found = zip(ROWS, describe(), strict=True)
    return tuple(Shown(each, _text(row, getattr(settings, row.field)), settings.origins[row.name]) for row, each in found)


def _text(row: Row, value: object) -> str:
    if value is None or value == ():
        return "–"
    if row.kind is kinds.ADDRESS:
        return address_text(cast(Address, value))
    items = value if isinstance(value, tuple) else (value,)
    return ", ".join(f"{item.role}:{item.name}:{MASK}" if isinstance(item, Token) else MASK if row.secret else str(item) for item in items)


def read_settings(environ: Mapping[str, str], toml_path: Path | None) -> Settings:
    """Settings from `environ`, then from the file at `toml_path` (which may be absent), then by default.

    An empty variable counts as not given. Raises SettingsError with every fault found, not only the first.
    """
    problems: list[str] = []
    given = {**_read_toml(toml_path, problems), **_read_environment(environ, problems)}
    values: dict[str, Any] = {}
    for row in ROWS:
        values[row.field] = _value(row, given.get(row.name), str(values.get("journal")), problems)
    origins: dict[str, Origin] = {row.name: given[row.name].origin if row.name in given else "default" for row in ROWS}
    settings = Settings(**values, origins=origins)
    if problems:
        raise SettingsError(problems, None if any(UNREAD in problem for problem in problems) else settings)
    return settings


class _Given(NamedTuple):
    """A value as it was written; `label` is what its author called it."""

    text: str
    origin: Origin
    label: str


def _value(row: Row, given: _Given | None, journal: str, problems: list[str]) -> object:
    if given is None and row.default is None:
        return None
    text = given.text if given else str(row.default).replace("<journal>", journal)
    try:
        return row.kind.parse(text)
    except ValueError as error:
        label = given.label if given else f"{PREFIX}{row.name} (default)"
        entry = f" in entry {error.number}" if isinstance(error, kinds.BadEntry) else ""
        problems.append(f"{label}: expected {row.kind.expected}, got {_shown(row, text)}{entry}")
        return _value(row, None, journal, problems) if given else None


def _shown(row: Row, text: str) -> str:
    if row.secret:
        return "something else (a secret, not shown)"
    safe = re.sub(r"//.*@", f"//{MASK}@", text)  # A URL may carry a password.
    return repr(safe if len(safe) <= SHOWN_CHARACTERS else safe[:SHOWN_CHARACTERS] + "…")


def _read_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, _Given]:
    ours = {name.removeprefix(PREFIX): text for name, text in environ.items() if name.startswith(PREFIX) and text}
    return _recognised(ours, "environment", lambda name: f"{PREFIX}{name}", problems)


def _read_toml(path: Path | None, problems: list[str]) -> dict[str, _Given]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig")) if path else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # ValueError: not TOML, or not UTF-8.
        problems.append(f"{path}: {UNREAD}: {error}")
        return {}
    texts: dict[str, str] = {}
    for key, value in document.items():
        name = key.upper()
        if name in texts:
            problems.append(f"{key} in {path}: given twice, in capitals and in small letters")
        texts[name] = _toml_text(name, value, f"{key} in {path}", problems)
    return _recognised(texts, "tillproof.toml", lambda name: f"{name.lower()} in {path}", problems)


def _toml_text(name: str, value: object, label: str, problems: list[str]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    row = _ROW_OF.get(name)
    if row and row.kind.is_list and isinstance(value, list) and all(isinstance(item, str) and "," not in item for item in value):
        return ",".join(cast("list[str]", value))
    if name in _KNOWN:
        problems.append(f"{label}: expected {row.kind.expected if row else 'a path'}, got a TOML {type(value).__name__}")
    return ""


def _recognised(texts: Mapping[str, str], origin: Origin, label_of: Callable[[str], str], problems: list[str]) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    for name, text in texts.items():
        label = label_of(name)
        if name not in _KNOWN:
            nearest = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=0.0)[0]
            problems.append(f"{label}: there is no such setting; the nearest is {nearest}")
        elif name in _ROW_OF and text:
            given[name] = _Given(text, origin, label)
        elif text and texts.get(name.removesuffix(FILE_SUFFIX)):
            problems.append(f"{label}: {name.removesuffix(FILE_SUFFIX)} is given as well; keep one of the two")
        elif text and (secret := _read_secret(Path(text), label, problems)):
            given[name.removesuffix(FILE_SUFFIX)] = _Given(secret, origin, label)
    return given


def _read_secret(path: Path, label: str, problems: list[str]) -> str | None:
    try:
        text = path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        problems.append(f"{label}: expected a file of UTF-8 text, got other bytes in {str(path)!r}")
        return None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problems.append(f"{label}: expected the path of a readable file, got {str(path)!r} ({reason})")
        return None
    if not text:
        problems.append(f"{label}: expected a file with the secret in it, got an empty one: {str(path)!r}")
    return text


def _masked(row: Row, value: object) -> str:
    return repr(MASK) if row.secret and value else repr(value)


def _texts(value: str | tuple[str | Token, ...] | None) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value if isinstance(value, tuple) else ():
        yield item.token if isinstance(item, Token) else item


# fmt: off
ROWS = (
    #   name                  kind                default                  meaning
    Row("LISTEN",             kinds.ADDRESS,      "127.0.0.1:8080",        "Dojo's side"),
    Row("PUBLIC_URL",         kinds.URL,          None,                    "where Dojo reaches LISTEN; what `caps register` registers"),
    Row("CONSOLE_LISTEN",     kinds.ADDRESS,      "127.0.0.1:8081",        "the venue's side: console, till API, auditors' API, metrics"),
    Row("JOURNAL",            kinds.JOURNAL,      "tillproof.db",          "the journal's database"),
    Row("WITNESS",            kinds.PATH,         "<journal>.witness",     "append-only file of checkpoints, kept outside the database"),
    Row("SIGNING_KEY",        kinds.PATH,         "<journal>.key",         "Ed25519 private key, PEM; made at first start, mode 0600"),
    Row("DOJO_URL",           kinds.URL,          "https://api.dojo.tech", "Dojo API"),
    Row("DOJO_API_KEY",       kinds.HEADER,       None,                    "key for the Dojo API", secret=True),
    Row("DOJO_VERSION",       kinds.VERSION,      "2026-02-27",            "`version` header of calls to Dojo"),
    Row("SOFTWARE_HOUSE_ID",  kinds.HEADER,       None,                    "`software-house-id` header of calls to Dojo"),
    Row("RESELLER_ID",        kinds.HEADER,       None,                    "`reseller-id` header of calls to Dojo"),
    Row("ACCOUNT_IDS",        kinds.LIST,         "",                      "accepted `accountId`s; any when none is given"),
    Row("EPOS_USERNAME",      kinds.USERNAME,     None,                    "Dojo presents it to us; required unless ENV=test"),
    Row("EPOS_PASSWORD",      kinds.TEXT,         None,                    "Dojo presents it to us; required unless ENV=test", secret=True),
    Row("WEBHOOK_SECRETS",    kinds.LIST,         "",                      "a webhook's signature by any of them is good", secret=True),
    Row("TOKENS",             kinds.TOKENS,       "",                      "who may use the venue's side; the name is journaled", secret=True),
    Row("TILL_URL",           kinds.URL,          None,                    "where to tell the till of new orders and payments"),
    Row("TILL_SECRET",        kinds.TEXT,         None,                    "signs what is sent to TILL_URL", secret=True),
    Row("CURRENCY",           kinds.CURRENCY,     "GBP",                   "of the venue"),
    Row("TIMEZONE",           kinds.ZONE,         "Europe/London",         "of the venue; times on bills"),
    Row("VENUE_NAME",         kinds.TEXT,         "Venue",                 "of the venue; on bills where the template has no name"),
    Row("BILL_TEMPLATE",      kinds.TEMPLATE,     None,                    "TOML file with the bill's header and footer, see docs/bill.md"),
    Row("ORDER_AND_PAY_MODE", kinds.MODE,         "event",                 "whether CreateOrder's payments are captured by event or inline"),
    Row("SEARCH_DAYS",        kinds.DAYS,         "90",                    "how many days back SearchOrders looks, unless for payable orders"),
    Row("TABLES_ANSWER",      kinds.TABLES,       "pages",                 "SearchTables answers a list of pages, as published, or one page"),
    Row("RETRY_BASE_MS",      kinds.MILLISECONDS, "500",                   "first back-off of the outbox"),
    Row("RETRY_CAP_MS",       kinds.MILLISECONDS, "900000",                "longest back-off of the outbox"),
    Row("RETRY_HORIZON_S",    kinds.HORIZON,      "259200",                "age at which an effect is given up, if tried ten times"),
    Row("OUTBOUND_WORKERS",   kinds.WORKERS,      "32",                    "parallel calls to Dojo"),
    Row("RETRY_RPS",          kinds.PACE,         "20",                    "attempts a second that are not the first, and calls that they bring about, to Dojo and to the till each"),
    Row("CALL_DEADLINE_MS",   kinds.MILLISECONDS, "10000",                 "total time of one call, connect to last byte"),
    Row("LEASE_S",            kinds.SECONDS,      "30",                    "how long a worker may hold an effect"),
    Row("SWEEP_S",            kinds.SECONDS,      "60",                    "period of re-reading open payment intents"),
    Row("ORPHAN_ALARM_S",     kinds.SECONDS,      "300",                   "age at which an event without an order raises attention"),
    Row("PAID_ALARM_S",       kinds.SECONDS,      "120",                   "age at which money paid but not on the till raises attention"),
    Row("VERIFY_S",           kinds.HORIZON,      "21600",                 "period of verifying the whole journal in the background"),
    Row("MAX_BODY",           kinds.BODY,         "1048576",               "bytes of inbound JSON"),
    Row("MAX_DEPTH",          kinds.DEPTH,        "32",                    "nesting of inbound JSON"),
    Row("REQUESTS_PER_SECOND", kinds.RATE,       "500",                   "requests a second that one address may make, on either side"),
    Row("TRUSTED_PROXIES",    kinds.NETWORKS,     "",                      "proxies whose X-Forwarded-For says who calls"),
    Row("ENV",                kinds.ENV,          "production",            "test permits plain http on loopback and no EPOS credentials"),
)
# fmt: on

_ROW_OF = {row.name: row for row in ROWS}
_KNOWN = (*_ROW_OF, *(row.name + FILE_SUFFIX for row in ROWS if row.secret))
