"""Outliers: endpoints that requests show to be unwell are ejected for a while: the passive half of health.

In: what each attempt met, as EndpointState is told. Out: which endpoints of a pool are ejected, and until when. There
is no timer: an ejection is over when somebody looks at the clock and it is. Each worker decides for itself. The rules
and their words are Envoy's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import ceil, fsum, inf, sqrt

from ingressd.table.health import OutlierDetection
from ingressd.upstream.endpoint import EndpointState

GATEWAY_FAILURES = frozenset({502, 503, 504})
INTERVAL_S = 10.0
"""How long successes are counted before they are compared. This and the next three are Envoy's defaults."""
HOSTS_MIN = 5
REQUESTS_MIN = 100
DEVIATIONS = 1.9
"""Who succeeds less often than the mean minus so many standard deviations is ejected."""


class Outlier:
    """One endpoint in one pool: its failures in a row, and its ejections."""

    __slots__ = (
        "_outliers",
        "ejections",
        "endpoint",
        "errors",
        "failures",
        "gateway_failures",
        "multiplier",
        "requests",
        "returned_at",
        "successes",
        "until",
    )

    def __init__(self, endpoint: EndpointState, outliers: Outliers) -> None:
        self.endpoint = endpoint
        self._outliers = outliers
        self.failures = 0
        self.gateway_failures = 0
        self.errors = 0
        self.requests = 0
        """Since the interval began, and so the next one."""
        self.successes = 0
        self.ejections = 0
        self.multiplier = 0
        """How many times the base time the last ejection was; it sinks while the endpoint does well."""
        self.until = 0.0
        """Monotonic seconds; 0 = it is not ejected."""
        self.returned_at = 0.0

    def __repr__(self) -> str:
        counts = f"{self.failures}/{self.gateway_failures}/{self.errors}"
        return f"<Outlier {self.endpoint.key} {counts} ejections={self.ejections} until={self.until:.1f}>"

    @property
    def suspect(self) -> bool:
        """Also answers that are good have to be told."""
        return self.errors > 0 or self._outliers.detection.success_rate

    def failed(self, now: float, *, unreachable: bool) -> None:
        """An attempt has failed. `unreachable`: there was no connection, or it broke."""
        if self.until:
            return
        self.requests += 1
        if unreachable:
            self.failures += 1
        self.gateway_failures += 1
        self.errors += 1
        self._outliers.judge(self, now)

    def answered(self, status: int, now: float) -> None:
        """A response has begun."""
        if self.until:
            return
        self.requests += 1
        self.failures = 0
        if status < 500:
            self.successes += 1
            self.gateway_failures = self.errors = 0
        else:
            self.errors += 1
            self.gateway_failures = self.gateway_failures + 1 if status in GATEWAY_FAILURES else 0
        self._outliers.judge(self, now)

    def reason(self, detection: OutlierDetection) -> str:
        """Why it has to go, in words; empty = it may stay."""
        for count, limit, what in (
            (self.failures, detection.consecutive_failures, "failed connections"),
            (self.gateway_failures, detection.consecutive_gateway_failures, "gateway failures"),
            (self.errors, detection.consecutive_5xx, "failures or answers with 5xx"),
        ):
            if limit and count >= limit:
                return f"{count} {what} in a row"
        return ""

    def eject(self, now: float) -> float:
        """Begin an ejection. Returns how long it is."""
        detection = self._outliers.detection
        if self.returned_at:
            well_s = max(0.0, now - self.returned_at)
            self.multiplier -= min(self.multiplier, int(well_s / detection.base_ejection_s))
        # Not beyond what the longest time needs: else an endpoint that was ill for long would be forgiven late.
        self.multiplier = min(self.multiplier + 1, ceil(detection.max_ejection_s / detection.base_ejection_s))
        self.ejections += 1
        seconds = min(detection.base_ejection_s * self.multiplier, detection.max_ejection_s)
        self.until = now + seconds
        self.failures = self.gateway_failures = self.errors = 0
        return seconds

    def end(self) -> None:
        """End the ejection."""
        self.returned_at, self.until = self.until, 0.0


