"""Alembic's entry: works on the connection (and in the transaction) that HistoryStore.migrate hands over."""

from alembic import context

from include.history.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
