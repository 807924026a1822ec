"""The declaration: every state, transition, message and policy of an order, of its payments and of the kitchen.

Data and no logic. Messages move payments; the order follows by its guards; the kitchen is a separate axis. `machine.py` refuses to
start the program on a contradiction; the diagrams, the property tests and `tillproof machine show` read these rows.
A state is named here and nowhere else.
"""

from __future__ import annotations

from workflow.declaration import Attention, Declaration, Message, Policy, Resolution, Row

# fmt: off
RULES = {
    "D2.1":  "Contract §2.1, Order and Pay: pre-authorised, created here, captured, event, intent read, recorded, OrderUpdated, read back.",
    "D2.2":  "Contract §2.2, Pay-only: the bill is found by search, paid, and the same events, check and record follow.",
    "D2.3":  "Contract §2.3, the newer variant: the payment comes with CreateOrder and counts at once; a read confirms it.",
    "D5.2":  "Contract §5.2: events come at least once, in any order; a late one never undoes a newer state.",
    "D6":    "Contract §6: OrderUpdated is sent after any visible change; Dojo then reads the order.",
    "D7.2":  "Contract §7.2: Created, Authorized, Captured, Reversed, Refunded, Canceled; a declined card leaves an intent at Created.",
    "D7.5":  "Contract §7.5: an intent counts once it was read and its id, currency, sums and order agree.",
    "D8.3":  "Contract §8.3: the kitchen's status goes forward only; Finalized only when paid in full; three statuses are terminal.",
    "D8.4":  "Contract §8.4: several intents on one order are normal; an overpayment learnt from an event is recorded.",
    "D8.7":  "Contract §8.7: Dojo may cancel an order; the till may say that it is too late.",
    "D9":    "Contract §9: after an error answer to a payment the intent is watched until Dojo gave the money back.",
    "A1":    "Assumed, Dojo does not say: money that arrives for a closed order is recorded and a person is called.",
    "A2":    "Assumed: a bill opened at the till, or ordered to be paid later, is open again when a payment ends before it counted.",
    "A3":    "Assumed: an order that was once paid in full is not offered for payment again after a refund.",
    "A4":    "Assumed: of several ended payments a refund outweighs a reversal and a reversal an expiry, whatever came last.",
    "A5":    "Assumed: a status that Dojo does not publish holds the payment and calls a person.",
    "A6":    "Assumed: what Dojo told us in words counts until a read says that the money went back.",
    "D9L":   "Contract §9: one live lock an order; Dojo alone writes while it lives; a terminal order is not locked.",
    "A9":    "Assumed: a person may take an intent off an order only while it counts nothing there.",
    "A8":    "Assumed: a bill is not amended while a payment of it is under way, nor after its end.",
    "A7":    "Assumed: when the till cannot take a paid order its status becomes Failed and a person gives the money back.",
}

EFFECTS = {
    "read_intent":   "Read the payment intent at Dojo; its answer comes back as a message.",
    "order_updated": "Tell Dojo that the order changed, so that it reads it again.",
    "tell_till":     "Tell the till that the order changed, where it did not change it itself.",
}

