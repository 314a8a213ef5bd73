"""The console's API as the commands use it: blocking, one request at a time."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from typing import Any, Self

from headwater.config import Config
from headwater.errors import HeadwaterError

TIMEOUT_S = 15.0


class ConsoleClient:
    """Requests with the data folder's admin key. A refusal raises HeadwaterError with its text."""

    def __init__(self, host: str, port: int, admin_key: str) -> None:
        self._host = host
        self._port = port
        self._key = admin_key

    @classmethod
    def of(cls, settings: Config) -> Self:
        """The console of this configuration. Raises when the admin key is not there yet."""
        path = settings.data / "admin.key"
        try:
            key = path.read_text("ascii").strip()
        except OSError as error:
            raise HeadwaterError(
                f"no admin key at {path}: start the system once with `headwater up`, "
                "or name its folder with --data"
            ) from error
        return cls(settings.console_host, settings.console_port, key)

    def get(self, path: str) -> Any:
        return self._call("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", path, body)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("PUT", path, body)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("PATCH", path, body)

    def delete(self, path: str) -> None:
        self._call("DELETE", path, None)

    def text(self, path: str) -> str:
        return self._raw("GET", path, None).decode("utf-8")

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        return json.loads(self._raw(method, path, body) or b"null")

    def _raw(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self._key}"}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise HeadwaterError(
                f"the console at {self._host}:{self._port} does not answer: {error}"
            ) from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise HeadwaterError(f"{method} {path}: {answer.status} {content[:500]!r}")
        return content

    def program(self, code: str) -> dict[str, Any]:
        """The program with this public code. Raises when there is none."""
        cursor = ""
        while True:
            page = self.get(f"/v1/programs?limit=500{cursor}")
            for program in page["items"]:
                if program["code"] == code:
                    found: dict[str, Any] = program
                    return found
            if not page.get("next_cursor"):
                raise HeadwaterError(f"no program has the code {code!r}")
            cursor = f"&cursor={page['next_cursor']}"


def create_key(
    settings: Config, *, scopes: Sequence[str], brand: str | None, partner: str | None
) -> str:
    """A new key's text, which cannot be read again."""
    body: dict[str, Any] = {"scopes": list(scopes)}
    if brand:
        body["brand_id"] = brand
    if partner:
        body["partner_id"] = partner
    key: str = ConsoleClient.of(settings).post("/v1/keys", body)["key"]
    return key
