"""The admin API: health, metrics and a read-only JSON view of what is served, on a port of its own.

view.py says what the pages need (process/ gives it), app.py makes the aiohttp application, long_answers.py its longest
pages. guard.py keeps strangers, other people's web pages and writing methods out; token.py and credentials.py are what
it demands of them. connections.py bounds the clients, server.py puts it all on sockets.
"""
