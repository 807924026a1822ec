"""BILL_TEMPLATE: the header and the footer of a venue's bills, as TOML that its owner writes by hand. `docs/bill.md` has it whole.

Everything is checked when it is read, pictures included, and every mistake is reported, not only the first: the file, the key, and
what was expected there.
"""

from __future__ import annotations

import codecs
import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit
from xml.parsers import expat

from msgspec import UNSET

from adapters.edge.bill import (
    AddressLine,
    Align,
    BillImage,
    BillLine,
    BillLogo,
    BillMerchantAddress,
    BillMerchantEmailAddress,
    BillMerchantPhoneNumber,
    BillTaxNumber,
    BillTemplate,
    BillText,
    BillURL,
    EmailLine,
    ImageLine,
    LogoLine,
    PhoneLine,
    Rule,
    Size,
    TaxNumberLine,
    TextLine,
    UrlLine,
    name_line,
    rule_line,
)

MAX_TEMPLATE_BYTES = 65_536
MAX_SVG_BYTES = 65_536
"""Each bill carries its pictures: a logo drawn by hand has a few thousand bytes."""
MAX_LINES = 50
MAX_ADDRESS_LINES = 10
TEXT_CHARACTERS = 200
URL_CHARACTERS = 2_000
SHOWN_CHARACTERS = 60
"""Of a refused value, this much is repeated in the message."""

SVG = "http://www.w3.org/2000/svg svg"
"""How expat names the outermost element of an SVG document."""

LINE_KEYS: Mapping[str, tuple[str, ...]] = {
    "text": ("size", "align", "bold"),
    "line": (),
    "url": ("description", "show_qr", "show_url"),
    "image": ("align",),
}
"""What a line can be, and the keys that go with it."""

T = TypeVar("T")


