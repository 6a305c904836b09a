"""What one version leaves to the next, and what an earlier version did not know yet."""

from __future__ import annotations

import json
import os
from dataclasses import replace

from ingressd.process.crew import Crew
from ingressd.process.handover import adopt_crew, descriptors, hand_over, memory_file, read
from ingressd.process.listeners import open_listeners
from ingressd.settings import OFF, Settings

SETTINGS = Settings(http_port=OFF, https_port=OFF, admin_port=0, dns_port=0, workers=1)


def test_the_sockets_of_the_dns_server_are_handed_over() -> None:
    listeners = open_listeners(SETTINGS, {})
    crew = Crew(SETTINGS, listeners)
    ports = crew.settings.admin_port, crew.settings.dns_port
    raw = read(hand_over(crew))
    assert raw["dns"] == [sock.fileno() for sock in listeners.dns]
    assert {*raw["admin"], *raw["dns"]} == set(descriptors(crew))
    for sock in (*listeners.dns, *([listeners.admin] if listeners.admin else [])):
        sock.detach()
    adopted = adopt_crew(raw)
    assert (adopted.settings.admin_port, adopted.settings.dns_port) == ports
    assert [sock.type for sock in adopted.listeners.dns] == [sock.type for sock in listeners.dns]
    adopted.listeners.close()
    for each in (crew, adopted):
        each.limits.close()


def test_a_version_without_a_dns_server_leaves_none() -> None:
    crew = Crew(replace(SETTINGS, admin_port=OFF, dns_port=OFF), open_listeners(replace(SETTINGS, dns_port=OFF), {}))
    number = hand_over(crew)
    with open(number, encoding="utf-8") as file:
        raw = json.load(file)
    del raw["dns"]
    older = memory_file("older")
    os.write(older, json.dumps(raw).encode())
    os.lseek(older, 0, os.SEEK_SET)
    assert read(older)["dns"] == []
    crew.listeners.close()
    crew.limits.close()
