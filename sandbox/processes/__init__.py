"""How the sandbox starts processes and makes sure that none outlives it."""
