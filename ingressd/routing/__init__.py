"""Which Route takes a request: host first, then the path inside that host.

table.py chooses the host, index.py the path, mixed_index.py the path where some are regular expressions. paths.py has
the rules of comparison, trace.py writes down what was done for `explain`. Synchronous, without I/O, without a word
about manifests.
"""
