"""Opening a ledger: the connection's settings, transactions, the schema's version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from headwater import limits
from headwater.errors import LedgerError, SchemaMismatch
from headwater.ledger.columns import metadata
from headwater.ledger.schema import SCHEMA_VERSION

# Alembic's own table, read here without it.
_VERSIONS = sa.table("alembic_version", sa.column("version_num", sa.String))
_WRITE = "headwater_write"


class Ledger:
    """One database, shared by all threads of a process. Make it with `open_ledger`."""

    def __init__(self, engine: sa.Engine) -> None:
        self._reader = engine
        self._writer = engine.execution_options(**{_WRITE: True})
        self._inserts: dict[tuple[str, bool], str] = {}
        self._texts: dict[Callable[[sa.Dialect], str], str] = {}

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection that sees one moment of the ledger.

        Raises LedgerError when the database does.
        """
        with _as_ledger_error(), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that holds the writer's lock from its first statement.

        Commits on leaving, rolls back on any exception. Raises LedgerError when the database
        does; after one from the commit itself the outcome is unknown, and has to be read again.
        """
        with _as_ledger_error(), self._writer.connect() as connection, connection.begin():
            yield connection

    def insert_sql(self, table: sa.Table, *, or_ignore: bool = False) -> str:
        """The driver's text of a plain INSERT of all columns of `table`, in their order; with
        `or_ignore` a row whose key is there already is passed over.

        For `exec_driver_sql` with a list of tuples: it goes round the compiler and the
        parameter processors, which cost more than the insert itself.
        """
        text = self._inserts.get((table.name, or_ignore))
        if text is None:
            text = str(sa.insert(table).compile(dialect=self._reader.dialect))
            if or_ignore:
                # SQLite and PostgreSQL spell it alike.
                text += " ON CONFLICT DO NOTHING"
            self._inserts[table.name, or_ignore] = text
        return text

    def execute_many(
        self, connection: sa.Connection, sql: str, rows: Iterable[tuple[Any, ...]]
    ) -> int:
        """Run the driver's text once for each row; how many rows of the table it changed.

        Rows are taken one at a time, so that many need never be there together. Raises LedgerError
        when the database does.
        """
        # The types of drivers know nothing of rows that are made as they are taken.
        cursor: Any = connection.connection.cursor()
        try:
            cursor.executemany(sql, rows)
            return int(cursor.rowcount)
        except self._reader.dialect.loaded_dbapi.Error as error:
            raise _ledger_error(error) from None
        finally:
            cursor.close()

    def cached_sql(self, build: Callable[[sa.Dialect], str]) -> str:
        """The driver's text that `build` makes for this database's dialect, made once."""
        text = self._texts.get(build)
        if text is None:
            text = self._texts[build] = build(self._reader.dialect)
        return text

    def close(self) -> None:
        """Close every pooled connection; the last one to close folds the WAL in."""
        self._reader.dispose()


@contextmanager
def _as_ledger_error() -> Iterator[None]:
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise _ledger_error(getattr(error, "orig", None) or error) from None


def _ledger_error(cause: BaseException) -> LedgerError:
    # The statement's parameters stay out: they hold what visitors sent.
    return LedgerError(f"{type(cause).__name__}: {_first_line(cause)}")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def open_ledger(url: str, *, read_only: bool = False) -> Ledger:
    """Open the database at a SQLAlchemy URL and bring its schema up to this version's.

    The folder of an SQLite file is made. With `read_only` nothing is: the database is there in
    this version's schema, and every write is refused. Raises SchemaMismatch when the schema is
    newer, or neither whole nor absent; LedgerError when the database cannot be opened.
    """
    target = sa.make_url(url)
    if target.get_backend_name() != "sqlite":
        raise LedgerError("only SQLite ledgers are supported")
    if target.database and target.database != ":memory:":
        if read_only and not Path(target.database).is_file():
            raise LedgerError(f"there is no ledger at {target.database}")
        Path(target.database).parent.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(_sqlite_engine(target, read_only=read_only))
    try:
        _migrate(ledger, read_only=read_only)
    except BaseException:
        ledger.close()
        raise
    return ledger


def _sqlite_engine(url: sa.URL, *, read_only: bool) -> sa.Engine:
    engine = sa.create_engine(
        url,
        # The driver's own transaction handling would commit before DDL and begin too late.
        connect_args={"isolation_level": None, "timeout": limits.SQLITE_BUSY_MS / 1000},
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in (
            # Rows of events fill an eighth of such a page; has to come before the first table.
            f"page_size = {limits.SQLITE_PAGE_BYTES}",
            # Waiting readers and the writer do not block each other.
            "journal_mode = WAL",
            # The commit is on disk when it is answered: an answered event hangs on it.
            "synchronous = FULL",
            f"busy_timeout = {limits.SQLITE_BUSY_MS}",
            "foreign_keys = ON",
            f"cache_size = -{limits.SQLITE_CACHE_BYTES // limits.KIB}",
            # What was erased is overwritten, not only given up.
            "secure_delete = ON",
            f"wal_autocheckpoint = {limits.SQLITE_CHECKPOINT_PAGES}",
            # A WAL grown by a long read shrinks again at the next checkpoint.
            f"journal_size_limit = {limits.SQLITE_WAL_BYTES_KEPT}",
            f"query_only = {int(read_only)}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        # IMMEDIATE: a reader that turns writer late fails with a stale snapshot.
        writes = connection.get_execution_options().get(_WRITE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _migrate(ledger: Ledger, *, read_only: bool) -> None:
    """Run the missing revisions in one transaction, under the writer's lock."""
    with ledger.read() as connection:
        if current_version(connection) == SCHEMA_VERSION and not missing_parts(connection):
            return
    if read_only:
        raise SchemaMismatch("the ledger's schema is of another version: start the system once")
    # Alembic costs a tenth of a second to import, and is needed once in a ledger's life.
    from headwater.ledger.migrations.upgrade import upgrade

    with ledger.write() as connection:
        upgrade(connection, current_version(connection))
        missing = missing_parts(connection)
        if missing:
            raise SchemaMismatch(f"the ledger lacks {', '.join(missing[:5])}")


def current_version(connection: sa.Connection) -> str | None:
    """The schema's revision; None for an empty database.

    Raises SchemaMismatch when there are tables and no version, or several.
    """
    existing = set(sa.inspect(connection).get_table_names())
    ours = sorted(existing & set(metadata.tables))
    versions: list[str] = []
    if _VERSIONS.name in existing:
        versions = list(connection.scalars(sa.select(_VERSIONS.c.version_num)))
    if len(versions) > 1:
        raise SchemaMismatch("the ledger's schema names several versions")
    if ours and not versions:
        raise SchemaMismatch(f"the ledger has tables and no version: {', '.join(ours[:5])}")
    return versions[0] if versions else None


def missing_parts(connection: sa.Connection) -> list[str]:
    """Tables and columns this version needs and the database lacks."""
    inspector = sa.inspect(connection)
    existing = set(inspector.get_table_names())
    missing: list[str] = []
    for table in metadata.sorted_tables:
        if table.name not in existing:
            missing.append(table.name)
            continue
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        missing.extend(
            f"{table.name}.{column.name}" for column in table.columns if column.name not in columns
        )
    return missing
