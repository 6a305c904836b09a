"""ingressd: the Ingress controller without a cluster.

Floors, from the top: cli, process, listener, admin, naming and migration, proxy, upstream and compile, the plug-in
floors (routing, filters, balancing, sources, discovery), http and observe, model and table. A module imports
only downwards. Start reading at docs/life-of-a-request.md.
"""

__version__ = "0.1.0"
