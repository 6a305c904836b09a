"""The processes: who starts, who compiles, who serves, and what they say to each other.

supervisor.py (PID 1) with crew.py, child.py, channel.py, listeners.py, privilege.py and pid_file.py, and for upgrades
successor.py and handover.py: standard library only. controller.py, the control plane, with reload.py (an edit's life),
history.py, fleet.py (its workers), ports.py with port_holders.py (who has a port that a Service wants), health.py
with probe.py (health checks), fallback.py with state_folder.py (a start without manifests) and view.py with
service_report.py (what the admin API sees).
worker.py, the data plane. link.py and transfer.py carry snapshots between the two; control.py is a child's end of
the supervisor's channel.
"""
