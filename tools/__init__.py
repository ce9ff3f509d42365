"""Programs for the people who work on Headroom: set-up, checks and the local demonstration. No DAG imports them."""
