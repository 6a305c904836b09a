"""proxy-buffering, proxy-buffer-size and their kin: accepted, because responses are always streamed."""

from __future__ import annotations

from ingressd.filters.base import Annotation, FilterSpec
from ingressd.filters.request_body import size
from ingressd.filters.values import choice, whole

_STREAMED = "Accepted. Responses are streamed as they come, at the client's pace, with 64 KiB of memory."
_HEADS = "Accepted. The head of a response may have 64 KiB, whatever this says."
_NO_FILES = "Accepted. Responses are never written to files."


class _Spec(FilterSpec):
    name = "response-buffers"
    annotations = (
        Annotation(
            "proxy-buffering", choice("on", "off"), "take responses in before they are sent", "off", note=_STREAMED
        ),
        Annotation("proxy-buffer-size", size, "memory for the head of a response", "4k", note=_HEADS),
        Annotation("proxy-buffers-number", whole(1), "number of buffers for a response", "4", note=_STREAMED),
        Annotation("proxy-busy-buffers-size", size, "what may be sent already", "8k", note=_STREAMED),
        Annotation("proxy-max-temp-file-size", size, "largest file that holds a response", "1024m", note=_NO_FILES),
    )


SPEC = _Spec()
