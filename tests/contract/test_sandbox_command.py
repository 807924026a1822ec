"""`tillproof sandbox`: as a process, against a POS on the other end of a socket."""

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from click.testing import CliRunner

from adapters.cli.sandbox import sandbox
from adapters.sandbox import Sandbox, magic_table
from adapters.sandbox.faults import CALL_KINDS, EVENT_KINDS, POS_KINDS
from tests.contract.running import free_port
from tests.contract.sandbox_peer import SECONDS, TABLE, USER, Peer, eventually, wire
from tests.contract.table_peer import SumChanger, TablePeer

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk_sandbox_test"


@contextmanager
def a_peer(peer=Peer, **settings):
    peer, port = peer(**settings), free_port()
    peer.dojo_url = f"http://127.0.0.1:{port}"
    options = ["--port", str(port), "--api-key", KEY, "--pos", peer.url, "--username", USER[0], "--password", USER[1]]
    try:
        yield peer, options
    finally:
        peer.stop()


def command(*arguments):
    return [sys.executable, "-m", "app", "sandbox", *arguments]


def run_as_process(*arguments):
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def run(*arguments):
    """The command in this process: what a process of its own adds is proved once."""
    result = CliRunner().invoke(sandbox, arguments, prog_name="tillproof sandbox")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return SimpleNamespace(returncode=result.exit_code, stdout=result.stdout, stderr=result.stderr)


def test_both_flows_are_played_against_any_pos_and_told_as_arrows():
    with a_peer() as (peer, options):
        peer.open(1000)
        asked = ["--flow", "order-and-pay", "--flow", "pay-only", "--table", TABLE, "--tips", "50"]
        done = run_as_process(*options, *asked)

    assert (done.returncode, done.stderr) == (0, "")
    arrows = re.findall(r"^  (<-|->) (\S+) +(/[a-z0-9-]+(?:/[a-z]+)?)\S* +(\d+)", done.stdout, re.MULTILINE)
    assert arrows[0] == ("<-", "POST", "/v1/orders", "200")
    assert {path for _, _, path, _ in arrows} == {"/v1/orders", "/v1/events", "/payment-intents/pi", "/epos/events"}
    assert done.stdout.count("Done: order pos-") == 2
    assert peer.orders["pos-1"]["paidAmount"] == wire(1000)


def test_an_order_that_is_left_open_is_paid_in_part_by_the_next_command():
    with a_peer() as (peer, options):
        ordered = run(*options, "--flow", "order-and-pay", "--amount", "900", "--table", TABLE, "--pay-later", "--left-open")
        assert (ordered.returncode, [order["paidAmount"] for order in peer.orders.values()]) == (0, [wire(0)])
        paid = run(*options, "--flow", "pay-only", "--table", TABLE, "--pay", "400")
    assert (paid.returncode, [order["paidAmount"] for order in peer.orders.values()]) == (0, [wire(400)])


def test_flows_with_json_end_as_one_object_with_every_step():
    with a_peer() as (_, options):
        done = run(*options, "--flow", "order-and-pay", "--json")
    with a_peer(announces=False) as (_, options):
        failed = run(*options, "--flow", "order-and-pay", "--step-seconds", "0.3", "--json")

    told = json.loads(done.stdout)
    [flow] = told["flows"]
    assert (done.returncode, told["ok"], flow["state"], flow["orderId"][:4]) == (0, True, "done", "pos-")
    assert {"CreateOrder", "OrderUpdated"} <= {step["name"] for step in flow["steps"]}
    assert "Done: order pos-" in done.stderr
    assert (failed.returncode, json.loads(failed.stdout)["flows"][0]["state"]) == (1, "failed")


def test_a_flow_that_fails_ends_with_1_and_the_reason():
    with a_peer(announces=False, at_once=True) as (_, options):
        done = run(*options, "--flow", "order-and-pay", "--step-seconds", "0.3")

    assert done.returncode == 1
    assert re.search(r"Failed: order \S+ at OrderUpdated: the POS has not sent OrderUpdated for order \S+ within 0\.3 s", done.stdout)


def test_options_of_the_flows_are_passed_on():
    with a_peer() as (peer, options):
        asked = ["--amount", "1000", "--capture", "300", "--capture", "700", "--afterwards", "refund", "--duplicates", "1"]
        done = run(*options, "--flow", "order-and-pay", "--table", "tbl_99", *asked)

    [order] = peer.orders.values()
    assert done.returncode == 0
    assert (order["details"]["dineIn"]["tableId"], order["totalAmount"], order["paidAmount"]) == ("tbl_99", wire(1000), wire(0))
    assert done.stdout.count("(copy 2)") == 2


