"""Every error of the workflow, sorted by what the caller may do.

WorkflowError              root; carries whatever ids are known
  Refused                  rules or Dojo said no; the same again gets the same answer
    TransitionRefused · TransitionNotDeclared · KeyReused · OrderLocked · UnknownOrder (NotYet) · LockUnknown · UnknownTask
        UnknownBooking · PositionUnknown · UnknownCheckpoint · UnknownEntry
        IntentNotFound · CallRefused · RefusesUs (DojoRefusesUs · TillRefusesUs) · NotOffered
  TryAgain                 certainly did not happen (refused connection, 429); same key, later
    LogHeld                it is erased, but from a log that somebody still reads
    JournalUnavailable     nothing could be made durable
      JournalReadOnly      it can be read, not written
      DiskFailed           the disk failed under a write: whether it is stored is unknown
  OutcomeUnknown           may have happened (timeout, reset, 5xx); repeat only what is harmless twice
    AnswerUnreadable       something answered, and not as it should
    AnswerRedirects        something answered that somebody else is to be called
    ServerSilent           our own server did not answer an operator's command
  JournalDamaged           replay and journal disagree; stop and call a person
    JournalUnreadable        its file is damaged: SQLite cannot read it
    JournalForeign (NotAFile (PathRefused) · WitnessForeign) · JournalTooNew · HeadRegressed · OrdersUnexplained (OrdersToMigrate)
  JournalInUse             another server owns the journal
  DeclarationError         the declared machines contradict themselves; the program does not start
"""

from __future__ import annotations

ID_CHARACTERS = 80


def short(id_: str) -> str:
    """An id that somebody else made, as a message repeats it: its beginning, where it is very long."""
    return id_[:ID_CHARACTERS]


class WorkflowError(Exception):
    """Root of the tree. The message holds the ids and the values that disagreed."""


class Refused(WorkflowError):
    """Rules or Dojo said no; repeating the same is pointless. Change the request, or ask a person."""


class TransitionRefused(Refused):
    """A declared transition exists, but its guard said no."""


class TransitionNotDeclared(Refused):
    """No row of the declaration leaves the present state with this trigger."""


class KeyReused(Refused):
    """An idempotency key came again with other content; find out which of the two the caller meant."""


class OrderLocked(Refused):
    """Dojo's lock is live and somebody else's; wait for its expiry, or ask the waiter with the card machine."""


class UnknownOrder(Refused):
    """No order has this id."""


class NotYet(UnknownOrder):
    """The order began later than the position that was asked for: ask from entry `began` on."""

    def __init__(self, message: str, *, began: int) -> None:
        super().__init__(message)
        self.began = began


class PositionUnknown(Refused):
    """The journal has no entry at this position; ask for one up to its end."""


class LockUnknown(Refused):
    """The order never had this lock, or it was released."""


class UnknownTask(Refused):
    """No task of the outbox has this id."""


