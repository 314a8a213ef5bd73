"""The schema: what the migrations make is what the code names; anything else is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from headwater.errors import LedgerError, SchemaMismatch
from headwater.ledger import migrations
from headwater.ledger.columns import metadata
from headwater.ledger.engine import open_ledger
from headwater.ledger.schema import SCHEMA_VERSION


def url_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'some' / 'ledger.sqlite'}"


def statement(folder: Path, *texts: str) -> None:
    """Run SQL on the ledger's file behind its back."""
    engine = sa.create_engine(url_in(folder))
    with engine.begin() as connection:
        for text in texts:
            connection.exec_driver_sql(text)
    engine.dispose()


def test_the_migrations_make_the_schema_the_code_names(tmp_path: Path) -> None:
    ledger = open_ledger(url_in(tmp_path))
    with ledger.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, metadata) == []
        tables = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master").all()
    ledger.close()
    made = sa.create_engine("sqlite://")
    metadata.create_all(made)
    with made.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master")
        named: dict[str, str] = {row[0]: row[1] for row in rows}
    made.dispose()
    for name, sql in tables:
        if name != "alembic_version" and sql is not None:
            # Alembic orders constraints in its own way.
            assert sorted(re.findall(r"\w+", sql)) == sorted(re.findall(r"\w+", named[name]))


def test_the_version_is_that_of_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__path__[0])))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_VERSION


def test_opening_twice_changes_nothing(tmp_path: Path) -> None:
    open_ledger(url_in(tmp_path)).close()
    before = (tmp_path / "some" / "ledger.sqlite").read_bytes()
    open_ledger(url_in(tmp_path)).close()
    assert (tmp_path / "some" / "ledger.sqlite").read_bytes() == before


@pytest.mark.parametrize(
    "texts",
    [
        ["UPDATE alembic_version SET version_num = '9999'"],
        ["DROP TABLE alembic_version"],
        ["DELETE FROM alembic_version"],
        ["INSERT INTO alembic_version VALUES ('0002')"],
        ["DROP TABLE others"],
        ["ALTER TABLE clicks DROP COLUMN verdict"],
    ],
    ids=["newer", "no-version-table", "no-version", "two-versions", "table-gone", "column-gone"],
)
def test_another_schema_is_refused(tmp_path: Path, texts: list[str]) -> None:
    open_ledger(url_in(tmp_path)).close()
    statement(tmp_path, *texts)
    with pytest.raises(SchemaMismatch):
        open_ledger(url_in(tmp_path))


def test_a_migration_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    made = []

    def create_table(name: str, *arguments: Any, **options: Any) -> Any:
        made.append(name)
        if len(made) == 5:
            raise sa.exc.OperationalError("", {}, RuntimeError("the disk is full"))
        return original(name, *arguments, **options)

    original = op.create_table
    monkeypatch.setattr(op, "create_table", create_table)
    with pytest.raises(LedgerError):
        open_ledger(url_in(tmp_path))
    monkeypatch.undo()
    engine = sa.create_engine(url_in(tmp_path))
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()
    open_ledger(url_in(tmp_path)).close()


def test_connections_have_the_settings_that_make_a_commit_last(tmp_path: Path) -> None:
    ledger = open_ledger(url_in(tmp_path))
    for block in (ledger.read, ledger.write):
        with block() as connection:
            settings = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "page_size")
            }
        assert settings == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "page_size": 8192,
        }
    ledger.close()


def test_a_database_of_another_kind_is_refused() -> None:
    with pytest.raises(LedgerError):
        open_ledger("postgresql://nowhere/ledger")


def test_an_error_does_not_repeat_what_was_being_written(tmp_path: Path) -> None:
    ledger = open_ledger(url_in(tmp_path))
    with pytest.raises(LedgerError) as caught, ledger.write() as connection:
        connection.exec_driver_sql("INSERT INTO nothing VALUES (?)", ("secret",))
    assert "secret" not in str(caught.value)
    ledger.close()


def test_a_second_writer_waits_and_a_reader_does_not(tmp_path: Path) -> None:
    ledger = open_ledger(url_in(tmp_path))
    with ledger.write() as writer:
        writer.exec_driver_sql("UPDATE counters SET value = 7")
        with ledger.read() as reader:
            assert reader.exec_driver_sql("SELECT value FROM counters").scalar() == 0
    with ledger.read() as reader:
        assert reader.exec_driver_sql("SELECT value FROM counters").scalar() == 7
    ledger.close()
