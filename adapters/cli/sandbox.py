"""`tillproof sandbox`: the Dojo simulator alone, or playing flows against any POS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_args

import click
import msgspec

from adapters.cli.arrows import arrow
from adapters.cli.context import json_option
from adapters.cli.output import Command, Exit, Failure, emit, end_found, paint
from adapters.sandbox import (
    BOOKINGS,
    DEFAULT_PLU,
    ORDER_AND_PAY,
    PAY_AT_TABLE,
    PAY_ONLY,
    Bookings,
    FlowResult,
    OptionalCapability,
    OrderAndPay,
    PayAtTable,
    PayOnly,
    Pos,
    Request,
    Sandbox,
    SandboxError,
    basket_of,
    control_routes,
    default_basket,
    fault_defaults,
    fault_kinds,
    magic_table,
    run_forever,
)
from workflow.money import Money

DEFAULT_PORT = 8090
DEFAULT_KEY = "sk_sandbox_local"
FLOWS = {ORDER_AND_PAY: "Order and Pay", PAY_ONLY: "Pay-only", PAY_AT_TABLE: "Pay at Table", BOOKINGS: "Bookings"}
CHANNELS = ("registered", "capability", "webhook", "both")
AFTERWARDS = ("refund", "refund-part", "reversal", "cancel")
INSTEAD = ("cancel", "reversal", "decline")
FAULT_EXAMPLE = {"method": "GET", "path": "/payment-intents/*", "kind": "500", "times": 2}


def _control_guide() -> list[str]:
    """How to drive a sandbox that runs: the parts of its help after the magic amounts, tables indented."""
    kinds = fault_kinds()
    width = max(len(kind) for group in kinds.values() for kind in group)
    guide = [
        "A simulator that runs is driven over HTTP, with the API key in the header Authorization: Basic KEY:",
        "\n".join(f"  {call.ljust(max(map(len, control_routes())))}  {does}" for call, does in control_routes().items()),
        f"A fault's path is a shell pattern; unless given, {fault_defaults()}. Its kinds, by what it is about:",
    ]
    for about, group in kinds.items():
        guide.append("\n".join([f"  {about}", *(f"    {kind.ljust(width)}  {means}" for kind, means in group.items())]))
    url = f"http://127.0.0.1:{DEFAULT_PORT}"
    return [*guide, "The next two reads of any payment intent answer 500:", f"  {_curl(url, DEFAULT_KEY, 'faults', FAULT_EXAMPLE)}"]


def _curl(url: str, api_key: str, route: str, body: Mapping[str, object]) -> str:
    headers = f"-H 'Authorization: Basic {api_key}' -H 'content-type: application/json'"
    return f"curl {url}/sandbox/{route} {headers} -d '{msgspec.json.encode(body).decode()}'"


@click.command(
    cls=Command,
    example="tillproof sandbox --pos http://127.0.0.1:8080 --username epos --password SECRET --flow order-and-pay",
    epilog="\n\n".join(f"\b\n{part}" if part.startswith(" ") else part for part in [*magic_table().split("\n\n"), *_control_guide()]),
)
@click.option("--port", default=DEFAULT_PORT, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--api-key", default=DEFAULT_KEY, show_default=True, help="The key that the POS must present.")
@click.option("--pos", "pos_url", metavar="URL", help="Call the POS at this URL, without registration; it must call this sandbox.")
@click.option("--username", default="", help="What Dojo presents to the POS.")
@click.option("--password", default="", envvar="SANDBOX_PASSWORD", show_envvar=True, help="What Dojo presents to the POS.")
@click.option("--flow", "flows", multiple=True, type=click.Choice(FLOWS), help="Play this flow, then end; repeatable. Needs --pos.")
@click.option("--table", "table_id", metavar="ID", help="The table: where one orders or sits, or whose bill is paid. Pay-only needs it.")
@click.option("--waiter", "waiter_id", default="42", show_default=True, help="Pay at Table: who asks, and whose bill without --table.")
@click.option("--amount", type=click.IntRange(1), help="Order something for so many pennies instead of the usual basket.")
@click.option(
    "--plu", metavar="ID", default=DEFAULT_PLU, show_default=True, help="Of --amount, and what Bookings orders: one that the POS has."
)
@click.option("--currency", default="GBP", show_default=True, help="Of what is ordered and of --tips.")
@click.option("--tips", type=click.IntRange(0), help="Pennies on top.")
@click.option("--parts", default=1, show_default=True, help="A bill is paid in so many payments, one after the other.")
@click.option("--capture-mode", default="Auto", show_default=True, type=click.Choice(["Auto", "Manual"]), help="Of Pay-only's intents.")
@click.option(
    "--capture", "captures", multiple=True, type=click.IntRange(1), help="Capture so many pennies of a Manual intent; repeatable."
)
@click.option("--pay-later", is_flag=True, help="Order and Pay: CreateOrder without payments, then Pay-only.")
@click.option("--left-open", is_flag=True, help="With --pay-later: the order stays open, to be paid by somebody else.")
@click.option("--pay", type=click.IntRange(1), metavar="PENNIES", help="Pay-only: one payment of so much of what is left.")
@click.option("--record", "records", is_flag=True, help="A bill is locked and its payments recorded beside the events, as for a waiter.")
@click.option("--second-waiter", is_flag=True, help="Pay at Table: another one tries to lock the bill, which must be 409.")
@click.option("--too-large", is_flag=True, help="Pay at Table: first a penny more than is left, which must be 409.")
@click.option("--without", multiple=True, type=click.Choice(get_args(OptionalCapability)), help="As if the POS lacked it; repeatable.")
@click.option("--instead-of-capture", type=click.Choice(INSTEAD), help="The payment is given up, undone or declined.")
@click.option("--afterwards", multiple=True, type=click.Choice(AFTERWARDS), help="What happens to the last payment; repeatable.")
@click.option("--channels", default="registered", show_default=True, type=click.Choice(CHANNELS), help="How events go to the POS.")
@click.option("--same-event-id", is_flag=True, help="An event has one id on every channel.")
@click.option("--out-of-order", is_flag=True, help="The capture's event before CreateOrder, payment_intent.created or RecordOrderPayment.")
@click.option(
    "--duplicates", default=0, show_default=True, help="So many more copies of the capture's event, or of RecordOrderPayment for a waiter."
)
@click.option("--step-seconds", default=30.0, show_default=True, help="How long a flow waits for the POS at each step.")
@json_option
def sandbox(
    *,
    port: int,
    api_key: str,
    pos_url: str | None,
    username: str,
    password: str,
    flows: tuple[str, ...],
    same_event_id: bool,
    step_seconds: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Run the Dojo simulator alone, for this or any other POS.

    With --json stdout gets one object: where it listens, or how the flows ended; the arrows go to stderr.
    """
    if flows and not pos_url:
        raise click.UsageError("--flow needs --pos: without it, serve, register the POS, and start flows with curl")
    if PAY_ONLY in flows and not options["table_id"]:
        raise click.UsageError("--flow pay-only needs --table: whose bill is to be paid")
    with _failures(port):
        pos = Pos(url=pos_url, username=username, password=password) if pos_url else None
        dojo = Sandbox(
            api_key=api_key,
            port=port,
            pos=pos,
            same_event_id=same_event_id,
            step_seconds=step_seconds,
            observer=lambda message: click.echo(arrow(message), err=as_json),
        )
        if not flows:
            run_forever(dojo, lambda url: _say_where(url, dojo.pages, api_key, is_told=pos is not None, as_json=as_json))
            return
        results = _play(dojo, [(FLOWS[flow], _request(flow, **options)) for flow in flows], as_json=as_json)
        ok = all(result.ok for result in results)
        emit(as_json, {"ok": ok, "flows": results}, lambda: iter(()))
        if not ok:
            end_found("mend the POS, then the same again; tillproof sandbox --help has every option")


