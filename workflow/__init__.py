"""The core: what an order is, what may happen to it, and the journal that proves what did.

Knows nothing of HTTP, sockets, Flask or a particular till. The edges hand commands to `engine.Engine` and read through `journal.reads`.
"""
