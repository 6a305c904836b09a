"""Who asks: programs and small clients of our own, all on the load generator's core.

sample.py what each of them brings back · wrk.py, h2load.py programs · upload.py, handshakes.py, websocket.py what those
cannot do · idle.py connections that only stay open · paced.py a steady rate, for latency while something happens.
"""
