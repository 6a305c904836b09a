"""The journey of a request through a worker, in the order of the files:

downstream.py what the listener offers · context.py what all exchanges of a worker share · exchange.py the journey
itself: route, filter, attempt, relay, log · request_body.py the upload · retry.py the two decisions · tunnel.py
after an upgrade. No socket is opened here: listener/ and upstream/ are the two ends.
"""
