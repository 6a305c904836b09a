"""HTTP/1.1 rules without I/O: bytes enter, values or a LocalReply leave. Nothing here knows routes or endpoints.

codec.py message heads (the only module that knows the parser) · target.py the canonical path, the only decoder of
paths · authority.py host and port · field_rules.py which fields are what · fields.py what may pass, and what the proxy
reads · framing.py where a body ends, and its decoders · forwarded.py who the client is, and how the upstream is told ·
client_certificate.py what a certificate says of a client · local_reply.py our own answers.
"""