def _play(dojo: Sandbox, requests: list[tuple[str, Request]], *, as_json: bool) -> list[FlowResult]:
    """Play every flow, also after one that failed."""
    dojo.start()
    try:
        results = []
        for name, request in requests:
            click.echo(f"\n{paint(name, 'cyan')}", err=as_json)
            results.append(dojo.play(request))
            click.echo(_told(results[-1]), err=as_json)
    finally:
        dojo.stop()
    return results


def _told(result: FlowResult) -> str:
    about = f" order {result.order_id}" if result.order_id else ""
    if result.ok:
        return f"{paint('Done:', 'green')}{about}, {len(result.steps)} steps; {result.steps[-1].name}: {result.steps[-1].detail}"
    failed = next((step.name for step in result.steps if step.state == "failed"), "nothing")
    return f"{paint('Failed:', 'red')}{about} at {failed}: {result.reason}"


def _request(
    flow: str, *, table_id: str | None, amount: int | None, plu: str, currency: str, out_of_order: bool, **options: Any
) -> Request:
    if flow == BOOKINGS:
        return Bookings(table_id=table_id, plu=plu, currency=currency)
    for name in ("tips", "captures"):
        given = options[name]
        options[name] = tuple(Money(each, currency) for each in given) if name == "captures" else given and Money(given, currency)
    parts, pay, records = (options.pop(name) for name in ("parts", "pay", "records"))
    ordering = {name: options.pop(name) for name in ("pay_later", "left_open")}
    at_table = {name: options.pop(name) for name in ("waiter_id", "second_waiter", "too_large")}
    options["instead_of_capture"] = options["instead_of_capture"] or ""
    if flow == PAY_AT_TABLE:
        return PayAtTable(table_id=table_id, parts=parts, event_first=out_of_order, **at_table, **options)
    if flow == PAY_ONLY:
        of_bill = Money(pay, currency) if pay else None
        return PayOnly(table_id=table_id or "", parts=parts, amount=of_bill, status_first=out_of_order, records=records, **options)
    places = {"table_id": table_id} if table_id else {}
    basket = basket_of(Money(amount, currency), plu=plu, **places) if amount else default_basket(currency=currency, **places)
    return OrderAndPay(basket=basket, event_first=out_of_order, records=records, **ordering, **options)


