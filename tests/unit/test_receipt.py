"""The bill as text: what is printed of an order, where it stands, and what must never reach a terminal."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.cli.receipt import LEAST_WIDTH, MOST_WIDTH, cells, receipt, wrapped
from adapters.edge.bill import BillTemplate, name_line, order_bill
from adapters.edge.bill_template import read_template
from adapters.edge.wire import TableBody
from adapters.edge.wire_orders import PaymentAnswer, order_answer
from workflow.bill import Bill, Collection, Customer, Details, DineIn, Discount, Item, Modifier, Personal, SubItem, TaxLine
from workflow.money import MAX_MINOR_UNITS, Money

LONDON = ZoneInfo("Europe/London")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "bill.md"
PLAIN = BillTemplate((name_line("The Corner"),))
TABLES = (TableBody(id="tbl_12", name="Table 12"),)


def gbp(value):
    return Money(value, "GBP")


def an_item(name="Margherita", quantity=1, price=1200, **changes):
    return Item(name=name, plu="P", quantity=quantity, amount_per_item=gbp(price), **changes)


def a_modifier(name, quantity=1, price=0):
    return Modifier(name=name, plu="M", quantity=quantity, amount_per_modifier=gbp(price))


def a_sub_item(name, quantity=1, price=0, *modifiers):
    return SubItem(name=name, plu="S", quantity=quantity, amount_per_item=gbp(price), modifiers=modifiers)


def at_table(table_id=None, waiter_id=None):
    return Details(order_type="DineIn", dine_in=DineIn(table_id=table_id, waiter_id=waiter_id))


def an_answer(
    *items, total=1200, payments=((0, 0),), payable=True, status="Confirmed", personal=None, at="2026-03-14T12:01:07.120Z", **bill
):
    """An order as GetOrderById answers it; `payments` are pairs of what is paid and its tip."""
    details = bill.pop("details", at_table("tbl_12"))
    rows = [(paid, tips) for paid, tips in payments if paid or tips]
    return order_answer(
        id="tp_1",
        status=status,
        bill=Bill(details=details, items=items or (an_item(),), total_amount=gbp(total), **bill),
        personal=personal or Personal(),
        paid=gbp(sum(paid for paid, _ in rows)),
        tips=gbp(sum(tips for _, tips in rows)),
        payments=[
            PaymentAnswer(payment_intent_id=f"pi_{n}", paid_amount=gbp(paid), tips_amount=gbp(tips)) for n, (paid, tips) in enumerate(rows)
        ],
        payable=payable,
        created_at=at,
        updated_at=at,
    )


def printed(order, *, template=PLAIN, tables=TABLES, zone=LONDON, width=42):
    return list(receipt(order_bill(order, template, tables, zone), zone, width))


def shown(lines):
    """The lines without the space around them, and with single spaces inside."""
    return [" ".join(line.split()) for line in lines]


WHOLE = {
    "details": at_table("tbl_12", "42"),
    "total": 4455,
    "reference": "A-1042",
    "discounts": (Discount(name="Weekday", amount_total=gbp(440), amount_percentage=1000),),
    "service_charge_amount": gbp(495),
    "tax_lines": (TaxLine(id="VAT20", name="VAT", amount_total=gbp(660), amount_percentage=2000),),
    "payments": ((2200, 500), (1155, 0)),
}
ITEMS = (
    an_item("Cheeseburger", 2, 1250, modifiers=(a_modifier("Extra cheese", 1, 150), a_modifier("No onion"))),
    an_item("Lunch set", 1, 1500, sub_items=(a_sub_item("Tomato soup"), a_sub_item("Lemonade", 1, 0, a_modifier("Large", 1, 100)))),
)


def sample(folder):
    """The order of the page's sample, below the page's template."""
    template = folder / "bill.toml"
    template.write_text(re.search(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1], "utf-8")
    (folder / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>', "utf-8")
    return printed(an_answer(*ITEMS, **WHOLE), template=read_template(template, "Venue"))


def test_the_sample_of_the_page_is_what_is_printed(tmp_path):
    assert re.search(r"<!-- sample -->\n```text\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1].splitlines() == sample(tmp_path)


def test_a_bill_without_a_template_has_the_venue_the_order_and_no_footer():
    assert printed(an_answer(reference="A-1042")) == [
        "                The Corner",
        "                 Table 12",
        "             Reference A-1042",
        "-" * 42,
        "14 Mar 2026, 12:01",
        "",
        "1 × Margherita                      £12.00",
        "-" * 42,
        "TOTAL                               £12.00",
        "-" * 42,
        "Paid                                 £0.00",
        "Outstanding                         £12.00",
    ]


def test_amounts_stand_in_one_column_behind_their_prices():
    lines = printed(an_answer(an_item("Tea", 2, 250), an_item("Champagne", 12, 10_000)))

    assert "2 × Tea                at £2.50      £5.00" in lines
    assert "12 × Champagne       at £100.00  £1,200.00" in lines


def test_counts_multiply_down_to_the_modifier_of_a_part_of_a_set():  # contract §8.5
    part = a_sub_item("Side", 3, 200, a_modifier("Dip", 2, 50))
    lines = shown(printed(an_answer(an_item("Set", 2, 1000, modifiers=(a_modifier("Cheese", 2, 100),), sub_items=(part,)))))

    assert lines[lines.index("") + 1 :][:4] == [
        "2 × Set at £10.00 £20.00",
        "4 × Cheese at £1.00 £4.00",
        "6 × Side at £2.00 £12.00",
        "12 × Dip at £0.50 £6.00",
    ]


def test_modifiers_and_parts_are_indented_below_what_they_belong_to():
    indents = {line.strip()[4:]: len(line) - len(line.lstrip()) for line in printed(an_answer(*ITEMS)) if "×" in line}
    assert {name.split("  ")[0]: indent for name, indent in indents.items()} == {
        **{"Cheeseburger": 0, "Extra cheese": 2, "No onion": 2},
        **{"Lunch set": 0, "Tomato soup": 2, "Lemonade": 2, "Large": 4},
    }


def test_what_is_part_of_something_at_no_price_has_no_amount_and_a_free_item_has():
    lines = shown(printed(an_answer(an_item("Water", 1, 0, modifiers=(a_modifier("Ice"),)))))
    assert {"1 × Water £0.00", "1 × Ice"} <= set(lines)


def test_a_modifier_may_take_money_off():
    assert "1 × No bacon -£0.50" in shown(printed(an_answer(an_item(modifiers=(a_modifier("No bacon", 1, -50),)))))


# Sums


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"discounts": (Discount(name="Staff", amount_total=gbp(100)),)}, ["Staff -£1.00", "TOTAL £12.00"]),
        ({"discounts": (Discount(name="Staff", amount_total=gbp(100), amount_percentage=2510),)}, ["Staff 25.1% -£1.00"]),
        ({"discounts": (Discount(name="Weekday 10%", amount_total=gbp(120), amount_percentage=1000),)}, ["Weekday 10% -£1.20"]),
        ({"service_charge_amount": gbp(150)}, ["Service charge £1.50", "TOTAL £12.00"]),
        ({"tax_lines": (TaxLine(name="VAT", amount_total=gbp(200), amount_percentage=2000),)}, ["TOTAL £12.00", "including VAT 20% £2.00"]),
        ({"tax_lines": (TaxLine(id="VAT20", amount_total=gbp(200)),)}, ["including VAT20 £2.00"]),
        ({"tax_lines": (TaxLine(amount_total=gbp(200)),)}, ["including tax £2.00"]),
        ({"tax_lines": (TaxLine(name="VAT", amount_total=gbp(200), amount_percentage=1705),)}, ["including VAT 17.05% £2.00"]),
    ],
    ids=range(8),
)
def test_discounts_service_and_taxes_stand_around_the_total(changes, expected):
    lines = shown(printed(an_answer(**changes)))
    assert lines[(place := lines.index(expected[0])) : place + len(expected)] == expected


def test_no_service_charge_and_no_tips_are_not_mentioned():
    assert not [line for line in printed(an_answer()) if "Service" in line or "Tip" in line]


def test_the_total_is_the_orders_even_where_its_lines_come_to_something_else():
    assert "TOTAL £9.99" in shown(printed(an_answer(an_item(price=1200), total=999)))


PAID = {
    "nothing": ({}, ["Paid £0.00", "Outstanding £12.00"]),
    "a-part": ({"payments": ((500, 0),)}, ["Paid £5.00", "Outstanding £7.00"]),
    "all-with-a-tip": ({"payments": ((1200, 300),), "payable": False}, ["Paid £12.00", "Tips £3.00", "Outstanding £0.00"]),
    "by-two": (
        {"payments": ((700, 100), (500, 0)), "payable": False},
        ["Payment 1: £7.00 + £1.00 tip", "Payment 2: £5.00", "Paid £12.00", "Tips £1.00", "Outstanding £0.00"],
    ),
    "too-much": ({"payments": ((1300, 0),), "payable": False}, ["Paid £13.00", "Overpaid £1.00"]),
    "held-by-dojo": ({"payable": False}, ["Paid £0.00", "Outstanding £12.00", "not to be paid now"]),
    "cancelled": ({"status": "Canceled", "payable": False}, ["Paid £0.00", "This order was cancelled."]),
    "refused": ({"status": "Failed", "payable": False}, ["Paid £0.00", "This order was not accepted."]),
}


@pytest.mark.parametrize("name", PAID)
def test_what_is_paid_and_what_is_left_ends_the_bill(name):
    changes, expected = PAID[name]
    assert shown(printed(an_answer(**changes)))[-len(expected) :] == expected


# Whose order it is


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["Table 12"]),
        ({"details": at_table("7")}, ["Table 7"]),
        ({"details": at_table("Table 5")}, ["Table 5"]),
        ({"details": at_table()}, ["Order tp_1"]),
        ({"details": at_table(), "reference": "A-1"}, ["Reference A-1"]),
        ({"display_name": "Table 12"}, ["Table 12"]),
        ({"display_name": "Terrace", "reference": "A-1"}, ["Terrace", "Table 12", "Reference A-1"]),
        ({"display_name": " \t ", "reference": ""}, ["Table 12"]),
        ({"details": Details(order_type="Collection", collection=Collection())}, ["Collection"]),
        ({"details": Details(order_type="Collection", collection=Collection(asap=True))}, ["Collection, as soon as possible"]),
        (
            {"details": Details(order_type="Collection", collection=Collection(collect_at="2026-07-04T18:30:00Z")), "reference": "C-77"},
            ["Collection 4 Jul 2026, 19:30", "Reference C-77"],
        ),
    ],
    ids=range(11),
)
def test_the_header_ends_with_what_tells_the_order_from_others_and_a_rule(changes, expected):
    bill = order_bill(an_answer(**changes), PLAIN, TABLES, LONDON)

    texts = [line.text for line in bill.header.lines[1:-1]]
    assert [text.value for text in texts] == expected
    assert [(text.size, text.bold) for text in texts] == [("Header2", True), *[("Body", False)] * (len(texts) - 1)]
    assert bill.header.lines[-1].horizontal_line.line == "Single"


@pytest.mark.parametrize(
    ("zone", "at", "expected"),
    [
        ("Europe/London", "2026-03-14T12:01:07.120Z", "14 Mar 2026, 12:01"),
        ("Europe/London", "2026-07-14T23:30:00.000Z", "15 Jul 2026, 00:30"),
        ("Europe/Dublin", "2026-12-31T23:59:59.999Z", "31 Dec 2026, 23:59"),
        ("Europe/Madrid", "2026-12-31T23:59:59.999Z", "1 Jan 2027, 00:59"),
    ],
)
def test_times_are_told_by_the_clock_of_the_venue(zone, at, expected):
    assert expected in printed(an_answer(at=at), zone=ZoneInfo(zone))


def test_the_waiter_stands_beside_the_time():
    assert "14 Mar 2026, 12:01               Waiter 42" in printed(an_answer(details=at_table("1", "42")))


def test_notes_and_the_customer_are_not_printed():
    personal = Personal(customer=Customer(name="Sam Sample"), note="birthday", item_notes={"items[0]": "well done"})
    text = "\n".join(printed(an_answer(personal=personal)))
    assert not [word for word in ("Sam", "birthday", "well done") if word in text]


# Width


def test_a_long_name_wraps_beside_its_amount_and_under_itself():
    assert printed(an_answer(an_item("Slow roasted shoulder of lamb with rosemary", 2, 1850)))[5:8] == [
        "2 × Slow roasted         at £18.50  £37.00",
        "    shoulder of lamb",
        "    with rosemary",
    ]


def test_where_there_is_no_room_beside_a_long_name_its_amount_stands_below():
    assert printed(an_answer(an_item("Slow roasted lamb", 2, 185_000)), width=26)[5:7] == [
        "2 × Slow roasted lamb",
        "   at £1,850.00  £3,700.00",
    ]


def test_a_count_as_wide_as_the_paper_stays_on_it():
    million = 1_000_000
    item = an_item("", million, 1, sub_items=(a_sub_item("", million, 1, a_modifier("Ice", million, MAX_MINOR_UNITS)),))
    assert max(map(cells, printed(an_answer(item), width=LEAST_WIDTH))) == LEAST_WIDTH


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 5, [""]),
        ("one two", 7, ["one two"]),
        ("one two", 6, ["one", "two"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("a bcdefg", 3, ["a", "bcd", "efg"]),
        ("寿司 寿司", 4, ["寿司", "寿司"]),
        ("寿司寿", 5, ["寿司", "寿"]),
        ("cafe\N{COMBINING ACUTE ACCENT} au", 4, ["cafe\N{COMBINING ACUTE ACCENT}", "au"]),
    ],
)
def test_text_is_wrapped_by_the_columns_that_it_takes(text, width, lines):
    assert wrapped(text, width) == lines


NAMES = st.text(max_size=60)
AMOUNTS = st.integers(0, MAX_MINOR_UNITS).map(gbp)
COUNTS = st.integers(1, 1_000_000)


@st.composite
def orders(draw):
    modifiers = st.builds(
        Modifier, name=NAMES, plu=st.just("M"), quantity=COUNTS, amount_per_modifier=st.integers(-MAX_MINOR_UNITS, MAX_MINOR_UNITS).map(gbp)
    )
    some = st.lists(modifiers, max_size=2).map(tuple)
    sub_items = st.builds(SubItem, name=NAMES, plu=st.just("S"), quantity=COUNTS, amount_per_item=AMOUNTS, modifiers=some)
    items = st.builds(
        Item,
        **{"name": NAMES, "plu": st.just("P"), "quantity": COUNTS, "amount_per_item": AMOUNTS, "modifiers": some},
        sub_items=st.lists(sub_items, max_size=2).map(tuple),
    )
    return an_answer(
        *draw(st.lists(items, max_size=3)),
        total=draw(st.integers(0, MAX_MINOR_UNITS)),
        payments=draw(st.lists(st.tuples(st.integers(0, MAX_MINOR_UNITS), st.integers(0, 10**6)), max_size=3)),
        details=at_table(draw(NAMES), draw(NAMES)),
        reference=draw(NAMES),
        display_name=draw(NAMES),
        discounts=tuple(draw(st.lists(st.builds(Discount, name=NAMES, amount_total=AMOUNTS, amount_percentage=st.integers()), max_size=2))),
        tax_lines=tuple(draw(st.lists(st.builds(TaxLine, name=NAMES, amount_total=AMOUNTS), max_size=2))),
    )


@given(order=orders(), width=st.integers(LEAST_WIDTH, MOST_WIDTH))
@settings(max_examples=150, deadline=None)
def test_whatever_an_order_holds_no_line_is_too_wide_and_none_can_control_a_terminal(order, width):
    for line in printed(order, width=width):
        assert cells(line) <= width
        assert line.isprintable()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("\x1b[2J\x1b]0;owned\x07Soup", "1 × \ufffd[2J\ufffd]0;owned\ufffdSoup"),
        ("Tea\r\nTOTAL £0.00", "1 × Tea TOTAL £0.00"),
        ("\x9b31mRed", "1 × \ufffd31mRed"),
        ("gnp.\u202eemos\u2066", "1 × gnp.emos"),
        ("Caf\u00e9\u00a0\u2028au\tlait", "1 × Café au lait"),
        ("\U0001f468\u200d\U0001f373 special", "1 × \U0001f468\U0001f373 special"),
    ],
    ids=range(6),
)
def test_what_controls_a_terminal_does_not_reach_it(name, expected):
    lines = printed(an_answer(an_item(name), reference=name, display_name=name), width=80)

    assert [line for line in lines if line.startswith("1 ×")] == [expected + " " * (80 - cells(expected) - 6) + "£12.00"]
    assert not [c for line in lines for c in line if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        print("\n".join(sample(Path(place))))
