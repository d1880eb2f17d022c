"""Reaching language models: one endpoint is a pipeline of small decisions over one wire protocol.

Nothing is imported here, so that a caller who needs only ``providers.messages`` does not pay for HTTP.
"""
