"""The motion networks, in torch: partial dilated convolutions, the initialiser and the neural descent.

Only training and export import this package; a capture runs the exported graph through an engine
(:mod:`hmcap.models.streaming`).
"""
