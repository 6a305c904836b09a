"""What manifests for ingress-nginx become here: `ingressd migrate`. Pure: no I/O, no clock, no network.

report.py what is said of each Ingress · differences.py where the two proxies answer differently · nginx_syntax.py
nginx's configuration as directives · snippets.py annotations in place of them · directives.py one directive ·
header_directives.py those about header fields · blocks.py `if` and `location` · proposals.py what is proposed ·
config_map.py the controller's ConfigMap · pages.py the report for people.
"""
