"""The tables, as SQLAlchemy Core: portable SQL only, so that SQLite and Postgres behave alike.

`position` columns order rows that were made within one second. JSON is stored as text, because the
two databases disagree on JSON types and nothing here queries inside it.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={  # a migration can only change what has a name
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_Position = BigInteger().with_variant(Integer, "sqlite")


def _position() -> Column[int]:
    return Column("position", _Position, primary_key=True, autoincrement=True)


organizations = Table(
    "organizations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("slug", String(64), nullable=False, unique=True),
)

projects = Table(
    "projects",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("name", String(200), nullable=False),
    UniqueConstraint("organization_id", "name"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("hint", String(32), nullable=False),
    Column("name", String(200), nullable=False),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("is_admin", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

files = Table(
    "files",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("filename", Text, nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("status", String(32), nullable=False),
    Column("status_details", Text),
    Index("files_by_project", "project_id", "position"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("filename", Text, nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("mime_type", String(255), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("status", String(32), nullable=False),
    Column("file_id", String(64)),
    Column("file_expires_after", Integer),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("upload_id", ForeignKey("uploads.id"), nullable=False, index=True),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("status", String(32), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("spec", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("error", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("seconds_used", Float, nullable=False, server_default="0"),
    Column("lease_token", String(64)),
    Column("lease_owner", String(200), index=True),
    Column("lease_expires_at", Float),
    Column("pause_requested", Integer, nullable=False),
    Column("devices", Integer, nullable=False, server_default="0"),
    Column("device_memory", Integer),
    Column("devices_held", Text),
    Column("passed_over", Integer, nullable=False, server_default="0"),
    Index("jobs_by_project", "project_id", "kind", "position"),
    Index("jobs_by_status", "status", "priority", "position"),
)

job_metadata = Table(
    "job_metadata",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("value", String(512), nullable=False),
    Index("job_metadata_by_value", "key", "value"),
)

events = Table(
    "events",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("key", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("level", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("type", String(32), nullable=False),
    Column("data", Text),
    UniqueConstraint("job_id", "key"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("step", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("model", String(300), nullable=False),
    Column("folder", Text, nullable=False),
    Column("state_folder", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("servable", Integer, nullable=False),
    UniqueConstraint("job_id", "step"),
)

models = Table(
    "models",
    metadata,
    _position(),
    Column("id", String(300), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False, index=True),
    Column("base", String(200), nullable=False),
    Column("engine", String(64), nullable=False),
    Column("folder", Text, nullable=False),
    Column("job_id", ForeignKey("jobs.id"), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("shutdown_date", String(10)),
    Column("is_checkpoint", Integer, nullable=False),
)

permissions = Table(
    "permissions",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("model", String(300), nullable=False, index=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("model", "project_id"),
)

creations = Table(
    "creations",
    metadata,
    _position(),
    Column("project_id", String(64), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("idempotency_key", String(255)),
    Column("object_id", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Index("creations_by_fingerprint", "project_id", "fingerprint", "created_at"),
    UniqueConstraint("project_id", "idempotency_key"),
)

evals = Table(
    "evals",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("criteria", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", Float, nullable=False),
    Index("evals_by_project", "project_id", "position"),
    Index("evals_by_update", "project_id", "updated_at", "position"),
)

eval_runs = Table(
    "eval_runs",
    metadata,
    _position(),
    Column("id", ForeignKey("jobs.id"), nullable=False, unique=True),
    Column("eval_id", ForeignKey("evals.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("model", String(300), nullable=False),
    Column("data_source", Text, nullable=False),
    Column("report_key", String(64), nullable=False),
    Column("passed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("errored", Integer, nullable=False),
    Column("tallies", Text, nullable=False),
    Index("eval_runs_by_eval", "eval_id", "position"),
)

eval_output_items = Table(
    "eval_output_items",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("run_id", ForeignKey("jobs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("status", String(8), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    UniqueConstraint("run_id", "number"),
    Index("output_items_by_run", "run_id", "position"),
    Index("output_items_by_status", "run_id", "status", "position"),
)

batches = Table(
    "batches",
    metadata,
    _position(),
    Column("id", ForeignKey("jobs.id"), nullable=False, unique=True),
    Column("endpoint", String(64), nullable=False),
    Column("model", String(300)),
    Column("input_file_id", Text, nullable=False),
    Column("completion_window", String(16), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("output_seconds", Integer),
    Column("in_progress_at", BigInteger),
    Column("finalizing_at", BigInteger),
    Column("expired_at", BigInteger),
    Column("cancelling_at", BigInteger),
    Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("usage", Text, nullable=False),
    Column("errors", Text, nullable=False),
    Column("output_file_id", String(64)),
    Column("error_file_id", String(64)),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", String(100), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    _position(),
    Column("id", String(64), nullable=False),
    Column("endpoint_id", ForeignKey("webhook_endpoints.id"), nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Float),
    Column("delivered_at", BigInteger),
    Index("deliveries_due", "next_attempt_at"),
)

completions = Table(
    "completions",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("model", String(300), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("temperature", Float),
    Column("top_p", Float),
    Column("user", Text),
    Column("messages", Text, nullable=False),
    Column("choices", Text, nullable=False),
    Column("usage", Text, nullable=False),
    Column("options", Text, nullable=False),
    Index("completions_by_project", "project_id", "kind", "position"),
    Index("completions_by_age", "created_at"),
)

completion_metadata = Table(
    "completion_metadata",
    metadata,
    Column("completion_id", ForeignKey("completions.id"), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("value", String(512), nullable=False),
    Index("completion_metadata_by_value", "key", "value"),
)