ORDER = Declaration(
    name="order",
    states={
        "created":    "The order is on the till; no money is held for it.",
        "authorised": "Dojo holds the customer's money for this order.",
        "captured":   "Dojo says that it took the money. Nobody has checked.",
        "reconciled": "We read the payment intent and it agrees with the order.",
        "updated":    "Dojo took the news of the money that was reconciled last.",
        "cancelled":  "Cancelled before any money was taken.",
        "reversed":   "Every payment was undone before or after its capture.",
        "refunded":   "All the money went back to the customer.",
        "expired":    "Every payment was given up or ran out before it counted.",
        "failed":     "The till could not take the order.",
    },
    final="cancelled reversed refunded expired failed",
    transitions=(
        #   when           from                                              to            only if                      then send                    rule
        Row("create",      "-",                                              "created",    "always",                    "nothing",                   "D2.1"),
        Row("authorise",   "created reconciled updated",                     "authorised", "held",                      "nothing",                   "D2.1"),
        Row("capture",     "authorised",                                     "captured",   "taken",                     "nothing",                   "D2.1"),
        Row("unclaim",     "captured",                                       "authorised", "claim_was_denied",          "order_updated",             "D5.2"),
        Row("reconcile",   "captured",                                       "reconciled", "everything_was_read",       "order_updated tell_till",   "D7.5"),
        Row("update",      "reconciled",                                     "updated",    "dojo_knows",                "nothing",                   "D6"),
        Row("release",     "authorised captured",                            "created",    "open_again",                "order_updated tell_till",   "A2"),
        Row("settle_rest", "authorised",                                     "reconciled", "rest_is_settled",           "order_updated tell_till",   "D8.4"),
        Row("adjust",      "reconciled updated",                             "reconciled", "counted_otherwise",         "order_updated tell_till",   "D7.2"),
        Row("reopen",      "reconciled updated",                             "created",    "open_again",                "order_updated tell_till",   "A2"),
        Row("refund",      "created authorised captured reconciled updated", "refunded",   "ended_by_refund",           "order_updated tell_till",   "A4"),
        Row("reverse",     "created authorised captured reconciled updated", "reversed",   "ended_by_reversal",         "order_updated tell_till",   "A4"),
        Row("expire",      "created authorised captured reconciled updated", "expired",    "ended_unpaid",              "order_updated tell_till",   "A4"),
        Row("cancel",      "created authorised",                             "cancelled",  "nothing_taken",             "order_updated",             "D8.7"),
        Row("fail",        "created authorised",                             "failed",     "nothing_taken",             "order_updated",             "A7"),
    ),
    messages=(
        #       name              fires     then send   meaning
        Message("create_order",   "create", "nothing",  "Dojo creates the order, or the till opens it."),
        Message("cancel_order",   "cancel", "nothing",  "Dojo asks to cancel the order."),
        Message("refuse_order",   "fail",   "nothing",  "The till cannot take the order."),
        Message("amend_order",    "nothing", "nothing", "The till changes what is on the bill."),
        Message("lock_order",     "nothing", "nothing", "Dojo wants to be the only one who writes."),
    ),
    policies=(
        #      message         in state                                                                       outcome    rule
        Policy("create_order", "created authorised captured reconciled updated",                              "note",    "D8.7"),
        Policy("create_order", "cancelled reversed refunded expired failed",                                  "note",    "D8.7"),
        Policy("cancel_order", "- created authorised captured reconciled updated reversed refunded expired failed", "refuse", "D8.7"),
        Policy("cancel_order", "cancelled",                                                                   "note",    "D8.7"),
        Policy("refuse_order", "- cancelled reversed refunded expired",                                       "refuse",  "A7"),
        Policy("refuse_order", "created authorised captured reconciled updated",                              "attention", "A7"),
        Policy("refuse_order", "failed",                                                                      "note",    "A7"),
        Policy("amend_order",  "created reconciled updated",                                                  "take",    "A8"),
        Policy("amend_order",  "- authorised captured cancelled reversed refunded expired failed",            "refuse",  "A8"),
        Policy("lock_order",   "created authorised captured reconciled updated",                              "take",    "D9L"),
        Policy("lock_order",   "- cancelled reversed refunded expired failed",                                "refuse",  "D9L"),
    ),
    groups={
        "unsettled": "authorised captured reconciled",
    },
    tells={
        "reconcile": "order_reconciled", "settle_rest": "order_reconciled", "cancel": "order_cancelled", "reverse": "order_cancelled",
        "expire": "order_cancelled", "fail": "order_failed",
    },
    migrations=(
        #         old states   new state   reason (for people, and for the journal)   rule
    ),
)

