"""The sandbox's webhooks: administration as contract §5.4 has it, deliveries signed as §5.3, at least once as §5.2."""

import hashlib
import hmac
import json

import pytest

from adapters.sandbox.webhooks import sign
from tests.contract.sandbox_peer import (
    CAPABILITIES,
    CREATED,
    STATUS_UPDATED,
    TABLE,
    call,
    events_by_capability,
    eventually,
    gbp,
    get,
    post,
    put_rest,
    running,
    schema_check,
    subscribe,
)

URL = "https://pos.example.com/hook"


@pytest.fixture
def pair():
    with running() as pair:
        yield pair


@pytest.fixture(scope="module")
def is_valid(specs):
    return schema_check(specs)


def is_signed_by(delivery, secret):
    raw, header = delivery
    digest = hmac.new(secret["value"].encode(), raw, hashlib.sha256).hexdigest()
    return header.removeprefix("sha256=").replace("-", "").lower() == digest


def hooked(pair):
    return [json.loads(raw) for raw, _ in pair.peer.hooked]


def secrets(pair, subscription):
    return get(pair.sandbox, f"/webhooks/{subscription['id']}/secrets").json()["secrets"]


# Signatures


def test_the_signature_is_that_of_the_published_vector():
    body = (
        b'{"id":"evt_hnnHxIKR_Uy6bhZCusCltw","event":"payment_intent.created","accountId":"acc_test","createdAt":'
        b'"2022-02-01T13:07:41.8667859Z","data":{"paymentIntentId":"pi_vpwd4ooAPEqyNAQe4z89WQ","paymentStatus":"Created","captureMode":"Auto"}}'
    )
    expected = "4B-49-F8-FE-25-A7-E6-7D-00-4F-A7-9C-F8-0B-63-00-C7-77-B4-F2-2D-E5-E1-22-84-FA-04-18-50-A1-76-FD"

    assert sign(body, "PDYkJQq6sESYHp_zJuTTBQ") == f"sha256={expected}"


# Delivery


def test_an_event_goes_to_the_capability_and_to_the_webhook_under_ids_of_their_own(pair):
    subscription = subscribe(pair)

    result = pair.sandbox.order_and_pay()

    assert result.reason == ""
    [by_capability], [by_webhook] = events_by_capability(pair), hooked(pair)
    assert by_capability["id"] != by_webhook["id"]
    assert by_capability["data"] == by_webhook["data"]
    assert is_signed_by(pair.peer.hooked[0], subscription["secrets"][0])


def test_with_one_event_id_both_channels_carry_the_same(pair):
    subscribe(pair)

    assert pair.sandbox.order_and_pay(same_event_id=True).reason == ""

    assert [event["id"] for event in events_by_capability(pair)] == [event["id"] for event in hooked(pair)]


def test_one_event_id_may_be_a_setting_of_the_sandbox():
    with running(same_event_id=True) as pair:
        subscribe(pair)
        assert pair.sandbox.order_and_pay().reason == ""
        assert [event["id"] for event in events_by_capability(pair)] == [event["id"] for event in hooked(pair)]


@pytest.mark.parametrize(("channels", "expected"), [("capability", (1, 0)), ("webhook", (0, 1)), ("both", (1, 1)), ("registered", (1, 1))])
def test_a_flow_sends_its_events_by_the_channels_that_were_asked_for(pair, channels, expected):
    subscribe(pair)

    assert pair.sandbox.order_and_pay(channels=channels).reason == ""

    assert (len(events_by_capability(pair)), len(pair.peer.hooked)) == expected


def test_a_webhook_alone_is_enough(pair):
    put_rest(pair.sandbox, pair.peer.url, [name for name in CAPABILITIES if not name.startswith("HandleEvent")])
    subscribe(pair)
    pair.peer.open(900)

    assert pair.sandbox.order_and_pay().reason == ""
    assert pair.sandbox.pay_only(TABLE).reason == ""

    assert (events_by_capability(pair), len(pair.peer.hooked)) == ([], 3)


def test_only_events_of_the_subscribed_kinds_come_by_webhook(pair):
    subscribe(pair, [CREATED])
    pair.peer.open(900)

    assert pair.sandbox.pay_only(TABLE).reason == ""

    assert [event["event"] for event in hooked(pair)] == [CREATED]
    assert [event["event"] for event in events_by_capability(pair)] == [CREATED, STATUS_UPDATED]


