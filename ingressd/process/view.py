"""ControllerView: what the admin API may see of the controller. Implements admin.view.View.

In: the reloader and the fleet. Out: JSON shapes and Prometheus text; no key ever.
"""
