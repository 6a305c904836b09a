"""The commands of `ingressd`. main.py wires them; each command is one file; the rest is what they share:

console.py (output for people and for pipes), setting_flags.py (every setting as a flag), setting_types.py (what a
value must look like), settings_sources.py (flag > variable > file > default), offline.py (manifests compiled once),
admin_client.py (questions to a running one).
"""