@pytest.mark.parametrize("channels", ["webhook", "both"])
def test_a_flow_by_webhook_without_a_subscription_is_refused_and_sends_nothing(pair, channels):
    subscribe(pair, [CREATED])

    answer = post(pair.sandbox, "/sandbox/flows", {"flow": "order-and-pay", "channels": channels})

    assert (answer.status_code, pair.peer.received) == (409, [])
    assert STATUS_UPDATED in answer.json()["detail"]


@pytest.mark.parametrize("status", [400, 503])
def test_a_webhook_that_is_refused_is_tried_again_with_the_same_id_and_signature(pair, status):
    subscribe(pair)
    pair.peer.refusals += [status, status]

    intent = pair.sandbox.intents.make(gbp(100), reference="r")
    put_rest(pair.sandbox, pair.peer.url, [])
    pair.sandbox.send_event(intent.id)

    attempts = [message.status for message in pair.sandbox.messages() if message.path == "/dojo/hook"]
    assert attempts == [status, status, 200]
    bodies = [body["id"] for _, path, body in pair.peer.received if path == "/hook"]
    assert (len(bodies), len(set(bodies))) == (3, 1)


def test_a_webhook_is_given_up_after_the_attempts_that_are_allowed():
    with running(event_attempts=2) as pair:
        subscribe(pair, url="http://127.0.0.1:9/gone")

        result = pair.sandbox.order_and_pay(channels="webhook")

        assert "the webhook took the event with none of 2 attempts" in result.reason


def test_a_webhook_that_is_down_does_not_keep_the_event_from_the_capability():
    with running(event_attempts=1) as pair:
        subscribe(pair, url="http://127.0.0.1:9/gone")

        result = pair.sandbox.order_and_pay()

        assert "the webhook took the event with none of 1 attempts" in result.reason
        assert len(events_by_capability(pair)) == 1


def test_a_write_over_the_api_tells_the_webhook_too(pair):
    subscribe(pair)

    post(pair.sandbox, "/payment-intents", {"amount": {"value": 5, "currencyCode": "GBP"}, "reference": "r"})

    eventually(lambda: pair.peer.hooked and events_by_capability(pair))
    assert hooked(pair)[0]["event"] == CREATED


@pytest.mark.parametrize(("kind", "expected"), [("twice", (2, 2)), ("dropped", (0, 0))])
def test_a_fault_of_an_event_is_one_of_every_channel(pair, kind, expected):
    subscribe(pair)
    pair.sandbox.fault("EVENT", STATUS_UPDATED, kind)
    intent = pair.sandbox.intents.make(gbp(100), reference="r")

    pair.sandbox.send_event(intent.id)

    assert (len(events_by_capability(pair)), len(pair.peer.hooked)) == expected


# Secrets


def test_the_secret_that_was_activated_last_signs(pair):
    subscription = subscribe(pair)
    [old] = subscription["secrets"]
    generated = post(pair.sandbox, f"/webhooks/{subscription['id']}/secrets", None).json()["secrets"]
    new = generated[-1]
    intent = pair.sandbox.intents.make(gbp(100), reference="r")

    pair.sandbox.send_event(intent.id)
    assert call(pair.sandbox, "PUT", f"/webhooks/{subscription['id']}/secrets/{new['id']}/activate").status_code == 204
    pair.sandbox.send_event(intent.id)

    assert (old["isActive"], new["isActive"]) == (True, False)
    assert [is_signed_by(delivery, old) for delivery in pair.peer.hooked] == [True, False]
    assert [is_signed_by(delivery, new) for delivery in pair.peer.hooked] == [False, True]


def test_an_old_secret_is_deleted_and_the_last_active_one_is_not(pair):
    subscription = subscribe(pair)
    [old] = subscription["secrets"]
    path = f"/webhooks/{subscription['id']}/secrets"
    assert call(pair.sandbox, "DELETE", f"{path}/{old['id']}").status_code == 409
    new = post(pair.sandbox, path, None).json()["secrets"][-1]
    assert call(pair.sandbox, "DELETE", f"{path}/{old['id']}").status_code == 409

    call(pair.sandbox, "PUT", f"{path}/{new['id']}/activate")
    assert call(pair.sandbox, "DELETE", f"{path}/{old['id']}").status_code == 204

    assert [secret["id"] for secret in secrets(pair, subscription)] == [new["id"]]


