"""IngressClass (networking.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ingressd.model import names
from ingressd.model.metadata import Metadata
from ingressd.model.shape import Mistake, Shape, invalid, required

DEFAULT_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"


class IngressClassSpec(Shape):
    """See the fields."""

    controller: str = ""
    parameters: Any = None


class IngressClass(Shape):
    """networking.k8s.io/v1 IngressClass: says which controller serves a class."""

    api_version: str
    kind: str
    metadata: Metadata
    spec: IngressClassSpec = IngressClassSpec()

    @property
    def is_default(self) -> bool:
        """Ingresses without a class are of this one."""
        return self.metadata.annotations.get(DEFAULT_ANNOTATION) == "true"

    def mistakes(self) -> Iterator[Mistake]:
        """Rules of ValidateIngressClass."""
        yield from self.metadata.mistakes()
        if not self.spec.controller:
            yield required(("spec", "controller"), hint="write `controller: ingressd.dev/ingress-controller`")
        elif rule := names.controller(self.spec.controller):
            yield invalid(("spec", "controller"), self.spec.controller, rule)