PAYMENT = Declaration(
    name="payment",
    states={
        "announced":  "Dojo made a payment intent for this order; nobody has paid it.",
        "authorised": "Dojo holds the customer's money on this intent.",
        "captured":   "Dojo says that it took this money. Nobody has checked.",
        "reconciled": "We read the intent: the money was taken and agrees with the order.",
        "reversed":   "Counted once, then undone in full.",
        "refunded":   "Counted once, then given back in full.",
        "released":   "Cancelled, expired or reversed before it counted.",
        "refused":    "We answered 409: it counts nothing and is watched until Dojo gave the money back.",
    },
    final="reversed refunded released",
    transitions=(
        #   when         from                                to            only if              then send   rule
        Row("announce",  "-",                                "announced",  "always",            "nothing",  "D2.2"),
        Row("authorise", "announced",                        "authorised", "always",            "nothing",  "D7.2"),
        Row("capture",   "authorised",                       "captured",   "always",            "nothing",  "D7.2"),
        Row("unclaim",   "captured",                         "authorised", "not_told_in_words", "nothing",  "D5.2"),
        Row("withdraw",  "authorised",                       "announced",  "not_told_in_words", "nothing",  "D7.2"),
        Row("reconcile", "captured",                         "reconciled", "agrees",            "nothing",  "D7.5"),
        Row("release",   "announced authorised captured",    "released",   "never_counted",     "nothing",  "D7.2"),
        Row("reverse",   "captured reconciled",              "reversed",   "was_counted",       "nothing",  "D7.2"),
        Row("refund",    "reconciled",                       "refunded",   "given_back_in_full", "nothing", "D7.2"),
        Row("refuse",    "announced authorised captured",    "refused",    "never_counted",     "nothing",  "D9"),
        Row("detach",    "announced authorised captured",    "released",   "counts_nothing",    "nothing",  "A9"),
        Row("reconsider", "refused",                          "captured",   "always",            "nothing",  "D9"),
        Row("give_back", "refused",                           "released",   "always",            "nothing",  "D9"),
        Row("refund_refused", "refused",                      "released",   "given_back_in_full", "nothing", "D9"),
    ),
    messages=(
        #       name               fires                                 then send      meaning
        Message("declare",         "announce",                           "nothing",     "CreateOrder or record-payment names the intent, or a read finds its order."),
        Message("told_authorised", "authorise",                          "nothing",     "CreateOrder says that the money is held; the event of its capture will ask for a read."),
        Message("word_created",    "nothing",                            "read_intent", "An event says that the intent exists."),
        Message("word_authorised", "authorise",                          "read_intent", "An event says that the money is held."),
        Message("word_captured",   "authorise capture",                  "read_intent", "An event, or Dojo in words, says that the money was taken."),
        Message("word_ended",      "nothing",                            "read_intent", "An event says reversed, refunded or cancelled, or a word that nobody published."),
        Message("read_created",    "unclaim withdraw",                   "nothing",     "The read intent is unpaid."),
        Message("read_authorised", "authorise unclaim",                  "nothing",     "The read intent holds money."),
        Message("read_captured",   "authorise capture reconcile",        "nothing",     "The read intent took money, and agrees."),
        Message("read_refunded",   "authorise capture reconcile refund refund_refused", "nothing", "The read intent gave money back."),
        Message("read_reversed",   "release reverse give_back",          "nothing",     "The read intent was undone."),
        Message("read_cancelled",  "release reverse give_back",          "nothing",     "The read intent was given up before payment."),
        Message("read_disagrees",  "nothing",                            "nothing",     "The read intent does not agree with the order, or has an unknown status."),
        Message("recorded",        "reconsider authorise capture",       "read_intent", "Dojo records a payment: it says in words that the money was taken, and hears 200."),
        Message("detached",        "detach",                             "nothing",     "A person says that the intent does not belong to this order."),
        Message("payment_refused", "refuse",                             "read_intent", "We answered a payment with 409."),
        Message("payment_contradicted", "nothing",                       "read_intent", "We answered other figures for a payment that is recorded with 409."),
    ),
    policies=(
        #      message                                                       in state                                      outcome      rule
        Policy("declare",         "announced authorised captured reconciled reversed refunded released refused",           "note",      "D8.4"),
        Policy("word_created word_authorised word_captured word_ended",      "-",                                          "park",      "D5.2"),
        Policy("read_created read_authorised read_captured read_refunded read_reversed read_cancelled read_disagrees", "-", "park",     "D7.5"),
        Policy("payment_refused recorded", "-",                                                                            "refuse",    "D9"),
        Policy("recorded",        "captured reconciled",                                                                   "note",      "D9"),
        Policy("recorded",        "reversed refunded released",                                                            "refuse",    "D9"),
        Policy("told_authorised", "-",                                                                                     "refuse",    "D2.1"),
        Policy("told_authorised", "authorised captured reconciled reversed refunded released refused",                     "note",      "D5.2"),
        Policy("word_created",    "announced authorised captured reconciled reversed refunded released refused",           "note",      "D5.2"),
        Policy("word_authorised", "authorised captured reconciled reversed refunded released refused",                     "note",      "D5.2"),
        Policy("word_captured",   "captured reconciled reversed refunded released refused",                                "note",      "D5.2"),
        Policy("word_ended",      "announced authorised captured reconciled reversed refunded released refused",           "note",      "D5.2"),
        Policy("read_created",    "announced authorised captured released refused",                                        "note",      "D7.2"),
        Policy("read_created",    "reconciled reversed refunded",                                                          "attention", "A5"),
        Policy("read_authorised", "authorised captured released refused",                                                  "note",      "A6"),
        Policy("read_authorised", "reconciled reversed refunded",                                                          "attention", "A5"),
        Policy("read_captured",   "captured",                                                                              "attention", "D7.5"),
        Policy("read_captured",   "reconciled refused",                                                                    "note",      "D9"),
        Policy("read_captured",   "reversed refunded released",                                                            "attention", "A1"),
        Policy("read_refunded",   "captured",                                                                              "attention", "D7.5"),
        Policy("read_refunded",   "reconciled reversed refunded released refused",                                         "note",      "D7.2"),
        Policy("read_reversed",   "announced authorised captured reconciled reversed refunded released",                   "note",      "D7.2"),
        Policy("read_cancelled",  "announced authorised captured reconciled reversed refunded released",                   "note",      "D7.2"),
        Policy("read_disagrees",  "announced authorised captured reconciled",                                              "attention", "D7.5"),
        Policy("read_disagrees",  "reversed refunded released refused",                                                    "note",      "A1"),
        Policy("detached",        "- announced authorised captured reconciled reversed refunded refused",                  "refuse",    "A9"),
        Policy("detached",        "released",                                                                              "note",      "A9"),
        Policy("payment_refused", "announced authorised captured reconciled reversed refunded released refused",           "note",      "D9"),
        Policy("payment_contradicted", "-",                                                                                "refuse",    "D9"),
        Policy("payment_contradicted", "announced authorised captured reconciled reversed refunded released refused",      "note",      "D9"),
    ),
    groups={
        "held":    "authorised captured",
        "taken":   "captured",
        "counted": "reconciled",
        "unpaid":  "announced",
        "ended":   "reversed refunded released",
        "given_back": "reversed refunded",
        "ignored": "refused",
    },
    tells={},
    migrations=(
        #         old states   new state   reason (for people, and for the journal)   rule
    ),
)

