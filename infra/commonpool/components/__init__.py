"""What declarations become: Kubernetes objects, rendered by pure functions and registered with Pulumi.

`resource` is the only module here that imports Pulumi.
"""
