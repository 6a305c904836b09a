"""What the faults of one Ingress mean for somebody who comes from ingress-nginx.

In: faults of the compiler. Out: differences, what is not supported, what has to be brought along, remarks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ingressd.errors import Fault, Severity
from ingressd.migration.differences import Difference, Example

UNUSABLE = "annotation_unusable"
UNSUPPORTED = frozenset({"annotation_guard_unsupported", "annotation_unsupported", "backend_resource", "regex_invalid"})
DIFFERENT = frozenset(
    {
        "annotation_differs",
        "annotation_guard_unknown",
        "annotation_invalid",
        UNUSABLE,
        "extra_host_certificate",
        "host_taken",
    }
)
NEEDED = frozenset(
    {
        "certificate_expired",
        "certificate_host_mismatch",
        "certificate_not_yet_valid",
        "certificate_unusable",
        "passthrough_off",
        "secret_missing",
        "secret_no_certificate",
        "service_missing",
        "service_port_missing",
    }
)
SCOPE = "regex_scope"
_SKIPPED = frozenset({"class_skipped", "class_two_defaults"})
_NOT_THERE = "is not supported"
"""What the text of an annotation says whose value is understood, and means what there is not."""
_ABSENT = "there is no "
"""How the text of an annotation that names what is in no file goes on."""
_ANNOTATION = re.compile(r"((?:[a-z0-9.-]+)/[A-Za-z0-9-]+)[:, ]")
_TWO_WAYS = re.compile(r"(\S+) goes to (.+?); ingress-nginx .+ and sends it to (.+)")


class Unsupported(NamedTuple):
    """What is not supported, as a fault says it."""

    subject: str
    why: str
    instead: str


@dataclass(slots=True)
class Judged:
    """What the faults of one Ingress come to."""

    differences: list[Difference] = field(default_factory=list)
    unsupported: list[Unsupported] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def subjects(self) -> frozenset[str]:
        """Annotations, as they are written, of which something is said already."""
        return frozenset((*(each.subject for each in self.differences), *(each.subject for each in self.unsupported)))


def judge(faults: Iterable[Fault], differences: Iterable[Difference] = ()) -> Judged:
    """Sort them, behind `differences` that are known already."""
    judged = Judged([*differences])
    for fault in faults:
        subject = _subject(fault)
        if fault.code in UNSUPPORTED or (fault.code == UNUSABLE and _NOT_THERE in fault.message):
            judged.unsupported.append(Unsupported(subject, _without(subject, fault.message), fault.hint))
        elif fault.code == SCOPE:
            judged.differences.append(_scope(fault))
        elif fault.code == UNUSABLE and _ABSENT in fault.message:
            judged.needs.append(_told(fault))
        elif fault.code in DIFFERENT:
            judged.differences.append(Difference(subject, _without(subject, fault.message), instead=fault.hint))
        elif fault.code in NEEDED:
            judged.needs.append(_told(fault))
        elif fault.code not in _SKIPPED and fault.severity is not Severity.INFO:
            judged.remarks.append(_told(fault))
    return judged


def _told(fault: Fault) -> str:
    return f"{fault.message} ({fault.hint})" if fault.hint else fault.message


def _without(subject: str, message: str) -> str:
    """The message without the annotation that it begins with."""
    return message.removeprefix(subject).lstrip(": ")


def _subject(fault: Fault) -> str:
    """The annotation that a fault is about; else its code."""
    found = _ANNOTATION.match(f"{fault.message} ")
    return found[1] if found else fault.code


def _scope(fault: Fault) -> Difference:
    what = "ingress-nginx makes regular expressions of all paths of the host, ingressd of those of this Ingress."
    found = _TWO_WAYS.fullmatch(fault.message)
    example = None if found is None else Example("GET", found[1], found[3], found[2])
    return Difference("regular expressions", what, example, "--regex-scope host")
