"""What the program tells about itself. Called by anyone above, calls nobody.

entry.py one finished request as the log and the counters see it · access_log.py gathers its line · line.py the line ·
log_writer.py the thread that writes lines · stats.py a worker's counters · stream_line.py, stream_stats.py the same
at layer 4 · pool_sums.py what workers say of pools and endpoints, added up · metrics.py all workers' counters as
Prometheus text · program_log.py what the processes say (standard library only) · sparing.py lines that come in crowds.
"""
