"""Prepares a user's JMeter plan: its content is kept, its load model replaced, and what cannot be kept refused."""
