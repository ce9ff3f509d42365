"""Hooks for what the amazon provider has none for. Thin: one method is one call to AWS, or one and its pages."""