class Outliers:
    """The endpoints of one pool. `ejected(endpoint, seconds, why, now)` is called after each ejection."""

    __slots__ = ("_by_endpoint", "_count", "_ejected", "_interval_ends", "detection", "next_return")

    def __init__(
        self, detection: OutlierDetection, ejected: Callable[[EndpointState, float, str, float], None]
    ) -> None:
        self.detection = detection
        self.next_return = inf
        """When the first ejection is over."""
        self._ejected = ejected
        self._by_endpoint: dict[EndpointState, Outlier] = {}
        self._count = 0
        """Of those that are ejected."""
        self._interval_ends = 0.0

    @property
    def any_ejected(self) -> bool:
        """Somebody is."""
        return self._count > 0

    def get(self, endpoint: EndpointState) -> Outlier | None:
        """What is known of an endpoint; None of one without a weight."""
        return self._by_endpoint.get(endpoint)

    def follow(self, endpoints: Iterable[EndpointState]) -> None:
        """The pool's endpoints that have a weight are these; what is known of those that stay is kept.

        When fewer are left than may be ejected, those return first whose time is over first.
        """
        before = self._by_endpoint
        self._by_endpoint = {each: before.get(each) or Outlier(each, self) for each in endpoints}
        for endpoint in before.keys() - self._by_endpoint.keys():
            endpoint.forget(before[endpoint])
        for outlier in self._by_endpoint.values():
            outlier.endpoint.tell(outlier)
        self._look()
        surplus = self._count - self._most()
        if surplus > 0:
            ejected = [outlier for outlier in self._by_endpoint.values() if outlier.until]
            for outlier in sorted(ejected, key=lambda each: each.until)[:surplus]:
                outlier.end()
            self._look()

    def is_ejected(self, endpoint: EndpointState) -> bool:
        """Whether requests should go elsewhere."""
        outlier = self._by_endpoint.get(endpoint)
        return outlier is not None and outlier.until > 0

    def let_return(self, now: float) -> list[EndpointState]:
        """End the ejections whose time is over. Returns whose they were."""
        over = [each for each in self._by_endpoint.values() if 0 < each.until <= now]
        for outlier in over:
            outlier.end()
        self._look()
        return [each.endpoint for each in over]

    def judge(self, outlier: Outlier, now: float) -> None:
        """Something happened to one of them."""
        why = outlier.reason(self.detection)
        if why:
            self._eject(outlier, why, now)
        if self.detection.success_rate and now >= self._interval_ends:
            began, self._interval_ends = self._interval_ends, now + INTERVAL_S
            if began:
                self._compare(now)

    def _compare(self, now: float) -> None:
        """An interval is over: eject who failed much more often than the others."""
        rates = {each: each.successes / each.requests for each in self._counted()}
        for outlier in self._by_endpoint.values():
            outlier.requests = outlier.successes = 0
        if len(rates) < HOSTS_MIN:
            return
        least = lowest_rate(rates)
        for outlier, rate in sorted(rates.items(), key=lambda item: item[1]):
            if rate < least:
                self._eject(outlier, f"only {rate:.1%} of its answers were good, at least {least:.1%} was due", now)

    def _counted(self) -> Iterable[Outlier]:
        return (each for each in self._by_endpoint.values() if each.requests >= REQUESTS_MIN)

    def _eject(self, outlier: Outlier, why: str, now: float) -> None:
        if outlier.until or self._count >= self._most():
            return
        seconds = outlier.eject(now)
        self._look()
        self._ejected(outlier.endpoint, seconds, why, now)

    def _most(self) -> int:
        return ejectable(len(self._by_endpoint), self.detection.max_ejection_percent)

    def _look(self) -> None:
        returns = [each.until for each in self._by_endpoint.values() if each.until]
        self._count = len(returns)
        self.next_return = min(returns, default=inf)


def ejectable(count: int, percent: int) -> int:
    """How many of so many endpoints may be ejected at the same time."""
    return min(max(1, count * percent // 100), count - 1) if percent and count else 0


def lowest_rate(rates: Mapping[Outlier, float]) -> float:
    """Whose rate is below it is an outlier."""
    mean = fsum(rates.values()) / len(rates)
    deviation = sqrt(fsum((rate - mean) ** 2 for rate in rates.values()) / len(rates))
    return mean - DEVIATIONS * deviation
