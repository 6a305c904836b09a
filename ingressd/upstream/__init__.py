"""The upstream end: connections to endpoints, and all state that outlives a snapshot.

registry.py holds everything that survives a reload, keyed by endpoint address; endpoint.py is one address with its
idle connections; connection.py speaks HTTP/1.1 to it; dial.py opens one, raw_dial.py a bare socket, secure.py is TLS
to endpoints, memory_file.py what ssl reads keys from. Health: health.py what the results of a check say, outlier.py
what requests say, serving.py who is left to serve, slow_start.py how those begin who come back.
"""
