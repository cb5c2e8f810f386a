"""The process in the way of calls under an agreement: takes out fields that are not agreed on, and keeps evidence.

Envoy asks it about every call (`ext_proc`, gRPC on loopback) and lets none pass that it does not answer. What it refuses: to
let an answer through that it cannot read while fields are to be taken out, and any call whose evidence cannot be written.
"""
