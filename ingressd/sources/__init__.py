"""Where resources come from. A source loads what is there now, and tells when to load again.

base.py says what a source is · files.py is the one for files, over: folders.py which files there are · contents.py
a file becomes text · documents.py a text becomes documents, each read once · yaml_values.py and json_values.py a
document becomes a value of JSON's types · last_good.py what a broken document is served as · events.py the news of
the file system.
"""
