"""Dojo's side: the EPOS Data API and Dojo's events. Authenticates, parses, hands over, answers; never acts inside the request.

`handlers.Handlers` is free of transport; `rest.make_app` puts it behind HTTP.
"""