def test_a_waiter_is_played_against_any_pos():
    with a_peer(peer=TablePeer) as (peer, options):
        order = peer.open(1000)
        asked = ["--table", TABLE, "--parts", "2", "--second-waiter", "--too-large", "--duplicates", "1", "--waiter", "7"]
        done = run(*options, "--flow", "pay-at-table", *asked, "--without", "GetOrderBill", "--out-of-order")

    assert done.returncode == 0, done.stdout
    assert "\nPay at Table\n" in done.stdout
    assert (order["paidAmount"], peer.callers[0][0], "/bill" in done.stdout) == (wire(1000), "7", False)


def test_the_step_that_failed_is_named_although_the_lock_was_released_after_it():
    with a_peer(peer=SumChanger) as (peer, options):
        peer.open(1000)
        done = run(*options, "--flow", "pay-at-table", "--table", TABLE)

    assert done.returncode == 1
    assert "Failed: order pos-1 at RecordOrderPayment: order pos-1 is not as it should be: totalAmount is" in done.stdout


def test_a_bill_may_be_recorded_by_pay_only_too():
    with a_peer(peer=TablePeer) as (peer, options):
        peer.open(1000)
        done = run(*options, "--flow", "pay-only", "--table", TABLE, "--record", "--without", "ExtendOrderLock")

    assert done.returncode == 0, done.stdout
    assert [method for method, path, _ in peer.received if "/lock" in path] == ["POST", "DELETE"]


def test_a_magic_amount_needs_no_control_api():
    with a_peer() as (_, options):
        done = run(*options, "--flow", "order-and-pay", "--amount", "1001")

    assert done.returncode == 0
    assert re.search(r"-> GET +/payment-intents/\S+ +500 .*fault: 500", done.stdout)


def test_help_opens_with_an_example_and_prints_the_magic_amounts():
    shown = run("--help").stdout

    assert shown.startswith("Example: tillproof sandbox --pos ")
    for line in magic_table().splitlines():
        assert not line.startswith("  ") or f"\n  {line}\n" in shown


def test_help_names_every_route_of_the_control_api_and_every_kind_of_fault():
    shown = run("--help").stdout
    rules = [rule for rule in Sandbox(api_key=KEY)._app.url_map.iter_rules() if rule.rule.startswith("/sandbox/")]
    routes = {(method, re.sub(r"<(\w+)>", r"{\1}", rule.rule)) for rule in rules for method in rule.methods - {"HEAD", "OPTIONS"}}

    assert set(re.findall(r"^    (GET|POST|DELETE) +(/sandbox/\S+)  +\S", shown, re.MULTILINE)) == routes
    for kind in (*CALL_KINDS, *EVENT_KINDS, *POS_KINDS):
        assert re.search(rf"^      {kind}  +\S", shown, re.MULTILINE), kind


@pytest.mark.parametrize(
    "arguments",
    [
        ["--flow", "order-and-pay"],
        ["--pos", "http://127.0.0.1:9", "--flow", "pay-only"],
        ["--pos", "nonsense", "--flow", "order-and-pay"],
        ["--pos", "http://127.0.0.1:9", "--flow", "order-and-pay", "--afterwards", "reversal"],
        ["--api-key", "sk_prod_real"],
    ],
)
def test_what_cannot_be_played_is_a_usage_error(arguments):
    done = run("--port", "0", *arguments)

    assert (done.returncode, "<-" in done.stdout) == (2, False)
    assert "Error" in done.stderr


def test_a_port_that_is_taken_is_unreachable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run_as_process("--port", str(taken.getsockname()[1]))

    assert done.returncode == 4
    assert "tillproof sandbox --port 0" in done.stderr


def test_without_a_flow_it_serves_and_says_how_to_start_one_with_curl():
    with a_peer() as (peer, options):
        process = subprocess.Popen(command(*options), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            said = [process.stderr.readline() for _ in range(3)]
            curl = shlex.split(next(line for line in said if "order-and-pay" in line).removeprefix("Flow: "))
            headers = dict(curl[index + 1].split(": ") for index, word in enumerate(curl) if word == "-H")
            started = requests.post(curl[1], headers=headers, data=curl[curl.index("-d") + 1], timeout=SECONDS)
            assert started.status_code == 202
            eventually(lambda: any(order["paidAmount"]["value"] for order in peer.orders.values()))
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            process.stderr.close()
            process.wait(SECONDS)
