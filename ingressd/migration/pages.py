"""The report for people: plain text, or Markdown.

In: a Report. Out: lines. They say the same; Markdown has headings, tables and blocks to copy from.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from ingressd.migration.config_map import Entry, Means
from ingressd.migration.differences import Difference, Example
from ingressd.migration.proposals import Proposal, yaml_lines
from ingressd.migration.proposals import Verdict as Became
from ingressd.migration.report import Controllers, Missing, Moved, Report, Verdict

WORDS = {
    Verdict.SAME: "works the same",
    Verdict.DIFFERS: "works with a difference",
    Verdict.UNSUPPORTED: "not supported as it is",
}


def text(report: Report) -> Iterator[str]:
    """Plain lines."""
    for each in report.ingresses:
        yield from _ingress(each)
        yield ""
    for controllers in report.config_maps:
        yield from _controllers(controllers)
        yield ""
    if report.unread or report.not_objects:
        yield "Not read"
        yield from (f"  {line}" for line in _unread(report))
        yield ""
    if report.passed_over:
        yield f"Of other controllers, and left alone: {', '.join(report.passed_over)}"
        yield ""
    if report.ingresses:
        yield "Different whatever an Ingress says"
        for difference in report.everywhere:
            yield from _difference(difference)
        yield ""
    yield summary(report)


def summary(report: Report) -> str:
    """`2 Ingresses work the same, ...`."""
    parts = [f"{report.count(verdict)} {WORDS[verdict].replace('works', 'work', 1)}" for verdict in Verdict]
    unread = f", {len(report.unread)} cannot be read" if report.unread else ""
    return f"{len(report.ingresses) + len(report.unread)} Ingresses: {', '.join(parts)}{unread}"


def _unread(report: Report) -> Iterator[str]:
    yield from (line for each in report.unread for line in each.faults)
    yield from report.not_objects


def _ingress(moved: Moved) -> Iterator[str]:
    name = moved.ingress_class or "none"
    yield f"{moved.file}:{moved.line}: Ingress {moved.ingress} (class {name}; {', '.join(moved.hosts)})"
    yield f"  {WORDS[moved.verdict]}"
    yield from (f"  same     {key}" for key in moved.same)
    for difference in moved.differences:
        yield from _difference(difference)
    for missing in moved.unsupported:
        yield from _missing(missing)
    for where, proposed in moved.paste.items():
        yield f"  paste    {_on(where)}:"
        yield from (f"             {line}" for line in yaml_lines(proposed))
    yield from (f"  needs    {line}" for line in moved.needs)
    yield from (f"  note     {line}" for line in moved.remarks)


def _difference(difference: Difference) -> Iterator[str]:
    yield f"  differs  {difference.subject}: {difference.what}"
    example = difference.example
    if example is not None:
        yield f"             {example.method} {example.url}"
        yield f"             ingress-nginx: {example.nginx}"
        yield f"             ingressd:      {example.ingressd}"
    if difference.instead:
        yield f"             as it was: {difference.instead}"


def _missing(missing: Missing) -> Iterator[str]:
    yield f"  missing  {missing.subject}: {missing.why}"
    if missing.instead:
        yield f"             instead: {missing.instead}"
    yield from (f"             {_said(proposal)}" for proposal in missing.proposals)
    yield from (f"             nginx would refuse it: {problem}" for problem in missing.problems)


def _said(proposal: Proposal) -> str:
    remark = f" ({proposal.remark})" if proposal.remark else ""
    match proposal.verdict:
        case Became.REPLACED | Became.APART:
            where = f", on {proposal.where}" if proposal.where else ""
            became = f"{', '.join(name for name, _ in proposal.annotations)}{where}{remark}"
        case Became.ALREADY:
            became = f"nothing to do: {proposal.remark}"
        case _:
            became = f"no counterpart: {proposal.remark}"
    return f"line {proposal.line}: {proposal.directive} -> {became}"


def _controllers(controllers: Controllers) -> Iterator[str]:
    yield f"{controllers.file}:{controllers.line}: ConfigMap {controllers.config_map}"
    for entry in controllers.entries:
        yield f"  {entry.key}: {_means(entry)}"
        yield from (f"             {_said(proposal)}" for proposal in entry.proposals)
    if controllers.flags:
        yield f"  {_command(controllers)}"


def _command(controllers: Controllers) -> str:
    """To paste into a shell, whatever the ConfigMap has."""
    return shlex.join(("ingressd", "run", "DIR", *controllers.flags))


def _means(entry: Entry) -> str:
    match entry.means:
        case Means.FLAG | Means.ANNOTATION:
            return f"{entry.to}{f' ({entry.remark})' if entry.remark else ''}"
        case Means.ALREADY:
            return f"nothing to do: {entry.remark}"
        case Means.UNKNOWN:
            return "not known here"
        case _:
            return f"no counterpart: {'; '.join(each for each in (entry.to, entry.remark) if each)}"


def markdown(report: Report) -> Iterator[str]:
    """The same for a pull request or a wiki."""
    yield "# From ingress-nginx to ingressd"
    yield ""
    yield f"{summary(report)}."
    yield ""
    yield "| Ingress | | place |"
    yield "|---|---|---|"
    for each in report.ingresses:
        yield f"| {_code(each.ingress)} | {WORDS[each.verdict]} | {_cell(each.file)}:{each.line} |"
    for each in report.ingresses:
        yield from _ingress_section(each)
    for controllers in report.config_maps:
        yield from _controllers_section(controllers)
    if report.unread or report.not_objects:
        yield from ("", "## Not read", "")
        yield from (f"- {_cell(line)}" for line in _unread(report))
    if report.passed_over:
        yield from ("", "## Of other controllers, and left alone", "")
        yield from (f"- {_code(name)}" for name in report.passed_over)
    if report.ingresses:
        yield from ("", "## Different whatever an Ingress says", "")
        for difference in report.everywhere:
            yield from _difference_items(difference)


def _ingress_section(moved: Moved) -> Iterator[str]:
    yield from (
        "",
        f"## {moved.ingress}",
        "",
        f"{WORDS[moved.verdict].capitalize()}. Hosts: {', '.join(map(_code, moved.hosts))}.",
    )
    if moved.same:
        yield from ("", f"The same: {', '.join(map(_code, moved.same))}.")
    if moved.differences:
        yield ""
        for difference in moved.differences:
            yield from _difference_items(difference)
    for missing in moved.unsupported:
        yield from ("", f"**{_cell(missing.subject)}** {_cell(missing.why)}. {_sentence(missing.instead)}".rstrip())
        if missing.proposals:
            yield from ("", "| line | directive | becomes |", "|---|---|---|")
        for proposal in missing.proposals:
            _, _, became = _said(proposal).partition(f"line {proposal.line}: {proposal.directive} -> ")
            yield f"| {proposal.line} | {_code(proposal.directive)} | {_cell(became)} |"
        yield from (f"\nnginx would refuse it: {_cell(problem)}" for problem in missing.problems)
    yield from _paste_blocks(moved.paste)
    for title, lines in (("To bring along", moved.needs), ("Notes", moved.remarks)):
        if lines:
            yield from ("", f"{title}:", "")
            yield from (f"- {_cell(line)}" for line in lines)


def _paste_blocks(paste: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for where, proposed in paste.items():
        yield from ("", f"Paste {_cell(_on(where))}:", "", "```yaml", *yaml_lines(proposed), "```")


def _difference_items(difference: Difference) -> Iterator[str]:
    instead = f" As it was: {_cell(difference.instead)}." if difference.instead else ""
    yield f"- **{_cell(difference.subject)}**: {_cell(difference.what)}{instead}"
    if difference.example is not None:
        yield from _example_items(difference.example)


def _example_items(example: Example) -> Iterator[str]:
    yield f"  - {_code(f'{example.method} {example.url}')}"
    yield f"  - ingress-nginx: {_cell(example.nginx)}"
    yield f"  - ingressd: {_cell(example.ingressd)}"


def _controllers_section(controllers: Controllers) -> Iterator[str]:
    yield from ("", f"## ConfigMap {controllers.config_map}", "", "| key | here |", "|---|---|")
    for entry in controllers.entries:
        yield f"| {_code(entry.key)} | {_cell(_means(entry))} |"
    lines = [_said(proposal) for entry in controllers.entries for proposal in entry.proposals]
    if lines:
        yield ""
        yield from (f"- {_cell(line)}" for line in lines)
    if controllers.flags:
        yield from ("", "```text", _command(controllers), "```")


def _on(where: str) -> str:
    return f"on {where}" if where else "on this Ingress"


def _sentence(written: str) -> str:
    text = _cell(written).removesuffix(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _cell(written: str) -> str:
    return " ".join(written.replace("|", "\\|").split())


def _code(written: str) -> str:
    return f"`{_cell(written).replace('`', chr(39))}`"