FULFILMENT = Declaration(
    name="fulfilment",
    states={
        "New":       "The bill is there; nobody has begun with it.",
        "Submitted": "Dojo handed the order to the till; nobody has confirmed it.",
        "Confirmed": "The order is paid or taken; the kitchen has yet to accept it.",
        "Accepted":  "Kitchen or staff took it.",
        "Preparing": "It is being made.",
        "Prepared":  "Made; to be served or collected.",
        "Ready":     "Waiting for the customer or a runner.",
        "Finalized": "Complete and paid in full.",
        "Canceled":  "No longer active.",
        "Failed":    "It could not be taken or made.",
    },
    final="Finalized Canceled Failed",
    transitions=(
        #   when       from                                                   to           only if          then send  rule
        Row("begin",    "-",                                                  "New",       "always",        "nothing", "D8.3"),
        Row("submit",   "- New",                                              "Submitted", "always",        "nothing", "D2.1"),
        Row("open",     "-",                                                  "Accepted",  "always",        "nothing", "D2.2"),
        Row("confirm",  "New Submitted",                                      "Confirmed", "always",        "nothing", "D8.3"),
        Row("accept",   "New Submitted Confirmed",                            "Accepted",  "always",        "nothing", "D8.3"),
        Row("start",    "New Submitted Confirmed Accepted",                   "Preparing", "always",        "nothing", "D8.3"),
        Row("prepare",  "New Submitted Confirmed Accepted Preparing",         "Prepared",  "always",        "nothing", "D8.3"),
        Row("ready",    "New Submitted Confirmed Accepted Preparing Prepared", "Ready",    "always",        "nothing", "D8.3"),
        Row("finalise", "Confirmed Accepted Preparing Prepared Ready",        "Finalized", "paid_in_full",  "nothing", "D8.3"),
        Row("cancel",   "New Submitted Confirmed Accepted Preparing Prepared Ready", "Canceled", "always",  "nothing", "D8.3"),
        Row("fail",     "New Submitted Confirmed Accepted Preparing Prepared Ready", "Failed", "always",    "nothing", "A7"),
    ),
    messages=(
        #       name                fires       then send        meaning
        Message("dojo_creates",     "submit",   "tell_till",     "Dojo creates the order."),
        Message("till_opens",       "open",     "nothing",       "The till opens a bill that its staff took."),
        Message("till_opens_New",   "begin",    "nothing",       "The till opens a bill that nobody has begun with."),
        Message("order_reconciled", "confirm",  "nothing",       "The order's money was reconciled."),
        Message("order_cancelled",  "cancel",   "nothing",       "The order was cancelled, reversed or expired."),
        Message("order_failed",     "fail",     "nothing",       "The till cannot take the order."),
        Message("till_New",         "nothing",  "nothing",       "The till says New."),
        Message("till_Submitted",   "submit",   "nothing",       "The till says Submitted."),
        Message("till_Confirmed",   "confirm",  "nothing",       "The till says Confirmed."),
        Message("till_Accepted",    "accept",   "nothing",       "The till says Accepted."),
        Message("till_Preparing",   "start",    "nothing",       "The till says Preparing."),
        Message("till_Prepared",    "prepare",  "nothing",       "The till says Prepared."),
        Message("till_Ready",       "ready",    "nothing",       "The till says Ready."),
        Message("till_Finalized",   "finalise", "nothing",       "The till says Finalized."),
    ),
    policies=(
        #      message                        in state                                                                                outcome   rule
        Policy("dojo_creates",                "Submitted Confirmed Accepted Preparing Prepared Ready Finalized Canceled Failed",      "note",   "D8.3"),
        Policy("till_opens till_opens_New",   "New Submitted Confirmed Accepted Preparing Prepared Ready Finalized Canceled Failed",  "note",   "D8.3"),
        Policy("order_reconciled",            "- Confirmed Accepted Preparing Prepared Ready Finalized Canceled Failed",              "note",   "D8.3"),
        Policy("order_cancelled order_failed", "- Finalized Canceled Failed",                                                         "note",   "D8.3"),
        Policy("till_Confirmed till_Accepted till_Preparing till_Prepared till_Ready till_Finalized", "- Canceled Failed",            "refuse", "D8.3"),
        Policy("till_New",                    "New",                                                                                  "note",   "D8.3"),
        Policy("till_New",                    "- Submitted Confirmed Accepted Preparing Prepared Ready Finalized Canceled Failed",    "refuse", "D8.3"),
        Policy("till_Submitted",              "Submitted",                                                                            "note",   "D8.3"),
        Policy("till_Submitted",              "Confirmed Accepted Preparing Prepared Ready Finalized Canceled Failed",                "refuse", "D8.3"),
        Policy("till_Confirmed",              "Confirmed",                                                                            "note",   "D8.3"),
        Policy("till_Confirmed",              "Accepted Preparing Prepared Ready Finalized",                                          "refuse", "D8.3"),
        Policy("till_Accepted",               "Accepted",                                                                             "note",   "D8.3"),
        Policy("till_Accepted",               "Preparing Prepared Ready Finalized",                                                   "refuse", "D8.3"),
        Policy("till_Preparing",              "Preparing",                                                                            "note",   "D8.3"),
        Policy("till_Preparing",              "Prepared Ready Finalized",                                                             "refuse", "D8.3"),
        Policy("till_Prepared",               "Prepared",                                                                             "note",   "D8.3"),
        Policy("till_Prepared",               "Ready Finalized",                                                                      "refuse", "D8.3"),
        Policy("till_Ready",                  "Ready",                                                                                "note",   "D8.3"),
        Policy("till_Ready",                  "Finalized",                                                                            "refuse", "D8.3"),
        Policy("till_Finalized",              "New Submitted Confirmed Accepted Preparing Prepared Ready",                            "refuse", "D8.3"),
        Policy("till_Finalized",              "Finalized",                                                                            "note",   "D8.3"),
    ),
    groups={
        "closed": "Finalized Canceled Failed",
    },
    tells={},
    migrations=(
        #         old states   new state   reason (for people, and for the journal)   rule
    ),
)

