"""What is particular to Envoy itself, whoever runs it: how it is kept within bounds, and what it says of its state.

It knows nothing of Kubernetes, of Gateway API or of the embedded pool.
"""
