"""Resources as people write them, each value with its file, line and column. Nothing here knows the proxy.

shape.py how a field is read and what a mistake in one is · names.py what may be called how · one file a kind ·
kinds.py which kinds there are · origin.py where a resource stands · resource.py an object with its origin ·
reading.py a parsed document becomes resources and faults · resource_set.py all of them, by what asks for them.
"""
