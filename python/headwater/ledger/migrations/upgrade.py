"""Running the missing revisions on an open connection, all of them or none."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from headwater.errors import SchemaMismatch
from headwater.ledger.columns import metadata

log = logging.getLogger(__name__)

# Alembic keeps the running migration in module globals.
_running = threading.Lock()


def upgrade(connection: sa.Connection, current: str | None) -> None:
    """Bring the schema from `current` to the newest revision.

    Raises SchemaMismatch when `current` is none of the revisions known here.
    """
    # Its messages are of interest to who writes revisions.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    # A percent sign would be taken for an interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    if current == head:
        return
    if current is not None and current not in {each.revision for each in scripts.walk_revisions()}:
        raise SchemaMismatch(
            "the ledger was written by a newer version of Headwater; upgrade this one"
        )
    log.info("ledger_migrating", extra={"fields": {"from": current, "to": head}})

    def steps(revision: Any, _context: MigrationContext) -> Any:
        return scripts._upgrade_revs("head", revision)

    with _running, EnvironmentContext(config, scripts, fn=steps) as environment:
        environment.configure(
            connection=connection, target_metadata=metadata, transactional_ddl=True
        )
        environment.run_migrations()
