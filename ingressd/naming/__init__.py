"""The DNS server for the names of Services: NAME.NAMESPACE.svc.cluster.local, as in a cluster.

members.py who answers for a Service · zone.py which names there are, and what is at each · answers.py a query becomes
a response · forwarder.py other name servers, for names beyond the zone · server.py UDP and TCP. It is off unless
--dns-port says otherwise: docs/dns.md.
"""
