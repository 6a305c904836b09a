"""Resources and endpoints become a Snapshot and Faults. Pure: no I/O, no clock.

compiler.py the steps in their order · options.py what the operator decided · classes.py which Ingresses are served
· certificates.py Secrets and files become certificates · rules.py what one Ingress says becomes its routes ·
policies.py annotations become filters · hosts.py the routes of all become virtual hosts, in their order of
precedence · client_auth.py which of them ask for certificates · passthrough.py which of them end no TLS ·
backends.py which pools they need · pools.py a Service port becomes a pool, or questions for discovery · made.py
such a pool with what it was made of · slices.py the endpoints that are written down · service_names.py what a
missing Service may be · streams.py which ports Services open at layer 4 · service_ports.py what one of them wants ·
claims.py who gets one that several want · node_ports.py, cluster_ips.py ports and addresses that nobody has written
· loops.py endpoints that lead back to us · port_faults.py what is said of a port that could not be opened ·
health.py what a Service says of checks and ejections · marks.py what checks have found · kept.py what a run leaves
to the next one · compilation.py, service_row.py what comes out, and what people are shown of it.
"""
