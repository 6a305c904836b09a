"""Where the endpoints of a Service come from when the manifests do not list them.

base.py says what a provider is, registry.py finds the built-in ones and those of other packages (entry-point group
`ingressd.discovery`), dns.py and static.py are built in, watcher.py keeps every question asked and its last answer.
dns.py decides when to ask; dns_lookup.py asks, by the rules that name_files.py reads from this machine's files.
"""