class BadTemplate(ValueError):
    """The template cannot be used, which is a fault of the settings: exit code 3. `problems` has one line for each mistake."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def read_template(path: Path | None, venue_name: str) -> BillTemplate:
    """The template at `path`; without one a bill is headed by `venue_name` alone, as it is where the template has no name.

    Raises BadTemplate with every mistake.
    """
    if path is None:
        return BillTemplate((name_line(venue_name),))
    problems: list[str] = []
    document = _Table("", _read_toml(path), ("venue", "tax", "header", "footer"), problems)
    template = BillTemplate(
        header=(*_venue(document.table("venue", _VENUE_KEYS), path.parent, venue_name), *_lines(document, "header", path.parent)),
        footer=(*_lines(document, "footer", path.parent), *_tax(document.table("tax", ("name", "number")))),
    )
    if problems:
        raise BadTemplate(f"{path}: {problem}" for problem in problems)
    return template


@dataclass(frozen=True, slots=True)
class _Kind(Generic[T]):
    """What a value must be: `expected` completes "expected …"; `parse` raises ValueError, with or without a reason, on anything else."""

    expected: str
    parse: Callable[[Any], T]


class _Table:
    """One table of the file: gives its values by key, and notes every mistake in `problems`."""

    def __init__(self, place: str, raw: Mapping[str, Any], known: tuple[str, ...], problems: list[str]) -> None:
        self._place, self._raw, self._known, self._problems = place, raw, known, problems
        for key in raw.keys() - set(known):
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            self.refuse(_shown_key(key), f"there is no such key; the nearest is {nearest}")

    def __contains__(self, key: str) -> bool:
        return key in self._raw

    def keys_of(self, wanted: Iterable[str]) -> list[str]:
        """Those of the `wanted` keys that are given."""
        return [key for key in wanted if key in self._raw]

    def refuse(self, key: str, message: str) -> None:
        """Note a mistake at `key`, or of the table itself where that is empty."""
        self._problems.append(": ".join(filter(None, (self._place, key, message))))

    def get(self, key: str, kind: _Kind[T]) -> T | None:
        """The value of `key`; None where it is absent or a mistake."""
        if key not in self._raw:
            return None
        try:
            return kind.parse(self._raw[key])
        except ValueError as error:
            reason = f" ({error})" if str(error) else ""
            self.refuse(key, f"expected {kind.expected}, got {_shown(self._raw[key])}{reason}")
            return None

    def need(self, key: str, kind: _Kind[T], why: str = "") -> T | None:
        """As `get`, but its absence is a mistake too."""
        if key not in self._raw:
            self.refuse(key, f"required{why}, but absent; expected {kind.expected}")
        return self.get(key, kind)

    def table(self, key: str, known: tuple[str, ...]) -> _Table:
        """The table below `key`, empty where it is absent."""
        return _Table(f"[{key}]", self.get(key, _Kind(f"a table, begun with [{key}]", _as_table)) or {}, known, self._problems)

    def tables(self, key: str, known: tuple[str, ...]) -> list[_Table]:
        """The tables below `key`, which is repeated; numbered from 1 in what is said of them."""
        found = self.get(key, _Kind(f"at most {MAX_LINES} tables, each begun with [[{key}]]", _as_tables)) or []
        return [_Table(f"[[{key}]] entry {number}", raw, known, self._problems) for number, raw in enumerate(found, start=1)]


def _read_toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(_read_limited(path, MAX_TEMPLATE_BYTES).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadTemplate([f"{path}: expected a file of UTF-8 text, got other bytes"]) from error
    except ValueError as error:  # Not TOML, or not readable.
        raise BadTemplate([f"{path}: expected a TOML file: {error}"]) from error


def _read_limited(path: Path, limit: int) -> bytes:
    """The bytes of a plain file. Raises ValueError with the reason."""
    try:
        if not path.is_file():
            raise ValueError("no such file")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from error
    if len(data) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    return data.removeprefix(codecs.BOM_UTF8)


_VENUE_KEYS = ("name", "address", "postcode", "phone", "email", "logo")


def _venue(venue: _Table, folder: Path, venue_name: str) -> Iterator[BillLine]:
    if logo := venue.get("logo", _svg(folder)):
        yield LogoLine(logo=BillLogo(svg_image=logo))
    yield name_line(venue.get("name", _TEXT) or venue_name)
    if "address" in venue or "postcode" in venue:
        address = venue.need("address", _ADDRESS, " with postcode")
        postcode = venue.need("postcode", _TEXT, " with address")
        if address and postcode:
            yield AddressLine(merchant_address=BillMerchantAddress(address_lines=address, postcode=postcode))
    if phone := venue.get("phone", _PHONE):
        yield PhoneLine(merchant_phone_number=BillMerchantPhoneNumber(phone_number=phone))
    if email := venue.get("email", _EMAIL):
        yield EmailLine(merchant_email_address=BillMerchantEmailAddress(email_address=email))


def _tax(tax: _Table) -> Iterator[BillLine]:
    if tax.keys_of(("name", "number")):
        name, number = tax.need("name", _TEXT, " with number"), tax.need("number", _TEXT, " with name")
        if name and number:
            yield TaxNumberLine(tax_number=BillTaxNumber(name=name, number=number))


def _lines(document: _Table, section: str, folder: Path) -> Iterator[BillLine]:
    known = (*LINE_KEYS, *dict.fromkeys(key for keys in LINE_KEYS.values() for key in keys))
    for entry in document.tables(section, known):
        if line := _line(entry, known, folder):
            yield line


def _line(entry: _Table, known: tuple[str, ...], folder: Path) -> BillLine | None:
    kinds = entry.keys_of(LINE_KEYS)
    if len(kinds) != 1:
        entry.refuse("", f"expected one of {', '.join(LINE_KEYS)}, got {' and '.join(kinds) or 'none of them'}")
        return None
    [kind] = kinds
    for key in entry.keys_of(known):
        if key != kind and key not in LINE_KEYS[kind]:
            entry.refuse(
                key, f"expected only beside {' or '.join(name for name, keys in LINE_KEYS.items() if key in keys)}, got it beside {kind}"
            )
    return _LINE_OF[kind](entry, folder)


def _text_line(entry: _Table, folder: Path) -> BillLine | None:
    size, align = entry.get("size", _SIZE) or "Body", entry.get("align", _ALIGN) or "Center"
    bold, value = entry.get("bold", _FLAG) or False, entry.get("text", _TEXT)
    return TextLine(text=BillText(value=value, size=size, align=align, bold=bold)) if value else None


def _rule(entry: _Table, folder: Path) -> BillLine | None:
    line = entry.get("line", _RULE)
    return rule_line(line) if line else None


def _url_line(entry: _Table, folder: Path) -> BillLine | None:
    url, description = entry.get("url", _URL), entry.get("description", _TEXT)
    flags = {key: entry.get(key, _FLAG) is not False for key in ("show_qr", "show_url")}
    if not any(flags.values()) and "description" not in entry:
        entry.refuse("show_url", "expected true, or show_qr = true, or a description: nothing of this link would be seen")
    return UrlLine(url=BillURL(url=url, description=description or UNSET, **flags)) if url else None


def _image_line(entry: _Table, folder: Path) -> BillLine | None:
    image, align = entry.get("image", _svg(folder)), entry.get("align", _ALIGN) or "Center"
    return ImageLine(image=BillImage(svg_image=image, align=align)) if image else None


_LINE_OF: Mapping[str, Callable[[_Table, Path], BillLine | None]] = {
    "text": _text_line,
    "line": _rule,
    "url": _url_line,
    "image": _image_line,
}


def _refuse_unless(good: object) -> None:
    if not good:
        raise ValueError


def _as_table(value: Any) -> dict[str, Any]:
    _refuse_unless(isinstance(value, dict))
    found: dict[str, Any] = value
    return found


def _as_tables(value: Any) -> list[dict[str, Any]]:
    _refuse_unless(isinstance(value, list) and len(value) <= MAX_LINES)
    return [_as_table(item) for item in value]


def _as_text(value: Any) -> str:
    _refuse_unless(isinstance(value, str) and value.isprintable() and value.strip() == value)
    _refuse_unless(0 < len(value) <= TEXT_CHARACTERS)
    return str(value)


def _as_address(value: Any) -> tuple[str, ...]:
    lines = [value] if isinstance(value, str) else value
    _refuse_unless(isinstance(lines, list) and 0 < len(lines) <= MAX_ADDRESS_LINES)
    return tuple(map(_as_text, lines))


def _as_flag(value: Any) -> bool:
    _refuse_unless(isinstance(value, bool))
    return bool(value)


def _as_email(value: Any) -> str:
    _refuse_unless(re.fullmatch(r"[^@\s]+@[^@\s]+", _as_text(value)))
    return str(value)


def _as_phone(value: Any) -> str:
    _refuse_unless(re.fullmatch(r"[0-9+() ./-]{3,50}", _as_text(value)))
    return str(value)


def _as_url(value: Any) -> str:
    _refuse_unless(isinstance(value, str) and re.fullmatch(rf"[!-~]{{1,{URL_CHARACTERS}}}", value))
    parts = urlsplit(value)
    _refuse_unless(parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc)
    return str(value)


def _one_of(words: tuple[T, ...]) -> _Kind[T]:
    """One of Dojo's words, in capitals or not."""
    spelt = {str(word).casefold(): word for word in words}

    def parse(value: Any) -> T:
        _refuse_unless(isinstance(value, str) and value.casefold() in spelt)
        return spelt[value.casefold()]

    return _Kind(f"{', '.join(map(str, words[:-1]))} or {words[-1]}", parse)