DECLARATIONS = (ORDER, PAYMENT, FULFILMENT)

ATTENTION = {
    #          code                       why (a sentence for a person)                                   what to do next
    "PAID_NOT_ON_TILL":         Attention("Dojo has the money of a customer, and the till does not know of it.", "Look at the table before anybody pays again. Where a payment is named, read_again asks Dojo once more; where none is, see that the till runs and answers at TILL_URL, then requeue, unless it is told by itself. Acknowledge once it was entered by hand or given back."),
    "HEAD_REGRESSED":           Attention("The journal lacks entries that its witness saw: money may be missing from it.", "Stop the server and put the newer journal in its place; only if there is none: resolve with accept_lost_tail, or stop the server and run tillproof journal accept-lost-tail."),
    "CHAIN_BROKEN":             Attention("The journal is not what was written: an entry was changed, or is gone.", "Stop the server, keep the file as evidence, put the newest sealed copy in its place and start again; tillproof journal verify names the first bad entry."),
    "JOURNAL_DAMAGED":          Attention("The journal's file is damaged: the disk or its memory is not to be trusted.", "Stop the server, keep the file, put the newest sealed copy in its place, on another disk; tillproof journal verify says whether it is whole."),
    "DISK_FULL":                Attention("The disk is full: no order and no payment is taken.",                         "Free space beside the journal and its witness. Service resumes by itself."),
    "JOURNAL_READ_ONLY":        Attention("The journal, its directory or its witness cannot be written: no order and no payment is taken.", "Mend the permissions, or mount the disk for writing. Service resumes by itself."),
    "JOURNAL_BUSY":             Attention("Another program holds the journal: no order and no payment is taken.",        "End that program, or have it close the file. Service resumes by itself."),
    "PAID_BUT_REFUSED":         Attention("The customer has paid, but the till refused the order.",          "Give the money back in Dojo's portal, then resolve with mark_given_back."),
    "PAID_BUT_CLOSED":          Attention("Money counts on an order that is closed.",                        "Give the money back in Dojo's portal, then resolve with mark_given_back."),
    "CANCEL_PENDING_REVERSAL":  Attention("The order ended, but Dojo still holds the customer's money.",     "Wait for Dojo to reverse it; read_again asks whether it did. After an hour, call Dojo."),
    "AMOUNT_MISMATCH":          Attention("Dojo's payment and this order disagree about the amount.",        "Compare both; read_again, accept_difference or detach_payment; acknowledge leaves what counts as it is."),
    "CURRENCY_MISMATCH":        Attention("Dojo's payment is in another currency than this order.",          "Find out whose payment it is; read_again if it changed at Dojo, else detach_payment, or acknowledge what counts already."),
    "EXTERNAL_ID_MISMATCH":     Attention("Dojo's payment says that it belongs to another order.",           "Find out whose payment it is; read_again if it changed at Dojo, else accept_difference or detach_payment, or acknowledge what counts already."),
    "INTENT_NOT_FOUND":         Attention("Dojo does not know the payment that this order was told of.",     "Look it up in Dojo's portal; read_again or detach_payment, or acknowledge what counts already."),
    "UNKNOWN_STATUS":           Attention("Dojo's payment has a status that was never published.",           "Ask Dojo what it means; then read_again or detach_payment, or acknowledge what counts already."),
    "STATUS_LIE":               Attention("What Dojo said and what it says now do not go together.",         "Look the payment up in Dojo's portal; read_again if it changed there, then acknowledge."),
    "UNDERPAID":                Attention("Dojo captured less than the payment was made for, and the rest is still open.", "Ask for the rest while the customer is there, or take it off the bill; acknowledge if nobody will pay it."),
    "AUTH_EXPIRED":             Attention("The hold on the customer's money ran out before Dojo captured it: it is not paid.", "Have the customer pay again where the order was served; then acknowledge."),
    "REFUND_AFTER_UPDATE":      Attention("Money that counted went back to the customer, and nobody here was asked for it.",               "Correct the sale on the till where the till does not do so by itself; then acknowledge."),
    "OVERPAID":                 Attention("More was paid than the bill comes to.",                           "Give the difference back in Dojo's portal, then resolve with mark_given_back."),
    "ORPHAN_EVENT":             Attention("Dojo spoke of a payment for an order that is not here.",          "Search the payment in Dojo's portal; if it is this venue's, enter the order on the till. read_again asks Dojo once more; then acknowledge."),
    "DOJO_AUTH":                Attention("Dojo refuses our key: payments are not checked, Dojo hears nothing.", "Set the right DOJO_API_KEY and start the server again (tillproof doctor tells whether Dojo takes it); where Dojo had to mend something, calls resume by themselves."),
    "CLOCK_JUMP":               Attention("The machine's clock jumped: times in the journal repeat or skip there; their numbers do not.", "See that the machine keeps time (tillproof doctor), then acknowledge. A jump while the program runs is over by itself once the clock is back."),
    "DOJO_CONTRACT":            Attention("Dojo refuses every call of ours alike: payments are not checked, Dojo hears nothing.", "Read in the detail what Dojo answers, check DOJO_VERSION and DOJO_URL (a change takes a new start); a newer Tillproof may be needed. Calls resume by themselves."),
    "DOJO_GARBAGE":             Attention("What answers for Dojo cannot be understood: payments are not checked.", "Check DOJO_URL, and what stands between here and Dojo (a proxy, a sign-in page); then call Dojo. It ends by itself."),
    "REDIRECT":                 Attention("What answers for Dojo sends our calls elsewhere; they are not followed.", "Check DOJO_URL, and what stands between here and Dojo (a proxy, a sign-in page). It ends by itself."),
    "TILL_AUTH":                Attention("The till refuses our calls: it hears nothing but what it asks for.",        "Set the same TILL_SECRET on the till and here (which takes a new start here). Calls resume by themselves."),
    "TILL_CONTRACT":            Attention("The till refuses every call of ours alike: it hears nothing but what it asks for.", "Have the till's vendor look at what it answers; the feed has everything meanwhile. Calls resume by themselves."),
    "TILL_REDIRECT":            Attention("The till's address sends our calls elsewhere; they are not followed.", "Set TILL_URL to where the till is now, and start the server again. It ends by itself."),
    "OUTBOX_DEAD":              Attention("A call to Dojo or to the till was given up, and is not made again by itself.", "Read in the detail why, mend it, then requeue; acknowledge if nobody needs it any more."),
    "PAYMENT_REFUSED":          Attention("We refused a payment that Dojo had taken or held; Dojo has not given it back yet.", "Wait for Dojo to give it back; read_again asks whether it did. After an hour do so in Dojo's portal, then resolve with mark_given_back."),
    "PAYMENT_CONFLICT":         Attention("Dojo named a payment of this order with other figures, for another order, or of another account.", "Find out which of the two is right (an account of yours belongs into ACCOUNT_IDS); then acknowledge."),
    "TOTAL_MISMATCH":           Attention("Dojo's total of an order is not what its lines come to; the total counts.", "Compare the order with the menu's prices; then acknowledge."),
    "LOCK_STALE":               Attention("A card machine's lock ran out unreleased, and another one took it over.", "Look whether the first one's customer has paid; it clears when the second is released, or acknowledge."),
    "KEY_REUSE":                Attention("Dojo or the till sent the same order id with other content.",     "Check that the first content is right; then acknowledge."),
}

