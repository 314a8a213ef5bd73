"""A server that would lose events is refused, with the command that mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

import journal_tools as tools
from headwater.errors import UnsafeRedis
from headwater.journal.redis_server import _faults_of, answers, assert_safe, settings_faults

short_folder = tools.short_folder
valkey = tools.valkey


def test_the_embedded_server_is_safe(valkey: tools.Server) -> None:
    assert settings_faults(valkey.url) == []
    assert assert_safe(valkey.url, allow_unsafe=False) == []
    with valkey.client() as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(
            valkey.config.redis_maxmemory_bytes
        )
        assert client.config_get("port")["port"] == "0"
    assert valkey.config.redis_socket.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendfsync", "everysec"),
        ("appendonly", "no"),
        ("maxmemory-policy", "allkeys-lru"),
        ("no-appendfsync-on-rewrite", "yes"),
    ],
)
def test_a_setting_that_loses_events_is_refused(
    valkey: tools.Server, name: str, value: str
) -> None:
    with valkey.client() as client:
        client.config_set(name, value)
        [(fault, mending)] = settings_faults(valkey.url)
        assert name in fault
        with pytest.raises(UnsafeRedis, match=f"CONFIG SET {name} "):
            assert_safe(valkey.url, allow_unsafe=False)
        assert len(assert_safe(valkey.url, allow_unsafe=True)) == 1
        client.execute_command(*mending.split())
    assert settings_faults(valkey.url) == []


def test_a_server_that_is_not_there(short_folder: Path) -> None:
    url = f"unix://{short_folder}/none"
    assert not answers(url)
    [(fault, _)] = settings_faults(url)
    assert "does not answer" in fault


def test_settings_that_may_not_be_read(valkey: tools.Server) -> None:
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-config|get")
        [(fault, mending)] = settings_faults(valkey.url)
        assert "cannot be read" in fault
        assert "ACL" in mending
        client.execute_command("ACL", "SETUSER", "default", "+config|get")


def test_old_versions_replicas_and_clusters() -> None:
    settings = {
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "maxmemory-policy": "noeviction",
    }
    assert _faults_of({"redis_version": "6.2.0"}, settings) == []
    assert _faults_of({"redis_version": "10.0.1"}, settings) == []
    assert len(_faults_of({"redis_version": "6.0.16"}, settings)) == 1
    assert len(_faults_of({"redis_version": "7.2", "role": "slave"}, settings)) == 1
    assert len(_faults_of({"redis_version": "7.2"}, {**settings, "cluster-enabled": "yes"})) == 1
    assert len(_faults_of({}, {})) == 5
