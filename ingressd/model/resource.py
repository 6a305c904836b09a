"""Resource: one Kubernetes object as people wrote it, with the place where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from ingressd.errors import Fault, Severity
from ingressd.model.kinds import CLUSTER_SCOPED, Kind
from ingressd.model.origin import Origin, Position
from ingressd.model.shape import Loc

DEFAULT_NAMESPACE = "default"
"""As `kubectl apply` without --namespace."""

K = TypeVar("K", bound=Kind, covariant=True)


class Key(NamedTuple):
    """What makes an object the same one after an edit."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Resource(Generic[K]):
    """`object` is shared with the version before as long as its document stays the same."""

    object: K
    origin: Origin
    inside: Loc = ()
    """The object's place in its document: `("items", 3)` in a List."""
    key: Key = field(init=False)
    """Kind, namespace and name. Made once: all of 20,000 are asked for it after each edit."""

    def __post_init__(self) -> None:
        object_ = self.object
        namespace = namespace_of(object_.kind, object_.metadata.namespace)
        object.__setattr__(self, "key", Key(object_.kind, namespace, object_.metadata.name))

    @property
    def kind(self) -> str:
        """`Ingress`."""
        return self.key.kind

    @property
    def namespace(self) -> str:
        """Empty for what is not in one."""
        return self.key.namespace

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.key.name

    @property
    def annotations(self) -> dict[str, str]:
        """metadata.annotations."""
        return dict(self.object.metadata.annotations)

    @property
    def file(self) -> str:
        """The file as it was found."""
        return self.origin.file

    def __repr__(self) -> str:
        return f"<Resource {self.key} {self.file}:{self.origin.line}>"

    def position(self, *loc: str | int) -> Position:
        """Where a value of the object stands."""
        return self.origin.position((*self.inside, *loc))

    def place(self, *loc: str | int) -> str:
        """`FILE:LINE`, for messages."""
        return f"{self.file}:{self.position(*loc).line}"

    def fault(self, severity: Severity, code: str, message: str, hint: str = "", loc: Loc = ()) -> Fault:
        """A Fault at `loc` of this object."""
        line, column = self.position(*loc)
        return Fault(severity, code, self.kind, self.namespace, self.name, self.file, line, column, message, hint)


def namespace_of(kind: str, written: str | None) -> str:
    """The namespace of an object whose metadata says `written`."""
    return "" if kind in CLUSTER_SCOPED else written or DEFAULT_NAMESPACE
