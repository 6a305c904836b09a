"""Resources and endpoints become a Snapshot and Faults. Pure: no I/O, no clock.

compiler.py the steps in their order · options.py what the operator decided · classes.py which Ingresses are served ·
rules.py rules become routes, in their order of precedence · policies.py annotations become filters · pools.py Services
become pools, and questions for discovery · slices.py the endpoints that are written down · service_names.py what a
missing Service may be · certificates.py Secrets and files become certificates · compilation.py what comes out, and what
people are shown of it.
"""