class NotOffered(Refused):
    """A new order names what the till does not offer: `value` at the path `field`, for people `name`. Mend the menu, or the till's lists.

    The message has neither value nor name, since both are whatever a stranger wrote.
    """

    def __init__(self, *, field: str, value: str, name: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field, self.value, self.name, self.reason = field, value, name, reason


class UnknownBooking(Refused):
    """No party, or no reservation, has this id, or it was deleted."""


class UnknownCheckpoint(Refused):
    """No checkpoint is of this size; the message names the nearest ones."""


class UnknownEntry(Refused):
    """No entry has this place, or no message of this name was accepted."""


class IntentNotFound(Refused):
    """Dojo does not know the payment intent, cancelled ones included; look it up in Dojo's portal."""


class CallRefused(Refused):
    """A destination refuses a call for what it says (400, 409, 422 and the like); `status` is its answer. Mend the cause, then requeue.

    Twenty in a row with the same answer are about every call: then the destination pauses, and none of them is given up.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class RefusesUs(Refused):
    """A destination refuses our credentials (401, 403). Everything for it waits until that is mended; nothing for another one does.

    Where it refuses one call alone and takes others, only that one waits.
    """


class DojoRefusesUs(RefusesUs):
    """Dojo refuses our credentials; check DOJO_API_KEY."""


class TillRefusesUs(RefusesUs):
    """The till refuses our signature or our call; check TILL_SECRET on both sides."""


class TryAgain(WorkflowError):
    """It certainly did not happen; the same again later may work. `after_seconds` is Dojo's own wish, if it had one."""

    def __init__(self, message: str, *, after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class LogHeld(TryAgain):
    """Personal data are erased, but stay in the write-ahead log as long as somebody reads an older state; the same again finishes it."""

    TOLD = "it is erased, but not from the write-ahead log yet, since somebody reads the journal: the same again does it"

    def __init__(self) -> None:
        super().__init__(self.TOLD)


class JournalUnavailable(TryAgain):
    """Nothing can be made durable now (disk full, read-only, locked); free space or check the disk. `code` says which, where known.

    `is_unknown`: this very request may be stored, and the same again tells; otherwise it certainly is not.
    """

    def __init__(self, message: str, *, after_seconds: float | None = None, code: str = "", is_unknown: bool = False) -> None:
        super().__init__(message, after_seconds=after_seconds)
        self.code, self.is_unknown = code, is_unknown


class JournalReadOnly(JournalUnavailable):
    """The journal can be read, but not written: mend the permissions of its file and directory, or mount the disk for writing."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="JOURNAL_READ_ONLY")


class DiskFailed(JournalUnavailable):
    """The disk failed while this was written: whether it is stored is unknown, and the same request again tells. Check the disk."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="DISK_FAILED", is_unknown=True)


class OutcomeUnknown(WorkflowError):
    """It may have happened (timeout, reset, 5xx, unreadable answer); repeat only what is harmless twice."""

    def __init__(self, message: str, *, after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class AnswerUnreadable(OutcomeUnknown):
    """A 2xx that is not what it should be: no JSON, another intent, cut off. Something may stand between us and the destination."""


class AnswerRedirects(OutcomeUnknown):
    """A redirect, which is never followed, so that no key goes elsewhere. Check the address, and what stands in between."""


class ServerSilent(OutcomeUnknown):
    """Nobody knows whether the server that has the journal did what an operator asked: it did not answer in time, or something else did.

    See that it runs, and look whether it was done, before giving it again.
    """


class JournalDamaged(WorkflowError):
    """The journal is not what it was written as; serve nothing from it and call a person."""


class JournalUnreadable(JournalDamaged):
    """SQLite cannot read the file: its structure is damaged, as a disk or memory does it; whoever edits what is stored leaves it whole."""


class JournalForeign(JournalDamaged):
    """The file is not a Tillproof journal; check the JOURNAL setting."""


class NotAFile(JournalForeign):
    """Where the journal should be is a directory, a device, or a file under more than one name (a link); check the JOURNAL setting."""


class PathRefused(NotAFile):
    """Two files that the program writes are one, or the witness is a directory or a device; `tillproof doctor` names the setting."""


class WitnessForeign(JournalForeign):
    """The file has something else in it than a witness; check the WITNESS setting. Where it was the witness, put it aside."""


class JournalTooNew(JournalDamaged):
    """A newer version of Tillproof wrote this journal; run that version."""


class HeadRegressed(JournalDamaged):
    """The journal lacks entries that its witness has seen: an old copy, or a damaged WAL. Find the newer file."""


class OrdersUnexplained(JournalDamaged):
    """Orders rest in states, or went by declarations, that are not known here; run the version that knows them, or declare migrations."""


class OrdersToMigrate(OrdersUnexplained):
    """Orders rest in states of an earlier declaration, and declared migrations lead on from all of them; `tillproof machine migrate`."""


class JournalInUse(WorkflowError):
    """Another server owns this journal; stop it first, or send the request to it."""


class DeclarationError(WorkflowError):
    """A row of `lifecycle.py` is wrong; the message names the row."""
