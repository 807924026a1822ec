"""What `tillproof doctor` and the console's set-up page look at. Each finding says what is, and how to mend it where it is wrong.

One module a subject. `whole` looks from outside, `serving` from within a server, to which the journal and the ports belong.
"""

from adapters.checks.dojo import Dojo
from adapters.checks.finding import Finding
from adapters.checks.serving import Served, examine_dojo, examine_serving
from adapters.checks.surroundings import sqlite_version
from adapters.checks.whole import examine

__all__ = ["Dojo", "Finding", "Served", "examine", "examine_dojo", "examine_serving", "sqlite_version"]
