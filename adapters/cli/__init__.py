"""The commands: data on stdout, messages on stderr, exit codes that mean something.

`run` takes the `Program` that the composition root has built. As the commands start and inspect everything, this package alone
may import the other adapters.
"""

from adapters.cli.commands import run
from adapters.cli.context import Program, next_command

__all__ = ["Program", "next_command", "run"]
