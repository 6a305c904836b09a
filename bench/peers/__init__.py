"""The proxies under test. base.py what a peer is · one module for each, with its configuration · wheels.py where those
that come as wheels are found.

ALL is in the order of the report; the first is the one that the others are compared with.
"""

from __future__ import annotations

from bench.peers.base import Peer
from bench.peers.caddy import Caddy
from bench.peers.envoy import Envoy
from bench.peers.haproxy import HAProxy
from bench.peers.ingressd import Ingressd
from bench.peers.nginx import Nginx
from bench.peers.traefik import Traefik

ALL: tuple[Peer, ...] = (Ingressd(), Nginx(), HAProxy(), Envoy(), Traefik(), Caddy())
OWN = ALL[0].name
