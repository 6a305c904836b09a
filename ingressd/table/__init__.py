"""What the data plane reads: frozen, slotted, picklable. Built by compile/, carried by the channel, read by proxy/.

Snapshot holds VirtualHosts (each a set of Routes), Pools (each a set of Endpoints), Certificates and StreamListeners.
Nothing here knows how people wrote it: that is model/.
"""
