"""A running Home Assistant, headless: its folder, its process and its web interface's questions and answers.

Nobody clicks: a user with a long-lived token is written into its storage before it
starts, so that it asks for no onboarding; MQTT is set up by its own configuration flow.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from home_assistant.installation import Installation

T = TypeVar("T")

HOST = "127.0.0.1"
_START_S = 600.0  # it installs what its own parts need, at its first start
_STOP_S = 120.0
_ASK_S = 60.0
_NOT_FOUND = 404


class NotSeenError(Exception):
    """Something did not come about in time."""


def wait_for(look: Callable[[], T | None], what: str, timeout_s: float = 60.0) -> T:
    """Call `look` until it answers something true, and return that."""
    deadline_mono_s = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline_mono_s:
            raise NotSeenError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.2)


def token(refresh_id: str, jwt_key: str, now_s: int, lasts_s: int = 86400) -> str:
    """Return an access token, as Home Assistant makes them: a JSON Web Token with HMAC-SHA256 (RFC 7519)."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    def packed(value: dict[str, Any]) -> str:
        return part(json.dumps(value, separators=(",", ":")).encode())

    claims = {"iss": refresh_id, "iat": now_s, "exp": now_s + lasts_s}
    signed = packed({"alg": "HS256", "typ": "JWT"}) + "." + packed(claims)
    return signed + "." + part(hmac.new(jwt_key.encode(), signed.encode(), hashlib.sha256).digest())


def auth_storage(user: str, refresh_id: str, jwt_key: str) -> dict[str, Any]:
    """Return the content of `.storage/auth`: one owner, and the token it comes with."""
    return {
        "version": 1,
        "minor_version": 1,
        "key": "auth",
        "data": {
            "users": [
                {
                    "id": user,
                    "group_ids": ["system-admin"],
                    "is_owner": True,
                    "is_active": True,
                    "name": "try",
                    "system_generated": False,
                    "local_only": False,
                }
            ],
            "groups": [
                {"id": "system-admin", "name": "Administrators"},
                {"id": "system-users", "name": "Users"},
                {"id": "system-read-only", "name": "Read Only"},
            ],
            "credentials": [],
            "refresh_tokens": [
                {
                    "id": refresh_id,
                    "user_id": user,
                    "client_id": None,
                    "client_name": "try",
                    "client_icon": None,
                    "token_type": "long_lived_access_token",
                    "created_at": "2026-01-01T00:00:00+00:00",
                    "access_token_expiration": 315360000.0,
                    "token": secrets.token_hex(64),
                    "jwt_key": jwt_key,
                    "last_used_at": None,
                    "last_used_ip": None,
                    "expire_at": None,
                    "credential_id": None,
                    "version": None,
                }
            ],
        },
    }


def onboarding_storage() -> dict[str, Any]:
    """Return the content of `.storage/onboarding`: everything is done."""
    done = ["user", "core_config", "analytics", "integration"]
    return {"version": 4, "minor_version": 1, "key": "onboarding", "data": {"done": done}}


def configuration(port: int, unrecorded: str) -> str:
    """Return `configuration.yaml`: on loopback only, with what the checks look at.

    Args:
        port: of its web interface.
        unrecorded: a glob of entities of which the recorder is to keep nothing.
    """
    return f"""homeassistant:
  name: try
  time_zone: UTC
http:
  server_host: {HOST}
  server_port: {port}
api:
config:
recorder:
  exclude:
    entity_globs: ["{unrecorded}"]
history:
automation: !include automations.yaml
logger:
  default: warning
  logs:
    homeassistant.components.mqtt: info
"""


