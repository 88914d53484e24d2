"""Trained weights of other projects, brought into our network: every tensor used or accounted for.

`foreign_file` (bytes to tensors, running no code), `families` (whose names are they), `convert`
(their tensors into our network), `describe` (the card).
"""
