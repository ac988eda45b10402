"""Where a Mistral is and who asks it: options, clouds.yaml and variables, and what wins over what."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowbridge.errors import InvalidInput
from flowbridge_mistral.access import OPTIONS, SECRETS, Kind, access
from flowbridge_mistral.backend import MistralBackend

KEYSTONE = "https://keystone.example:5000/v3"
MISTRAL = "https://mistral.example:8989/v2"
SECRET = "a secret that nobody reads"
ADA = {"auth_url": KEYSTONE, "username": "ada", "password": SECRET, "project_name": "works"}
VARIABLES = {"OS_AUTH_URL": KEYSTONE, "OS_USERNAME": "ada", "OS_PASSWORD": SECRET, "OS_PROJECT_NAME": "works"}
CREDENTIAL = {"application_credential_id": "c1", "application_credential_secret": SECRET}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and an empty folder to work in."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return tmp_path


def write(path: Path, **clouds: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"clouds": clouds}))


def proof(options: dict[str, Any], **environ: str) -> dict[str, str]:
    found = access("prod", options, environ).account
    assert found is not None
    return dict(found.proof)


def test_an_address_alone_asks_without_credentials() -> None:
    found = access("prod", {}, {"OS_MISTRAL_URL": "https://mistral.example:8989/"})
    assert (found.url, found.account, found.token) == (MISTRAL, None, None)


def test_an_address_of_something_in_the_api_is_refused_with_the_one_to_give() -> None:
    with pytest.raises(InvalidInput) as caught:
        access("prod", {}, {"OS_MISTRAL_URL": "http://me:secret@m.example:8989/v2/executions/"})
    assert caught.value.message == (
        "prod: the address http://m.example:8989/v2/executions goes on behind that of the API; give http://m.example:8989/v2"
    )


def test_an_address_may_have_a_version_of_something_else_before_that_of_the_api() -> None:
    behind_a_gateway = "https://gateway.example/v2/mistral/v2"
    assert access("prod", {"url": behind_a_gateway}, {}).url == behind_a_gateway


def test_a_token_is_sent_to_an_address_as_it_is_without_any_keystone() -> None:
    for options, environ in (
        ({"url": MISTRAL, "token": "t"}, {}),
        ({"token": "t"}, {"OS_MISTRAL_URL": MISTRAL}),
        ({}, {"OS_MISTRAL_URL": MISTRAL, "OS_TOKEN": "t", "OS_AUTH_URL": KEYSTONE}),
    ):
        found = access("prod", options, environ)
        assert (found.url, found.token, found.account) == (MISTRAL, "t", None)


def test_a_token_without_an_address_asks_keystone_for_the_catalog() -> None:
    found = access("prod", {}, {"OS_TOKEN": "t", "OS_AUTH_URL": KEYSTONE, "OS_PROJECT_ID": "p"})
    assert found.account is not None
    assert (found.account.kind, found.account.proof) == (Kind.TOKEN, {"token": "t", "project_id": "p"})


def test_options_and_variables_mean_the_same_account() -> None:
    expected = {"username": "ada", "password": SECRET, "project_name": "works"}
    expected |= {"user_domain_id": "default", "project_domain_id": "default"}
    assert proof(ADA) == proof({}, **VARIABLES) == expected


def test_every_option_of_an_account_has_its_variable() -> None:
    domains = {"OS_USER_DOMAIN_NAME": "people", "OS_PROJECT_DOMAIN_ID": "d2"}
    found = proof({}, **VARIABLES, **domains)
    assert (found["user_domain_name"], found["project_domain_id"]) == ("people", "d2")
    assert not found.keys() & {"user_domain_id", "project_domain_name"}


def test_place_and_certificates_come_from_the_variables() -> None:
    places = {"OS_REGION_NAME": "north", "OS_ENDPOINT_TYPE": "internalURL", "OS_SERVICE_TYPE": "mine"}
    found = access("prod", {}, {**VARIABLES, **places, "OS_CACERT": __file__})
    assert (found.region, found.interface, found.service_types) == ("north", "internal", ("mine",))
    assert found.ca_file == __file__
    assert access("prod", {}, {**VARIABLES, **places, "OS_INTERFACE": "admin"}).interface == "admin"


def test_an_application_credential_needs_no_user_and_keeps_the_project_it_was_made_for() -> None:
    found = proof({"auth_url": KEYSTONE, **CREDENTIAL, "project_name": "works"})
    assert found == CREDENTIAL
    named = {"application_credential_name": "n", "application_credential_secret": SECRET, "username": "ada"}
    assert proof({"auth_url": KEYSTONE, **named}) == {**named, "user_domain_id": "default"}


def test_the_kind_that_is_said_wins_over_what_else_is_there() -> None:
    everything = {**ADA, **CREDENTIAL, "token": "t"}
    assert "password" not in proof(everything)
    assert "application_credential_id" not in proof({**everything, "auth_type": "v3password"})
    assert access("prod", {"url": MISTRAL, "auth_type": "none", **ADA}, {}).account is None


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://k.example:5000", "https://k.example:5000/v3"),
        ("https://k.example/identity/", "https://k.example/identity/v3"),
        ("https://k.example:5000/v2.0", "https://k.example:5000/v3"),
        (KEYSTONE, KEYSTONE),
    ],
)
def test_keystones_address_may_leave_out_the_version(given: str, meant: str) -> None:
    account = access("prod", {**ADA, "auth_url": given}, {}).account
    assert account is not None
    assert account.auth_url == meant


def test_credentials_of_the_environment_go_to_no_address_of_the_configuration() -> None:
    assert access("prod", {"url": MISTRAL}, VARIABLES).account is None
    assert access("prod", ADA, {"OS_MISTRAL_URL": "https://stranger.example/v2"}).url is None
    asked = access("prod", {"url": MISTRAL, "cloud": "envvars"}, VARIABLES)
    assert asked.account is not None
    assert asked.url == MISTRAL


def test_a_cloud_is_read_where_the_tools_of_openstack_look(home: Path) -> None:
    auth = {**ADA}
    cloud = {"auth": auth, "region_name": "north", "interface": "internal", "identity_api_version": 3}
    environ = {"HOME": str(home)}
    for place in (home / ".config/openstack/clouds.yaml", home / "work/clouds.yaml", home / "named.yaml"):
        auth["username"] = place.parent.name
        write(place, works=cloud)
        if place.name == "named.yaml":
            environ["OS_CLIENT_CONFIG_FILE"] = str(place)
        assert proof({"cloud": "works"}, **environ)["username"] == place.parent.name
        found = access("prod", {}, {**environ, "OS_CLOUD": "works"})
        assert (found.region, found.interface, found.url) == ("north", "internal", None)


def test_the_secret_may_stand_in_a_file_of_its_own(home: Path) -> None:
    write(home / "work/clouds.yaml", works={"auth": {key: ADA[key] for key in ADA if key != "password"}})
    write(home / ".config/openstack/secure.yaml", works={"auth": {"password": SECRET}})
    assert proof({"cloud": "works"}, HOME=str(home))["password"] == SECRET


def test_options_win_over_their_cloud_and_the_workflow_services_own_words_over_the_rest(home: Path) -> None:
    only = {"auth": ADA, "regions": ["north"], "interface": "public", "workflow_interface": "admin"}
    write(home / "work/clouds.yaml", works={**only, "workflow_endpoint_override": "https://direct.example"})
    found = access("prod", {"cloud": "works"}, {})
    assert (found.url, found.interface, found.region) == ("https://direct.example/v2", "admin", "north")
    found = access("prod", {"cloud": "works", "region": "south", "url": MISTRAL}, {})
    assert (found.url, found.region) == (MISTRAL, "south")


def test_a_cloud_that_is_not_there_is_named_with_those_there_are(home: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no clouds\.yaml to find the cloud works in; looked for clouds\.yaml"):
        access("prod", {"cloud": "works"}, {"HOME": str(home)})
    write(home / "work/clouds.yaml", one={}, two={})
    with pytest.raises(InvalidInput, match=r"no cloud works in clouds\.yaml; there are: one, two"):
        access("prod", {"cloud": "works"}, {})


@pytest.mark.parametrize(
    "text", [f"clouds: {{works: {{auth: '{SECRET}", f"clouds: [{SECRET}]", f"clouds: {{x: {SECRET}}}"]
)
def test_a_broken_file_is_named_without_what_stands_in_it(home: Path, text: str) -> None:
    Path("clouds.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=r"clouds\.yaml") as caught:
        access("prod", {"cloud": "works"}, {})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "OS_MISTRAL_URL, or name a Keystone"),
        ({"username": "ada", "password": SECRET}, "set the option auth_url, or cloud"),
        ({**ADA, "password": None}, "password is missing.*OS_PASSWORD"),
        ({"auth_url": KEYSTONE}, "username or user_id is missing"),
        ({"auth_url": KEYSTONE, "application_credential_id": "c"}, "application_credential_secret is missing"),
        ({**ADA, "auth_url": "keystone:5000"}, "auth_url is no http or https address"),
        ({**ADA, "interface": "side"}, "interface is side; it is one of public, internal, admin"),
        ({**ADA, "auth_type": "v3oidcpassword"}, "auth_type v3oidcpassword is none"),
        ({**ADA, "password": [SECRET]}, "password must be text"),
    ],
)
def test_an_account_that_cannot_be_says_what_is_missing_and_no_secret(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        access("prod", options, {})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://mistral:99999/v2", "http://mistral:no/v2", "http://mistral:0/v2", "http://:8989/v2", "http://[::1/v2"],
)
def test_an_address_whose_host_or_port_cannot_be_is_a_mistake_of_the_configuration(url: str) -> None:
    with pytest.raises(InvalidInput, match="url is no http or https address"):
        access("prod", {"url": url}, {})


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keystoneauth1", None)
    with pytest.raises(InvalidInput, match=r"pip install 'flowbridge\[openstack\]'"):
        MistralBackend("prod", ADA)
    assert access("prod", {"url": MISTRAL, "token": "t"}, {}).token == "t"


def test_variables_alone_make_an_instance() -> None:
    assert MistralBackend.implicit(VARIABLES) == ADA
    assert MistralBackend.implicit({**VARIABLES, "OS_CLOUD": "envvars"}) == ADA
    assert MistralBackend.implicit({"OS_CLOUD": "works"}) == {"cloud": "works"}
    assert MistralBackend.implicit({"OS_MISTRAL_URL": MISTRAL, "OS_USERNAME": "ada"}) == {"url": MISTRAL}
    assert MistralBackend.implicit({"OS_USERNAME": "ada", "OS_CLOUD": "", "OS_AUTH_URL": ""}) is None


def test_secrets_are_no_open_options_and_stand_in_no_repr() -> None:
    assert {"token", "password", "application_credential_secret"} == SECRETS
    assert MistralBackend.open_options == set(OPTIONS) - SECRETS
    for options in (ADA, {"auth_url": KEYSTONE, **CREDENTIAL}, {"url": MISTRAL, "token": SECRET}):
        found = access("prod", options, {})
        assert SECRET not in f"{found!r} {found.account!r} {found.account} {MistralBackend('prod', options)!r}"