def _say_where(url: str, pages: dict[str, str], api_key: str, *, is_told: bool, as_json: bool) -> None:
    emit(as_json, {"url": url} | pages, lambda: iter(()))
    click.echo(f"Dojo sandbox at {url}  (Ctrl-C to stop)", err=True)
    click.echo(f"Customer's phone: {pages['phone']}   Dojo's panel: {pages['panel']}", err=True)
    if not is_told:
        click.echo(f"Next: TILLPROOF_ENV=test TILLPROOF_DOJO_URL={url} TILLPROOF_DOJO_API_KEY={api_key} tillproof serve", err=True)
        click.echo("Then: tillproof caps register, with the same settings", err=True)
    bodies = (
        {"flow": ORDER_AND_PAY},
        {"flow": PAY_ONLY, "tableId": "tbl_7"},
        {"flow": PAY_AT_TABLE, "tableId": "tbl_7"},
        {"flow": BOOKINGS},
    )
    for body in bodies:
        click.echo(f"Flow: {_curl(url, api_key, 'flows', body)}", err=True)


@contextmanager
def _failures(port: int) -> Iterator[None]:
    """The sandbox's errors as exit codes."""
    try:
        yield
    except SandboxError as error:
        raise Failure(Exit.USAGE, str(error), "tillproof sandbox --help") from error
    except OSError as error:
        raise Failure(Exit.UNREACHABLE, f"port {port} cannot be had: {error.strerror}", "tillproof sandbox --port 0") from error
