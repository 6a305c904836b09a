"""What the program tells about itself. Called by anyone above, calls nobody.

entry.py one finished request as the log and the counters see it · access_log.py its line · stats.py a worker's counters ·
metrics.py all workers' counters as Prometheus text · program_log.py what the processes say (standard library only).
"""
