"""The bill's template: what a venue's owner may write, what becomes of it, and what is said of each mistake."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest

from adapters.edge.bill_template import MAX_LINES, MAX_SVG_BYTES, MAX_TEMPLATE_BYTES, BadTemplate, read_template

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bill.md"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0"/></svg>'


def sent(lines):
    return msgspec.json.decode(msgspec.json.encode(lines))


@pytest.fixture
def read(tmp_path):
    """Reads a template beside `logo.svg`; its header and footer, as they go out."""
    (tmp_path / "logo.svg").write_text(SVG, "utf-8")

    def read(text, logo=None):
        if logo is not None:
            (tmp_path / "logo.svg").write_bytes(logo if isinstance(logo, bytes) else logo.encode())
        (tmp_path / "bill.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        found = read_template(tmp_path / "bill.toml", "Venue of the settings")
        return sent(found.header), sent(found.footer)

    return read


@pytest.fixture
def problems_of(read, tmp_path):
    def problems_of(text, logo=None):
        with pytest.raises(BadTemplate) as refused:
            read(text, logo)
        assert str(refused.value) == "\n".join(refused.value.problems)
        prefix = f"{tmp_path / 'bill.toml'}: "
        assert {problem.startswith(prefix) for problem in refused.value.problems} == {True}
        return [problem.removeprefix(prefix) for problem in refused.value.problems]

    return problems_of


def name(text):
    return {"lineType": "MerchantName", "merchantName": {"name": text}}


def text_line(value, size="Body", align="Center", bold=False):
    return {"lineType": "Text", "text": {"value": value, "size": size, "align": align, "bold": bold}}


def test_without_a_template_a_bill_is_headed_by_the_name_of_the_venue():
    assert sent(read_template(None, "The Corner").header) == [name("The Corner")]
    assert read_template(None, "The Corner").footer == ()


def test_an_empty_template_is_none(read):
    assert read("") == ([name("Venue of the settings")], [])


def test_the_template_of_the_page_is_read_whole(read):
    header, footer = read(re.search(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1])

    assert header == [
        {"lineType": "Logo", "logo": {"svgImage": SVG}},
        name("The Corner"),
        {"lineType": "MerchantAddress", "merchantAddress": {"addressLines": ["12 High Street", "Anytown"], "postcode": "AB1 2CD"}},
        {"lineType": "MerchantPhoneNumber", "merchantPhoneNumber": {"phoneNumber": "01632 960123"}},
        {"lineType": "MerchantEmailAddress", "merchantEmailAddress": {"emailAddress": "hello@corner.example"}},
        {"lineType": "HorizontalLine", "horizontalLine": {"line": "Double"}},
    ]
    assert footer == [
        text_line("Thank you, see you soon!", "Header2", bold=True),
        {
            "lineType": "URL",
            "url": {"url": "https://corner.example/menu", "description": "Our menu", "showQr": True, "showUrl": False},
        },
        {"lineType": "TaxNumber", "taxNumber": {"name": "VAT", "number": "342 6287 32"}},
    ]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ('text = "Hello"', text_line("Hello")),
        ('text = "£5 – für Zoë, 寿司"', text_line("£5 – für Zoë, 寿司")),
        ('text = "a"\nsize = "header1"\nalign = "RIGHT"\nbold = true', text_line("a", "Header1", "Right", bold=True)),
        ('line = "single"', {"lineType": "HorizontalLine", "horizontalLine": {"line": "Single"}}),
        (
            'url = "http://corner.example"',
            {"lineType": "URL", "url": {"url": "http://corner.example", "showQr": True, "showUrl": True}},
        ),
        (
            'url = "https://corner.example"\nshow_qr = false\nshow_url = false\ndescription = "Menu"',
            {"lineType": "URL", "url": {"url": "https://corner.example", "description": "Menu", "showQr": False, "showUrl": False}},
        ),
        ('image = "logo.svg"\nalign = "Left"', {"lineType": "Image", "image": {"svgImage": SVG, "align": "Left"}}),
    ],
    ids=range(7),
)
@pytest.mark.parametrize("section", ["header", "footer"])
def test_a_line_goes_out_as_dojo_spells_it(read, section, entry, line):
    header, footer = read(f"[[{section}]]\n{entry}")
    assert (header[1:] if section == "header" else footer) == [line]


def test_lines_keep_their_order(read):
    _, footer = read('[[footer]]\nline = "Single"\n[[footer]]\ntext = "b"\n[[footer]]\ntext = "a"')
    assert [line.get("text", {}).get("value") for line in footer] == [None, "b", "a"]


def test_an_address_may_be_one_text(read):
    header, _ = read('[venue]\naddress = "12 High Street"\npostcode = "AB1"')
    assert header[1]["merchantAddress"] == {"addressLines": ["12 High Street"], "postcode": "AB1"}


@pytest.mark.parametrize(
    "before",
    [
        "",
        "\ufeff",
        "<!-- a drawing -->\n",
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd">\n',
    ],
    ids=["bare", "mark", "comment", "prologue"],
)
def test_of_a_picture_the_element_alone_goes_out(read, before):
    header, _ = read('venue.logo = "logo.svg"', logo=f"{before}{SVG}\n")
    assert header[0] == {"lineType": "Logo", "logo": {"svgImage": SVG}}


def test_a_picture_is_looked_for_beside_the_template(read, tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "logo.svg").write_text(SVG)
    monkeypatch.chdir("/")
    header, _ = read('venue.logo = "pictures/logo.svg"')
    assert header[0]["logo"]["svgImage"] == SVG


TEXT = "text in one line of 1 to 200 characters"
URL = "expected an http or https URL"
PICTURE = f"expected the path of an SVG file of at most {MAX_SVG_BYTES} bytes, as seen from the template"
MISTAKES = (
    # the template, then what is said
    ("[venue]\nname = 1", f"[venue]: name: expected {TEXT}"),
    ('[venue]\nname = ""', f"[venue]: name: expected {TEXT}"),
    ('[venue]\nname = " a"', f"[venue]: name: expected {TEXT}"),
    ('[venue]\nname = "a\\u001b[31m"', "[venue]: name: expected text in one line"),
    ('[venue]\nname = "a\\u202eb"', "[venue]: name: expected text in one line"),
    ('[venue]\nname = """a\nb"""', "[venue]: name: expected text in one line"),
    (f'[venue]\nname = "{"a" * 201}"', f"[venue]: name: expected {TEXT}"),
    ('[venue]\nnmae = "a"', "[venue]: nmae: there is no such key; the nearest is name"),
    ('[venue]\n"e mail" = "a"', "[venue]: 'e mail': there is no such key; the nearest is email"),
    ('[vanue]\nname = "a"', "vanue: there is no such key; the nearest is venue"),
    ('name = "a"', "name: there is no such key; the nearest is "),
    ('venue = "a"', "venue: expected a table, begun with [venue], got 'a'"),
    ('[venue]\naddress = ["a"]', "[venue]: postcode: required with address, but absent; expected text"),
    ('[venue]\npostcode = "a"', "[venue]: address: required with postcode, but absent; expected a list of 1 to 10 texts"),
    ('[venue]\naddress = []\npostcode = "a"', "[venue]: address: expected a list of 1 to 10 texts, got a list of 0"),
    ('[venue]\naddress = ["a", 1]\npostcode = "a"', "[venue]: address: expected a list of 1 to 10 texts, got a list of 2"),
    ("[venue]\nphone = 1632960123", "[venue]: phone: expected a telephone number in quotes"),
    ('[venue]\nphone = "call us"', "[venue]: phone: expected a telephone number in quotes"),
    ('[venue]\nemail = "corner.example"', "[venue]: email: expected an e-mail address such as hello@corner.example, got 'corner.example'"),
    ("[venue]\nlogo = 1", f"[venue]: logo: {PICTURE}, got 1"),
    ('[venue]\nlogo = "none.svg"', f"[venue]: logo: {PICTURE}, got 'none.svg' (no such file)"),
    ('[venue]\nlogo = "."', f"[venue]: logo: {PICTURE}, got '.' (no such file)"),
    ('[tax]\nname = "VAT"', "[tax]: number: required with name, but absent; expected text"),
    ('[tax]\nnumber = "1"', "[tax]: name: required with number, but absent; expected text"),
    ('[tax]\nname = "VAT"\nnumber = 342', "[tax]: number: expected text"),
    ('[header]\ntext = "a"', "header: expected at most 50 tables, each begun with [[header]], got a table"),
    ('footer = ["a"]', "footer: expected at most 50 tables, each begun with [[footer]], got a list of 1"),
    ("[[header]]", "[[header]] entry 1: expected one of text, line, url, image, got none of them"),
    ('[[header]]\nsize = "Body"', "[[header]] entry 1: expected one of text, line, url, image, got none of them"),
    ('[[footer]]\ntext = "a"\nline = "Single"', "[[footer]] entry 1: expected one of text, line, url, image, got text and line"),
    ('[[footer]]\ntext = "a"\n[[footer]]\ntxet = "b"\ntext = "b"', "[[footer]] entry 2: txet: there is no such key; the nearest is text"),
    ('[[footer]]\ntext = "a"\nshow_qr = true', "[[footer]] entry 1: show_qr: expected only beside url, got it beside text"),
    ('[[footer]]\nline = "Single"\nalign = "Left"', "[[footer]] entry 1: align: expected only beside text or image, got it beside line"),
    ('[[header]]\ntext = "a"\nsize = "huge"', "[[header]] entry 1: size: expected Body, Header1 or Header2, got 'huge'"),
    ('[[header]]\ntext = "a"\nsize = 1', "[[header]] entry 1: size: expected Body, Header1 or Header2, got 1"),
    ('[[header]]\ntext = "a"\nalign = "centre"', "[[header]] entry 1: align: expected Left, Center or Right, got 'centre'"),
    ('[[header]]\ntext = "a"\nbold = "yes"', "[[header]] entry 1: bold: expected true or false, got 'yes'"),
    ('[[header]]\ntext = "a"\nbold = 1', "[[header]] entry 1: bold: expected true or false, got 1"),
    ("[[header]]\ntext = true", f"[[header]] entry 1: text: expected {TEXT}"),
    ('[[header]]\nline = "dotted"', "[[header]] entry 1: line: expected Single or Double, got 'dotted'"),
    ("[[header]]\nline = true", "[[header]] entry 1: line: expected Single or Double, got true"),
    ('[[header]]\nurl = "corner.example"', f"[[header]] entry 1: url: {URL}"),
    ('[[header]]\nurl = "javascript:alert(1)"', f"[[header]] entry 1: url: {URL}"),
    ('[[header]]\nurl = "https://a:b@corner.example"', f"[[header]] entry 1: url: {URL}"),
    ('[[header]]\nurl = "https://[corner"', f"[[header]] entry 1: url: {URL}"),
    ('[[header]]\nurl = "https://corner.example/ä"', f"[[header]] entry 1: url: {URL}"),
    (f'[[header]]\nurl = "https://corner.example/{"a" * 2000}"', f"[[header]] entry 1: url: {URL}"),
    (
        '[[header]]\nurl = "https://c.example"\nshow_qr = false\nshow_url = false',
        "[[header]] entry 1: show_url: expected true, or show_qr = true",
    ),
    ('[[header]]\nimage = "none.svg"', f"[[header]] entry 1: image: {PICTURE}, got 'none.svg' (no such file)"),
)


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_told_by_file_key_and_what_was_expected(problems_of, text, said):
    [problem] = problems_of(text)
    assert problem.startswith(said)


def test_every_mistake_is_told_and_not_only_the_first(problems_of):
    text = "[venue]\nname = 1\nphone = 2\n[[header]]\n[[footer]]\ntext = 3\nbold = 4\n[tax]\nname = 5\n[texts]"
    assert [problem.partition(": expected")[0].partition(": required")[0] for problem in problems_of(text)] == [
        "texts: there is no such key; the nearest is tax",
        "[venue]: name",
        "[venue]: phone",
        "[[header]] entry 1",
        "[[footer]] entry 1: bold",
        "[[footer]] entry 1: text",
        "[tax]: name",
        "[tax]: number",
    ]


def test_a_long_value_is_repeated_in_part(problems_of):
    [problem] = problems_of(f'[venue]\nemail = "{"a" * 5000}"')
    assert len(problem) < 200


def test_too_many_lines_are_refused(problems_of, read):
    entry = '[[footer]]\ntext = "a"\n'
    assert len(read(entry * MAX_LINES)[1]) == MAX_LINES
    assert problems_of(entry * (MAX_LINES + 1)) == ["footer: expected at most 50 tables, each begun with [[footer]], got a list of 51"]


PICTURES = {
    "html": ("<html><svg/></html>", "its outermost element is not an svg of http://www.w3.org/2000/svg"),
    "no-namespace": ("<svg/>", "its outermost element is not an svg"),
    "text": ("a logo", "it is not well-formed"),
    "empty": ("", "it is not well-formed"),
    "half": (SVG[:-3], "it is not well-formed"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0", "it is not UTF-8"),
    "latin-1": (SVG.replace("M0", "\u00e9").encode("latin-1"), "it is not UTF-8"),
    "utf-16": (SVG.encode("utf-16"), "it is not UTF-8"),
    "utf-16-unmarked": (SVG.encode("utf-16-le"), "it is not UTF-8"),
    "entities": (f'<!DOCTYPE svg [<!ENTITY a "aaaa">]>{SVG}', "it declares entities"),
    "foreign-entity": (
        f'<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>{SVG.replace("<path", "&a;<path")}',
        "it declares entities",
    ),
    "large": (SVG.replace("M0 0", "M0 0" * (MAX_SVG_BYTES // 4)), f"it has more than {MAX_SVG_BYTES} bytes"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_what_is_no_picture_is_refused_with_the_reason(problems_of, kind):
    content, reason = PICTURES[kind]
    [problem] = problems_of('venue.logo = "logo.svg"', logo=content)
    assert problem.startswith(f"[venue]: logo: {PICTURE}, got 'logo.svg' ({reason}")


def test_a_picture_of_exactly_the_limit_is_taken(read):
    logo = SVG.replace("</svg>", " " * (MAX_SVG_BYTES - len(SVG)) + "</svg>")
    assert read('venue.logo = "logo.svg"', logo=logo)[0][0]["logo"]["svgImage"] == logo


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_picture_and_nothing_waits_for_it(problems_of, tmp_path):
    os.mkfifo(tmp_path / "pipe.svg")
    assert "(no such file)" in problems_of('venue.logo = "pipe.svg"')[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[venue", "expected a TOML file: "),
        ("[venue]\nname = a", "expected a TOML file: "),
        ("[venue]\n[venue]", "expected a TOML file: "),
        (b"[venue]\nname = '\xe9'", "expected a file of UTF-8 text, got other bytes"),
        ("#" * (MAX_TEMPLATE_BYTES + 1), f"expected a TOML file: it has more than {MAX_TEMPLATE_BYTES} bytes"),
    ],
    ids=["bracket", "quotes", "twice", "latin-1", "large"],
)
def test_a_file_that_is_no_toml_is_refused_with_the_reason(problems_of, text, said):
    [problem] = problems_of(text)
    assert problem.startswith(said)


def test_a_template_that_went_away_is_told(tmp_path):
    with pytest.raises(BadTemplate, match=r"none\.toml: expected a TOML file: no such file"):
        read_template(tmp_path / "none.toml", "Venue")


def test_a_template_with_a_mark_at_its_beginning_is_read(read):
    assert read('\ufeff[venue]\nname = "The Corner"')[0] == [name("The Corner")]
