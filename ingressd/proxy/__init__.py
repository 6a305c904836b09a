"""The journey of a request through a worker, in the order of the files:

downstream.py what the listener offers · context.py what all exchanges of a worker share · the journey itself, one
object in four files: exchange.py head, route and filters · attempts.py endpoint and retries (retry.py has the two
decisions) · relay.py the response · outcome.py the end · request_body.py the upload · tunnel.py after an upgrade. No
socket is opened here: listener/ and upstream/ are the two ends.
"""