PATIENCE_S = {
    # Seconds that it may be so before a person is called; PAID_NOT_ON_TILL and ORPHAN_EVENT have settings.
    "UNDERPAID":   900,   # Dojo may capture the rest meanwhile.
    "STATUS_LIE":  1800,  # After a read that denied what Dojo had said, or an older one that differs: its own copies lag.
    "HOLD":      691200,  # Dojo lets a hold go after seven days; a day more, and it is STATUS_LIE that it still reads so.
}

RESOLUTIONS = (
    #          action               for attention                                                            what it does
    Resolution("accept_difference", "AMOUNT_MISMATCH EXTERNAL_ID_MISMATCH",                                  "Count what the intent says, although it differs."),
    Resolution("read_again",        "AMOUNT_MISMATCH CURRENCY_MISMATCH EXTERNAL_ID_MISMATCH INTENT_NOT_FOUND UNKNOWN_STATUS STATUS_LIE CANCEL_PENDING_REVERSAL PAYMENT_REFUSED PAID_NOT_ON_TILL ORPHAN_EVENT", "Read the intent at Dojo once more."),
    Resolution("detach_payment",    "AMOUNT_MISMATCH CURRENCY_MISMATCH EXTERNAL_ID_MISMATCH INTENT_NOT_FOUND UNKNOWN_STATUS", "Take the intent off this order; it counts nothing here."),
    Resolution("mark_given_back",   "PAID_BUT_REFUSED PAID_BUT_CLOSED OVERPAID PAYMENT_REFUSED",                             "A person gave the money back; stop asking."),
    Resolution("accept_lost_tail",  "HEAD_REGRESSED",                                                        "Go on without the lost entries: at the terminal, or by POST /api/resolve, which is all that is served then."),
    Resolution("acknowledge",       "PAID_NOT_ON_TILL UNDERPAID AUTH_EXPIRED REFUND_AFTER_UPDATE LOCK_STALE KEY_REUSE PAYMENT_CONFLICT STATUS_LIE ORPHAN_EVENT CLOCK_JUMP TOTAL_MISMATCH OUTBOX_DEAD AMOUNT_MISMATCH CURRENCY_MISMATCH EXTERNAL_ID_MISMATCH INTENT_NOT_FOUND UNKNOWN_STATUS", "A person looked; nothing is to be changed. Of a mismatch only where the payment counts already: the next read that differs calls again."),
)
# fmt: on
