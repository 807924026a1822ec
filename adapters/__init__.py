"""The edges: they translate and decide nothing.

A folder is one counterpart, and imports no other; `edge` is what those who are asked share. The modules beside them serve all of it:
settings, logs, health, metrics, how a process starts and serves. `sides` and `callers` put the counterparts together for `app.py`.
"""
