"""The demo apps: what stands behind the proxy in `ingressd demo` and in docker-compose.yml.

echo.py answers with JSON that shows what it received, live.py has a WebSocket and server-sent events, cast.py says
which Service of the stories is played by which app, and `python -m examples.apps` starts them all on one machine.
"""
