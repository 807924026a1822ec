"""A till that lives with Tillproof, whole: it opens a bill, follows the feed, cooks, and takes call-backs. See connect-your-till.md.

SERVICE=http://127.0.0.1:8081 TOKEN=… TILL_SECRET=… PORT=9000 python example_till.py till.json    (kill it, start it: it misses nothing)
"""

import hashlib
import hmac
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

BILL = {  # The id is ours: the same id and bill again is the same order, so asking twice after a crash does no harm.
    "id": "example-1",
    "details": {"orderType": "DineIn", "dineIn": {"tableId": "tbl_7"}},
    "items": [{"plu": "PIZ-04", "name": "Margherita", "quantity": 2, "amountPerItem": {"value": 1150, "currencyCode": "GBP"}}],
    "totalAmount": {"value": 2300, "currencyCode": "GBP"},
}
KITCHEN = {"Confirmed": "Accepted", "Accepted": "Preparing", "Preparing": "Ready"}


def is_genuine(raw, header, secret, now):
    """Whether Tillproof signed these very bytes within the last five minutes; in constant time, and before anything of them is parsed."""
    match = re.fullmatch(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})(,.*)?", header)
    if match is None or abs(now - int(match[1])) > 300:
        return False
    expected = hmac.new(secret.encode(), match[1].encode() + b"." + raw, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, match[2])


class Till:
    """What we know is in one file: how far the feed was followed, and each order as we saw it last."""

    def __init__(self, service, token, path):
        self.service, self.path, self.lock = service, path, threading.Lock()
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {token}"
        self.known = json.loads(path.read_text()) if path.exists() else {"after": 0, "orders": {}}

    def run(self):
        """Open the bill, then follow the feed for ever; asking for what follows says that we have what came before."""
        self.ask("POST", "/till/orders", BILL)
        while True:
            for item in self.ask("GET", f"/till/feed?after={self.known['after']}&wait=20").json()["data"]:
                if item["machine"] == "fulfilment":
                    self.cook(item["order"])
                self.learn(item["orderSeq"], item["order"], after=item["seq"])  # Last: a crash before it repeats the item.

    def cook(self, order):
        """Report the kitchen's next step. The same step twice is one; 409 means that somebody cancelled, and the feed will say so."""
        if step := KITCHEN.get("Confirmed" if order["status"] == "Submitted" and order["payable"] else order["status"]):  # Paid later.
            self.ask("POST", f"/till/orders/{order['id']}/status", {"status": step})

    def learn(self, order_seq, order, after=None):
        """Keep an order unless we know a newer one: the feed and the call-backs overtake each other. On disk before we go on."""
        with self.lock:
            if order_seq > self.known["orders"].get(order["id"], {"orderSeq": 0})["orderSeq"]:
                self.known["orders"][order["id"]] = {"orderSeq": order_seq, "status": order["status"], "paid": order["paidAmount"]["value"]}
            self.known["after"] = after or self.known["after"]
            with open(f"{self.path}.new", "w") as file:
                json.dump(self.known, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{self.path}.new", self.path)

    def ask(self, method, path, body=None):
        """Ask until there is an answer: everything here may be asked twice. What is wrong with the request itself ends the program."""
        while True:
            try:
                reply = self.http.request(method, self.service + path, json=body, timeout=40)
                if reply.status_code < 429:
                    return reply if reply.ok or reply.status_code == 409 else sys.exit(f"{method} {path}: {reply.status_code} {reply.text}")
            except requests.RequestException as error:
                print(f"{method} {path}: {error}", file=sys.stderr)
            time.sleep(1)


class CallBacks(BaseHTTPRequestHandler):
    """Answer 204 once the news is on our disk, 401 to whatever was not signed with our secret."""

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if genuine := is_genuine(raw, self.headers.get("Tillproof-Signature", ""), os.environ["TILL_SECRET"], time.time()):
            self.server.till.learn(json.loads(raw)["orderSeq"], json.loads(raw)["order"])
        self.send_response(204 if genuine else 401)
        self.end_headers()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), CallBacks)
    server.till = Till(os.environ["SERVICE"], os.environ["TOKEN"], Path(sys.argv[1]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.till.run()
