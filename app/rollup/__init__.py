"""The summary of one app over one interval, its merge, and its stable byte format.

Modules named `_*.pyx` are optional accelerators; the Python modules define the results.
"""
