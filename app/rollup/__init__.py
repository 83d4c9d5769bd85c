"""What one app did in one interval, how two of them merge, and their stable byte format.

Modules named `_*.pyx` are optional accelerators; the Python defines the behaviour.
"""