def _svg(folder: Path) -> _Kind[str]:
    def parse(value: Any) -> str:
        return _svg_text(_read_limited(folder / _as_text(value), MAX_SVG_BYTES))

    return _Kind(f"the path of an SVG file of at most {MAX_SVG_BYTES} bytes, as seen from the template", parse)


def _svg_text(data: bytes) -> str:
    """The document from its outermost element on: it will be put into other documents. Raises ValueError with the reason."""
    _refuse_other_encodings(data)
    start: list[int] = []
    parser = expat.ParserCreate("utf-8", " ")

    def begin(name: str, attributes: object) -> None:
        if not start:
            if name != SVG:
                raise ValueError("its outermost element is not an svg of http://www.w3.org/2000/svg")
            start.append(parser.CurrentByteIndex)

    def declare(*entity: object) -> None:
        raise ValueError("it declares entities, which may not be")

    parser.StartElementHandler, parser.EntityDeclHandler = begin, declare
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"it is not well-formed: {error}") from error
    return data[start[0] :].decode().strip()


def _refuse_other_encodings(data: bytes) -> None:
    """expat would recognise UTF-16 by itself, whatever it is told; in it every letter of the markup has a NUL beside it."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    if b"\0" in data:
        raise ValueError("it is not UTF-8")


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else f"a list of {len(value)}"
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def _shown_key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]{1,60}", key) else _shown(key)


_SIZES: tuple[Size, ...] = ("Body", "Header1", "Header2")
_ALIGNS: tuple[Align, ...] = ("Left", "Center", "Right")
_RULES: tuple[Rule, ...] = ("Single", "Double")
_TEXT = _Kind(f"text in one line of 1 to {TEXT_CHARACTERS} characters, without control characters and outer spaces", _as_text)
_ADDRESS = _Kind(f"a list of 1 to {MAX_ADDRESS_LINES} texts", _as_address)
_PHONE = _Kind("a telephone number in quotes: 3 to 50 of digits, spaces and + ( ) . / -", _as_phone)
_EMAIL = _Kind("an e-mail address such as hello@corner.example", _as_email)
_URL = _Kind(f"an http or https URL of at most {URL_CHARACTERS} visible ASCII characters, without user and password", _as_url)
_FLAG = _Kind("true or false", _as_flag)
_SIZE, _ALIGN, _RULE = _one_of(_SIZES), _one_of(_ALIGNS), _one_of(_RULES)
