"""Schedulers: which endpoint of a pool takes the next request.

base.py says what a scheduler is, registry.py names them, affinity.py keeps clients where they are, hashing.py has the
hashes that are the same in every process, simulation.py tries schedulers out; each other file is one kind of them.
"""
