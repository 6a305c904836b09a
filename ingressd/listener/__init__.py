"""The downstream end: sockets and what is spoken on them.

edge.py is a worker's whole data plane; plain.py and tls.py accept connections, client_hello.py reads the SNI,
tls_hosts.py what a host wants of a connection, client_tls.py asks for certificates of clients, introductions.py hears
from a proxy before us whose connection it is, http1.py speaks HTTP/1.1 with the client. Layer 4: streams.py has all
ports of Services, port.py opens one, stream.py and splice.py pass TCP on, proxy_protocol.py tells endpoints whose
connection it is, datagram.py passes UDP on.
"""