def test_deleting_the_secret_that_signs_leaves_it_to_another_active_one(pair):
    subscription = subscribe(pair)
    [old] = subscription["secrets"]
    path = f"/webhooks/{subscription['id']}/secrets"
    new = post(pair.sandbox, path, None).json()["secrets"][-1]
    call(pair.sandbox, "PUT", f"{path}/{new['id']}/activate")
    call(pair.sandbox, "DELETE", f"{path}/{new['id']}")

    pair.sandbox.send_event(pair.sandbox.intents.make(gbp(100), reference="r").id)

    assert is_signed_by(pair.peer.hooked[0], old)


def test_secrets_have_a_limit(pair):
    subscription = subscribe(pair)

    answers = [post(pair.sandbox, f"/webhooks/{subscription['id']}/secrets", None).status_code for _ in range(5)]

    assert answers == [200, 200, 200, 200, 409]


# Subscriptions


def test_subscriptions_are_what_the_published_schemas_say(pair, is_valid):
    made = subscribe(pair, url=URL)

    is_valid("dojo-api", "Subscription", made)
    [listed] = get(pair.sandbox, "/webhooks").json()
    is_valid("dojo-api", "SecretsResponse", get(pair.sandbox, f"/webhooks/{made['id']}/secrets").json())
    [kinds] = get(pair.sandbox, "/webhooks/events").json()
    is_valid("dojo-api", "WebhookEvents", kinds)
    is_valid("dojo-api", "ErrorResponse", get(pair.sandbox, "/webhooks/ws_none/secrets").json())
    assert (listed, kinds["events"]) == (made, [CREATED, STATUS_UPDATED])


def test_one_event_has_one_webhook(pair):
    subscribe(pair, [CREATED], URL)

    clash = post(pair.sandbox, "/webhooks", {"events": [STATUS_UPDATED, CREATED], "url": URL})

    assert clash.status_code == 409
    other = subscribe(pair, [STATUS_UPDATED], URL)
    assert call(pair.sandbox, "PATCH", f"/webhooks/{other['id']}", {"events": [CREATED]}).status_code == 409


def test_a_patch_changes_what_it_names_and_keeps_the_rest(pair):
    made = subscribe(pair, [CREATED], URL)

    patched = call(pair.sandbox, "PATCH", f"/webhooks/{made['id']}", {"url": URL + "/new", "description": "bar"}).json()

    assert (patched["url"], patched["description"], patched["events"]) == (URL + "/new", "bar", [CREATED])
    assert patched["secrets"] == made["secrets"]


def test_a_deleted_webhook_gets_nothing_more(pair):
    made = subscribe(pair)

    assert call(pair.sandbox, "DELETE", f"/webhooks/{made['id']}").status_code == 204

    assert pair.sandbox.order_and_pay().reason == ""
    assert (pair.peer.hooked, get(pair.sandbox, "/webhooks").json()) == ([], [])
    assert call(pair.sandbox, "DELETE", f"/webhooks/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "http://pos.example.com/hook",
        "ftp://127.0.0.1/x",
        "https://",
        "https://a:b@c/",
        "nonsense",
        "http://127.0.0.1.example.com/",
        "http://[",
    ],
)
def test_a_webhook_url_is_https_or_on_loopback(pair, url):
    assert post(pair.sandbox, "/webhooks", {"events": [CREATED], "url": url}).status_code == 400


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]:8080/x", URL])
def test_a_webhook_url_may_be_http_on_loopback(pair, url):
    assert post(pair.sandbox, "/webhooks", {"events": [CREATED], "url": url}).status_code == 200


@pytest.mark.parametrize(
    "body", [{"url": URL}, {"events": [], "url": URL}, {"events": ["order.created"], "url": URL}, {"events": [CREATED]}]
)
def test_a_subscription_that_cannot_be_is_a_bad_request(pair, body):
    assert post(pair.sandbox, "/webhooks", body).status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/secrets"),
        ("POST", "/secrets"),
        ("PUT", "/secrets/sc_1/activate"),
        ("DELETE", "/secrets/sc_1"),
    ],
)
def test_a_webhook_that_nobody_made_is_unknown(pair, method, path):
    assert call(pair.sandbox, method, f"/webhooks/ws_none{path}", {}).status_code == 404


def test_a_secret_is_in_no_message_and_in_no_representation(pair):
    made = subscribe(pair)

    assert made["secrets"][0]["value"] not in repr(pair.sandbox.messages()) + repr(pair.sandbox._webhooks.all())
