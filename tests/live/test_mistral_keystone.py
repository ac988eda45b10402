"""A real Mistral behind a real Keystone: who may ask, where it is found, and what an expired token does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowbridge.backend import Definition
from flowbridge.errors import EngineRefused, Unavailable
from flowbridge.model import EngineState
from flowbridge_mistral.backend import MistralBackend
from live.keystone_server import MISTRAL_CONFIG, Cloud, KeystoneServer
from live.mistral_lab import WORKBOOK, Lab
from live.mistral_server import MistralServer

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

PASSWORD = "the password of ada"
WRONG = "no password of ada"
NOWHERE = "http://127.0.0.1:9/v2"


@dataclass(frozen=True)
class Site:
    """A Keystone, a Mistral that trusts it, and what its operator made: the account of ada, who may use it."""

    cloud: Cloud
    mistral: str
    credential: Mapping[str, str]

    @property
    def options(self) -> dict[str, Any]:
        """The account of ada; the address is left to the catalog."""
        return {
            "auth_url": self.cloud.auth_url,
            "username": "ada",
            "password": PASSWORD,
            "project_name": "works",
            "region": "here",
        }

    @property
    def application_credential(self) -> dict[str, Any]:
        """A credential of ada's, instead of her password."""
        return {
            "auth_url": self.cloud.auth_url,
            "application_credential_id": self.credential["id"],
            "application_credential_secret": self.credential["secret"],
            "region": "here",
        }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with KeystoneServer(tmp_path_factory.mktemp("keystone")) as keystone:
        cloud = Cloud(keystone)
        cloud.user("mistral", "of the service", cloud.project("service"), "admin")
        cloud.user("ada", PASSWORD, cloud.project("works"), "member")
        cloud.endpoint("identity", "here", "internal", keystone.url)  # where Mistral's middleware asks
        config = MISTRAL_CONFIG.format(url=keystone.url, password="of the service")
        with MistralServer(tmp_path_factory.mktemp("mistral"), config) as mistral:
            cloud.endpoint("workflowv2", "here", "public", mistral.url)
            cloud.endpoint("workflowv2", "here", "internal", NOWHERE)
            cloud.endpoint("workflow", "there", "internal", mistral.url.removesuffix("/v2"))
            cloud.endpoint("workflowv2", "there", "public", NOWHERE)
            yield Site(cloud, mistral.url, cloud.application_credential("ada", PASSWORD, "works", "for flowbridge"))
        cloud.close()


@pytest.fixture(scope="module")
def lab(site: Site) -> Iterator[Lab]:
    backend = MistralBackend("lab", site.options)
    backend.deploy(Definition(WORKBOOK))
    yield Lab(backend)
    backend.close()


@pytest.fixture
def backend(site: Site) -> Iterator[Callable[..., MistralBackend]]:
    made: list[MistralBackend] = []

    def make(**options: Any) -> MistralBackend:
        made.append(MistralBackend("prod", {**site.options, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()


@dataclass
class Shell:
    """`flowbridge` in processes of its own, in a folder of its own, with nothing of this machine's environment."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    said: str = ""

    def run(self, *words: str, code: int = 0) -> Any:
        """The JSON document that a command printed; of a failure, what it said on stderr."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("OS_", "XDG_", "FLOWBRIDGE"))}
        environ |= {"HOME": str(self.folder), "FLOWBRIDGE_LEDGER": str(self.folder / "ledger.db"), **self.variables}
        command = [sys.executable, "-c", "from flowbridge_cli.main import main; main()", *words, "-o", "json"]
        done = subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)
        self.said += done.stdout + done.stderr
        assert done.returncode == code, done.stderr
        return done.stderr if code else json.loads(done.stdout)

    def configure(self, **options: Any) -> None:
        file = self.folder / "config.yaml"
        file.write_text(yaml.safe_dump({"backends": {"mistral": {"type": "mistral", **options}}}))
        self.variables["FLOWBRIDGE_CONFIG"] = str(file)

    def variable(self, **options: Any) -> None:
        names = {"region": "OS_REGION_NAME"}
        self.variables |= {names.get(key, f"OS_{key.upper()}"): str(value) for key, value in options.items()}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def by_password(shell: Shell, site: Site) -> None:
    shell.configure(**site.options)


def by_application_credential(shell: Shell, site: Site) -> None:
    shell.configure(**site.application_credential)


def by_clouds_yaml(shell: Shell, site: Site) -> None:
    """The secret apart from the rest, as the tools of OpenStack have it."""
    auth = {key: value for key, value in site.options.items() if key not in ("password", "region")}
    folder = shell.folder / ".config" / "openstack"
    folder.mkdir(parents=True)
    (folder / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"works": {"auth": auth, "region_name": "here"}}}))
    (folder / "secure.yaml").write_text(yaml.safe_dump({"clouds": {"works": {"auth": {"password": PASSWORD}}}}))
    shell.variable(cloud="works")


