"""Which Route takes a request: host first, then the path inside that host.

table.py chooses the host, index.py the path, paths.py has the rules of element-wise comparison, trace.py writes
down what the two did for `explain`. Synchronous, without I/O, without a word about manifests.
"""
