"""ssl-passthrough: connections for a host go to its Service with the TLS that is spoken on them.

In: the annotation. Out: what it means, for compile/: a connection is passed on by the name in its ClientHello, before
anything could be filtered.
"""

from __future__ import annotations

from ingressd.filters.base import Annotation, FilterSpec
from ingressd.filters.values import boolean

PASSTHROUGH = "ssl-passthrough"


class _Spec(FilterSpec):
    name = "ssl-passthrough"
    annotations = (
        Annotation(
            PASSTHROUGH,
            boolean,
            "pass connections to the HTTPS port on as they are, by the host in their ClientHello; needs"
            " --ssl-passthrough",
            "false",
            note="The Service of the path `/` gets them, else that of the first path. Of several Ingresses of a host"
            " the oldest one decides. All other annotations hold for plain HTTP only.",
        ),
    )


SPEC = _Spec()
