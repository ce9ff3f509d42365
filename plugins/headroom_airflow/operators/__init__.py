"""Operators for what the amazon provider has none for, in its manner: thin, templated, deferrable, with links."""
