"""Schedulers: which endpoint of a pool takes the next request.

base.py says what a scheduler is, registry.py names them, each other file is one of them.
"""
