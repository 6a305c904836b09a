"""A plug-in: a shop that is closed outside its hours. `ingressd.dev/filters: "office-hours(opens=8, closes=18)"`."""

from datetime import datetime

from ingressd.errors import LocalReply, Reason


class OfficeHours:
    def __init__(self, opens="8", closes="18"):
        self.opens, self.closes = int(opens), int(closes)

    def on_request(self, request):
        if self.opens <= datetime.now().hour < self.closes:
            return None
        return LocalReply(403, Reason.PLUGIN, f"the shop is open from {self.opens} to {self.closes}")

    def on_response(self, request, response):
        response.set_header("X-Opening-Hours", f"{self.opens}-{self.closes}")


FILTERS = {"office-hours": OfficeHours}
