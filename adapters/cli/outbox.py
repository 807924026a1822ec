"""`tillproof outbox`: messages on their way to Dojo and the till."""

from __future__ import annotations

from collections.abc import Iterator

import click

from adapters.api.views import task_view
from adapters.cli.acting import actor, reason_option
from adapters.cli.context import Program, failures, json_option, open_journal, settings
from adapters.cli.output import Command, Group, emit, table
from workflow.commands import RequeueTask, StopTask
from workflow.journal.schema import TASK_STATUSES


@click.group(cls=Group, example="tillproof outbox list --status dead")
def outbox() -> None:
    """Messages on their way to Dojo and the till, and those that were given up."""


@outbox.command("list", cls=Command, example="tillproof outbox list --status dead")
@click.option("--status", type=click.Choice(TASK_STATUSES), help="Only tasks that are so.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def outbox_list(status: str | None, limit: int, as_json: bool) -> None:
    """List tasks, newest first."""
    with open_journal() as (_, reads):
        tasks = [task_view(row) for row in reads.tasks(status, limit)]

    def lines() -> Iterator[str]:
        rows = [
            (
                task.id,
                task.effect,
                task.payment_intent_id or "-",
                task.status,
                str(task.attempts),
                task.next_at or "-",
                task.last_error or "-",
            )
            for task in tasks
        ]
        yield from table(("task", "effect", "intent", "status", "attempts", "next", "last error"), rows) if rows else iter(["No tasks."])

    emit(as_json, {"data": tasks}, lines)


@outbox.command("requeue", cls=Command, example='tillproof outbox requeue tp_019ab2c4d5e6.12.0 --reason "Dojo is back"')
@click.argument("task_id")
@reason_option()
@json_option
@click.pass_obj
def outbox_requeue(program: Program, task_id: str, reason: str, as_json: bool) -> None:
    """Have a task tried now that is dead, or that waits for its next try: through the running server, else the next start sends it."""
    found = settings()
    with failures(refused="tillproof outbox list --status dead"):
        program.ask(found, RequeueTask(task_id=task_id, reason=reason, actor=actor()))
    emit(as_json, {"id": task_id, "status": "pending"}, lambda: iter([f"{task_id} will be tried again."]))


@outbox.command("stop", cls=Command, example='tillproof outbox stop tp_019ab2c4d5e6.12.0 --reason "The till is sold"')
@click.argument("task_id")
@reason_option()
@json_option
@click.pass_obj
def outbox_stop(program: Program, task_id: str, reason: str, as_json: bool) -> None:
    """Have a task tried no longer: through the running server where there is one. It is given up, and can be requeued.

    A payment that is still open is read again by the sweep all the same; of money that counts the till, or Dojo, hears nothing more.
    """
    found = settings()
    with failures(refused="tillproof outbox list"):
        program.ask(found, StopTask(task_id=task_id, reason=reason, actor=actor()))
    emit(as_json, {"id": task_id, "status": "dead"}, lambda: iter([f"{task_id} will not be tried again."]))
