"""The downstream end: sockets and what is spoken on them.

edge.py is a worker's whole data plane; plain.py and tls.py accept connections, client_hello.py reads the SNI,
http1.py speaks HTTP/1.1 with the client.
"""
