"""Creates the tables of runs and of their probes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("service", sa.String(40), primary_key=True),
        sa.Column("run_id", sa.String(250), primary_key=True),
        sa.Column("mode", sa.String(20), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tps", sa.Double()),
        sa.Column("low_tps", sa.Double()),
        sa.Column("high_tps", sa.Double()),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("bound", sa.String(20), nullable=False),
        sa.Column("validity", sa.String(20), nullable=False),
        sa.Column("verdict", sa.String(20)),
        sa.Column("change_ratio", sa.Double()),
        sa.Column("restored", sa.Boolean(), nullable=False),
        sa.Column("cost", sa.Double()),
        sa.Column("currency", sa.String(3)),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("decided_by", sa.String(200)),
        sa.Column("decided_because", sa.Text()),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
    )
    op.create_index("runs_by_end", "runs", ["service", "ended_at"])
    op.create_table(
        "probes",
        sa.Column("service", sa.String(40), primary_key=True),
        sa.Column("run_id", sa.String(250), primary_key=True),
        sa.Column("stage", sa.String(60), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("measured_s", sa.Integer(), nullable=False),
        sa.Column("commanded_tps", sa.Double(), nullable=False),
        sa.Column("offered_tps", sa.Double(), nullable=False),
        sa.Column("achieved_tps", sa.Double(), nullable=False),
        sa.Column("p50_ms", sa.Double()),
        sa.Column("p90_ms", sa.Double()),
        sa.Column("p95_ms", sa.Double()),
        sa.Column("p99_ms", sa.Double()),
        sa.Column("max_ms", sa.Double()),
        sa.Column("error_ratio", sa.Double(), nullable=False),
        sa.Column("lag_p99_ms", sa.Double()),
        sa.Column("validity", sa.String(20), nullable=False),
        sa.Column("sustainable", sa.Boolean()),
        sa.Column("stop", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["service", "run_id"], ["runs.service", "runs.run_id"], ondelete="CASCADE"),
    )


def downgrade() -> None:
    op.drop_table("probes")
    op.drop_index("runs_by_end", table_name="runs")
    op.drop_table("runs")