def by_variables(shell: Shell, site: Site) -> None:
    shell.variable(**site.options)


def by_variables_of_an_application_credential(shell: Shell, site: Site) -> None:
    shell.variable(auth_type="v3applicationcredential", **site.application_credential)


WAYS = [
    by_password,
    by_application_credential,
    by_clouds_yaml,
    by_variables,
    by_variables_of_an_application_credential,
]


@pytest.mark.parametrize("known", WAYS, ids=lambda way: str(way.__name__))
def test_a_workflow_is_run_listed_paused_and_resumed(
    site: Site, lab: Lab, shell: Shell, known: Callable[[Shell, Site], None]
) -> None:
    known(shell, site)
    started = shell.run("run", "mistral:live.main", "--detach")
    engine_id = started["engine_id"]
    assert [one["engine_id"] for one in shell.run("list")] == [engine_id]
    lab.gates(engine_id, "g")
    shell.run("pause", started["id"])
    lab.end(engine_id, "g")
    assert shell.run("get", started["id"])["status"] == "paused"
    shell.run("resume", started["id"], "--wait")
    assert shell.run("get", started["id"])["status"] == "succeeded"
    assert PASSWORD not in shell.said
    assert site.credential["secret"] not in shell.said


@pytest.mark.parametrize(
    ("known", "account"), [(by_password, "the user ada"), (by_application_credential, "the application credential")]
)
def test_a_wrong_secret_is_one_line_that_says_what_to_check(
    site: Site, shell: Shell, known: Callable[[Shell, Site], None], account: str
) -> None:
    known(shell, site)
    options = site.options if known is by_password else site.application_credential
    shell.configure(
        **{
            key: WRONG if key in ("password", "application_credential_secret") else value
            for key, value in options.items()
        }
    )
    said = shell.run("run", "mistral:live.main", "--detach", code=6)
    (line,) = [line for line in said.splitlines() if "error" in line]
    assert f"does not accept {account}" in line
    assert "Check" in line
    assert WRONG not in shell.said


def test_check_tells_where_the_catalog_led(site: Site, backend: Callable[..., MistralBackend]) -> None:
    assert site.mistral in backend().check().detail


def test_region_and_interface_choose_the_endpoint(site: Site, backend: Callable[..., MistralBackend]) -> None:
    assert site.mistral in backend(region="there", interface="internalURL", service_type="workflow").check().detail
    for elsewhere in ({"interface": "internal"}, {"region": "there"}):
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
            backend(**elsewhere).pause("x")


def test_a_region_that_is_nowhere_and_one_that_is_not_said_name_those_there_are(
    backend: Callable[..., MistralBackend],
) -> None:
    with pytest.raises(EngineRefused, match=r"region moon.*workflowv2 public in here"):
        backend(region="moon").check()
    with pytest.raises(EngineRefused, match=r"several regions \(here, there\)"):
        backend(region=None).check()


def test_an_address_that_was_given_wins_over_the_catalog(site: Site, backend: Callable[..., MistralBackend]) -> None:
    assert site.mistral in backend(url=site.mistral, region="moon").check().detail


def test_a_revoked_token_is_renewed_also_for_a_call_that_is_sent_once(
    site: Site, lab: Lab, backend: Callable[..., MistralBackend]
) -> None:
    prod = backend()
    id = lab.start("main")
    lab.gates(id, "g")
    prod.pause(id)
    lab.end(id, "g")
    site.cloud.revoke(token_of(prod))
    prod.resume(id, "")
    lab.reaches(id, EngineState.SUCCEEDED)


def test_a_token_that_was_given_is_sent_and_once_revoked_says_what_to_check(site: Site) -> None:
    token, _ = site.cloud.token("ada", PASSWORD, "works")
    by_url = MistralBackend("prod", {"url": site.mistral, "token": token})
    by_catalog = MistralBackend(
        "prod", {"auth_url": site.cloud.auth_url, "token": token, "project_name": "works", "region": "here"}
    )
    assert site.mistral in by_url.check().detail
    assert site.mistral in by_catalog.check().detail
    site.cloud.revoke(token)
    for backend in (by_url, by_catalog):
        with pytest.raises(EngineRefused, match="token") as caught:
            backend.check()
        assert token not in str(caught.value)
        backend.close()


def test_a_mistral_that_wants_credentials_says_so_to_one_who_has_none(site: Site) -> None:
    backend = MistralBackend("prod", {"url": site.mistral})
    with pytest.raises(EngineRefused, match="set cloud, auth_url or token"):
        backend.check()
    backend.close()


def token_of(backend: MistralBackend) -> str:
    """The token that the backend would send now."""
    client = backend._client
    with client._session() as session:
        token = client._credentials.token(session)
    assert token is not None
    return token
