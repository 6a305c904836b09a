"""The admin API: health, metrics and a read-only JSON view of what is served, on a port of its own.

view.py says what the pages need (process/ gives it), app.py makes the aiohttp application, guard.py keeps
other people's web pages and writing methods out.
"""
