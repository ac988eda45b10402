"""A real Keystone for tests, and a cloud in it: accounts, roles, and a catalog with Mistral in it.

The environment is built and found as Mistral's is; the process runs `keystone_process.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from live.mistral_server import Build, Server, environment

#: Held where it decides how Keystone behaves; the rest follows its own requirements.
KEYSTONE = Build(
    "keystone",
    "FLOWBRIDGE_LIVE_KEYSTONE_ENV",
    (
        "keystone==30.0.0",
        "SQLAlchemy==2.1.9",
        "cheroot>=10.0.1,<12",
        "Flask==3.1.3",
        "oslo.cache==4.3.0",
        "oslo.config==10.7.0",
        "oslo.context==6.5.0",
        "oslo.db==18.1.1",
        "oslo.log==8.3.2",
        "oslo.messaging==18.3.1",
        "oslo.middleware==8.2.0",
        "oslo.policy==6.0.1",
        "oslo.serialization==5.11.0",
        "oslo.utils==10.2.0",
        "Werkzeug==3.1.9",
    ),
)

#: What makes a Mistral ask a Keystone. It keeps no answer, so that a revoked token is refused at once.
MISTRAL_CONFIG = """\
[pecan]
auth_enable = true
[keystone_authtoken]
www_authenticate_uri = {url}
auth_url = {url}
auth_type = password
username = mistral
password = {password}
user_domain_id = default
project_name = service
project_domain_id = default
service_token_roles_required = true
token_cache_time = -1
"""


class KeystoneServer(Server):
    """One running Keystone with an administrator in it, whose password nobody else knows."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.password = secrets.token_urlsafe()

    def command(self) -> list[str]:
        """The process's file, run by Keystone's Python."""
        script = Path(__file__).resolve().with_name("keystone_process.py")
        return [str(environment(KEYSTONE)), str(script), str(self.folder)]

    def first_words(self) -> bytes:
        """The administrator's password."""
        return f"{self.password}\n".encode()


class Cloud:
    """What an operator does in a Keystone: over its API, as the administrator."""

    def __init__(self, keystone: KeystoneServer) -> None:
        self.auth_url = keystone.url
        self._session = requests.Session()
        token, _ = self.token("admin", keystone.password, "admin")
        self._session.headers["X-Auth-Token"] = token

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def token(self, user: str, password: str, project: str) -> tuple[str, Mapping[str, Any]]:
        """A token of somebody's, and what Keystone says of it."""
        domain = {"id": "default"}
        proof = {"user": {"name": user, "domain": domain, "password": password}}
        scope = {"project": {"name": project, "domain": domain}}
        body = {"auth": {"identity": {"methods": ["password"], "password": proof}, "scope": scope}}
        answer = self._session.post(f"{self.auth_url}/auth/tokens", json=body, timeout=30)
        answer.raise_for_status()
        return answer.headers["X-Subject-Token"], answer.json()["token"]

    def project(self, name: str) -> str:
        """A new project's id."""
        return self._made("projects", "project", name=name, domain_id="default")

    def user(self, name: str, password: str, project: str, role: str) -> str:
        """A new user's id, with a role in a project."""
        user = self._made("users", "user", name=name, password=password, domain_id="default")
        roles = self._get("roles", name=role)["roles"]
        self._call("PUT", f"projects/{project}/users/{user}/roles/{roles[0]['id']}")
        return user

    def endpoint(self, service_type: str, region: str, interface: str, url: str) -> None:
        """An entry of the catalog."""
        services = self._get("services", type=service_type)["services"]
        service = services[0]["id"] if services else self._made("services", "service", type=service_type, name="m")
        if not any(known["id"] == region for known in self._get("regions")["regions"]):
            self._made("regions", "region", id=region)
        self._made("endpoints", "endpoint", service_id=service, region_id=region, interface=interface, url=url)

    def application_credential(self, user: str, password: str, project: str, name: str) -> Mapping[str, str]:
        """Made by its user, as Keystone wants it: its id and its secret are in there."""
        token, said = self.token(user, password, project)
        path = f"users/{said['user']['id']}/application_credentials"
        made = self._call(
            "POST", path, json={"application_credential": {"name": name}}, headers={"X-Auth-Token": token}
        )
        return dict(made["application_credential"])

    def revoke(self, token: str) -> None:
        """From now on nobody accepts this token."""
        self._call("DELETE", "auth/tokens", headers={"X-Subject-Token": token})

    def _made(self, path: str, kind: str, **body: str) -> str:
        return str(self._call("POST", path, json={kind: body})[kind]["id"])

    def _get(self, path: str, **query: str) -> Any:
        return self._call("GET", path, params=query)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._session.request(method, f"{self.auth_url}/{path}", timeout=30, **arguments)
        answer.raise_for_status()
        return answer.json() if answer.content else {}
