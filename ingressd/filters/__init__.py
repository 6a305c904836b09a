"""One behaviour of a route in one file: its annotations, its options, its class.

base.py says what a filter is and how it declares its annotations, values.py parses the usual ones, registry.py lists
them in the order they run. compile/ builds filters from annotations; the data plane only calls them.
"""
