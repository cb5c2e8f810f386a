"""The service proxy while it runs: what it says of its backends, and moving a service from one backend to another.

What is decided is decided by pure functions (`cut_over`, `sample`, `histogram`); what was decided stands in the cluster before
anything moves (`store`), so that a process that dies at any point is continued by the next one.
"""