def filled_in(form: list[dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
    """Return what to answer to a form: what is given, and "no" to what it insists on knowing besides.

    Newer versions have a section in the form, with questions of its own.
    """
    answers: dict[str, Any] = {}
    for field in form:
        name = field["name"]
        if field.get("type") == "expandable":
            answers[name] = filled_in(field["schema"], given)
        elif name in given:
            answers[name] = given[name]
        elif field.get("required") and "default" not in field:
            answers[name] = False if "boolean" in field.get("selector", {}) else "off"
    return answers


class Household(NamedTuple):
    """What somebody has set up in it."""

    blueprints: Path
    """A folder with blueprints."""
    automations: list[dict[str, Any]]
    """The content of `automations.yaml`."""
    unrecorded: str
    """A glob of entities of which the recorder is to keep nothing."""


class HomeAssistant:
    """One Home Assistant on loopback.

    Args:
        installation: which.
        folder: its configuration folder; made anew. Must be inside the installation's root.
        port: of its web interface.
        household: what is set up in it.
    """

    def __init__(self, installation: Installation, folder: Path, port: int, household: Household) -> None:
        self.folder = folder
        self._installation = installation
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        user, refresh_id, jwt_key = secrets.token_hex(16), secrets.token_hex(16), secrets.token_hex(64)
        self._token = token(refresh_id, jwt_key, int(time.time()))
        shutil.rmtree(folder, ignore_errors=True)
        (folder / ".storage").mkdir(parents=True)
        for name, content in (
            ("auth", auth_storage(user, refresh_id, jwt_key)),
            ("onboarding", onboarding_storage()),
        ):
            (folder / ".storage" / name).write_text(json.dumps(content), encoding="utf-8")
        (folder / "configuration.yaml").write_text(
            configuration(port, household.unrecorded), encoding="utf-8"
        )
        # JSON is YAML.
        (folder / "automations.yaml").write_text(json.dumps(household.automations), encoding="utf-8")
        shutil.copytree(household.blueprints, folder / "blueprints/automation/fadeout")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it has started."""
        with (self.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._installation.command(
                    "python", "-m", "homeassistant", "-c", self._installation.inside(self.folder)
                ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_for(self._is_running, f"Home Assistant answers; see {self.folder}/output.log", _START_S)

    def stop(self) -> None:
        """Stop it; stopping twice is harmless."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _is_running(self) -> bool:
        assert self._process is not None  # noqa: S101 - it was just started
        if self._process.poll() is not None:
            raise NotSeenError(f"Home Assistant ended by itself; see {self.folder}/output.log")
        try:
            return bool(self.ask("/api/config")["state"] == "RUNNING")
        except (urllib.error.URLError, ConnectionError, TimeoutError, TypeError, NotSeenError):
            return False

    def ask(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever it answers
        """GET a path of the web interface, or POST to it; return JSON or text; None: not there."""
        request = urllib.request.Request(
            f"http://{HOST}:{self._port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_ASK_S) as answer:  # noqa: S310 - on loopback
                text = answer.read().decode()
        except urllib.error.HTTPError as err:
            if err.code == _NOT_FOUND:
                return None
            raise NotSeenError(f"{path} answers {err.code}: {err.read().decode(errors='replace')}") from err
        try:
            return json.loads(text)
        except ValueError:
            return text

    def connect_mqtt(self, host: str, port: int) -> None:
        """Set MQTT up, as a person would in the dialogue."""
        flow = self.ask("/api/config/config_entries/flow", {"handler": "mqtt"})
        given = filled_in(flow["data_schema"], {"broker": host, "port": port})
        done = self.ask(f"/api/config/config_entries/flow/{flow['flow_id']}", given)
        if not done or done.get("type") != "create_entry":
            raise NotSeenError(f"MQTT was not set up: {done}")

    def log(self) -> list[str]:
        """Return the warnings and errors of its log."""
        lines = (self.folder / "output.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if " WARNING (" in line or " ERROR (" in line]

    def state(self, entity: str) -> dict[str, Any] | None:
        """Return an entity's state and attributes; None: there is none."""
        found: dict[str, Any] | None = self.ask(f"/api/states/{entity}")
        return found

    def entities(self, begins: str) -> set[str]:
        """Return the entities whose name after the dot begins so."""
        return {
            s["entity_id"] for s in self.ask("/api/states") if s["entity_id"].split(".")[1].startswith(begins)
        }

    def render(self, template: str) -> str:
        """Return what becomes of a template."""
        return str(self.ask("/api/template", {"template": template}))

    def call(self, domain: str, service: str, **data: object) -> None:
        """Call an action."""
        self.ask(f"/api/services/{domain}/{service}", data)
