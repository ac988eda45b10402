"""Where a Mistral is and who asks it: from an instance's options, `clouds.yaml` and the `OS_*` variables.

Nothing is connected here, and nothing of OpenStack imported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from flowbridge.errors import InvalidInput
from flowbridge_mistral import clouds

CONNECT_SECONDS = 5.0
#: Who looks sits before a terminal; what is changed is worth waiting for, and a long definition takes its time.
READ_SECONDS = 12.0
CHANGE_SECONDS = 30.0
SECRETS = frozenset({"token", "password", "application_credential_secret"})
SERVICE_TYPES = ("workflowv2", "workflow")
INTERFACES = ("public", "internal", "admin")

#: Who asks: each option is the variable of the same name behind `OS_`.
IDENTITY = (
    "auth_type",
    "username",
    "user_id",
    "password",
    "user_domain_name",
    "user_domain_id",
    "project_name",
    "project_id",
    "project_domain_name",
    "project_domain_id",
    "application_credential_id",
    "application_credential_name",
    "application_credential_secret",
    "token",
)
#: Where it is, by variable; the first that is set counts.
PLACE = {
    "url": ("OS_MISTRAL_URL",),
    "region": ("OS_REGION_NAME",),
    "interface": ("OS_INTERFACE", "OS_ENDPOINT_TYPE"),
    "ca_file": ("OS_CACERT",),
    "service_type": ("OS_SERVICE_TYPE",),
}
OPTIONS = (*PLACE, "timeout", "cloud", "auth_url", *IDENTITY, "subworkflows")
#: An instance that has one of these says itself who asks and whom.
OWN = frozenset({"url", "cloud", "auth_url", "auth_type", "token"})
#: The cloud that stands for the `OS_*` variables, as in OpenStack's own tools.
FROM_VARIABLES = "envvars"


class Kind(Enum):
    """How one proves to Keystone who one is."""

    PASSWORD = auto()
    APPLICATION_CREDENTIAL = auto()
    TOKEN = auto()


KINDS: Mapping[str, Kind | None] = {
    "none": None,
    "password": Kind.PASSWORD,
    "v3password": Kind.PASSWORD,
    "v3applicationcredential": Kind.APPLICATION_CREDENTIAL,
    "token": Kind.TOKEN,
    "v3token": Kind.TOKEN,
}


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks which Keystone. `proof` holds what Keystone is told, secrets among it, and stands in no message."""

    auth_url: str
    kind: Kind
    proof: Mapping[str, str] = field(repr=False)

    def __str__(self) -> str:
        """The account in words, without a secret."""
        proof = self.proof
        if self.kind is Kind.TOKEN:
            return "the token"
        if self.kind is Kind.APPLICATION_CREDENTIAL:
            return f"the application credential {_either(proof, 'application_credential')}"
        project = _either(proof, "project")
        return f"the user {_either(proof, 'user')}" + (f" in the project {project}" if project else "")


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a Mistral, and how long to wait for it, in seconds.

    `url` is the address of its v2 API; without it the catalog of `account`'s Keystone has it, by `region`, `interface`
    and `service_types`, the first of these that is there. `read_timeout` is how long a question may take in all, with
    every try and to the end of the answer, `change_timeout` the same for what changes something.
    `ca_file` replaces the system's certificate authorities for both servers; there is no way to switch verification
    off. `token` is sent as it is, instead of one from Keystone, and stands in no message.
    """

    url: str | None
    connect_timeout: float = CONNECT_SECONDS
    read_timeout: float = READ_SECONDS
    change_timeout: float = CHANGE_SECONDS
    ca_file: str | None = None
    token: str | None = field(default=None, repr=False)
    account: Account | None = None
    region: str | None = None
    interface: str = "public"
    service_types: tuple[str, ...] = SERVICE_TYPES


def of_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The options that the variables of OpenStack's own tools stand for. `OS_CLOUD` wins over `OS_AUTH_URL`."""
    found: dict[str, Any] = {}
    for option, variables in PLACE.items():
        if value := next(filter(None, map(environ.get, variables)), None):
            found[option] = value
    cloud = environ.get("OS_CLOUD")
    if cloud and cloud != FROM_VARIABLES:
        return found | {"cloud": cloud}
    return found | _identity(environ)


def _identity(environ: Mapping[str, str]) -> dict[str, Any]:
    auth_url = environ.get("OS_AUTH_URL")
    names = IDENTITY if auth_url else ("token",)
    found: dict[str, Any] = {name: value for name in names if (value := environ.get(f"OS_{name.upper()}"))}
    return found | {"auth_url": auth_url} if auth_url else found


def stands_alone(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """The options of an instance that nobody configured; None where the variables name no Mistral."""
    found = of_environment(environ)
    return found if found.keys() & {"url", "cloud", "auth_url"} else None


def access(name: str, options: Mapping[str, Any], environ: Mapping[str, str]) -> Access:
    """What an instance's options mean. Raises `InvalidInput` for one that cannot be, or that is missing.

    Credentials go where those who gave them meant them to go: an instance with an address or an account of its own
    takes no account from the variables, unless it names the cloud `envvars`.
    """
    merged = _merged(name, options, environ)
    timeout = _timeout(name, merged["timeout"]) if "timeout" in merged else None
    found = {key: _text(name, key, value) for key, value in merged.items() if key != "timeout"}
    account = _account(name, found)
    url = found.get("url")
    if url is None and account is None:
        raise InvalidInput(
            f"{name}: where its Mistral is was not said; set the option url or OS_MISTRAL_URL, or name a Keystone whose"
            " catalog has it with cloud, OS_CLOUD, auth_url or OS_AUTH_URL"
        )
    service_type = found.get("service_type")
    return Access(
        url=None if url is None else versioned(_api_address(name, url)),
        connect_timeout=min(CONNECT_SECONDS, timeout or CONNECT_SECONDS),
        read_timeout=timeout or READ_SECONDS,
        change_timeout=timeout or CHANGE_SECONDS,
        ca_file=_ca_file(name, found.get("ca_file")),
        token=None if account else found.get("token"),
        account=account,
        region=found.get("region"),
        interface=_interface(name, found.get("interface", INTERFACES[0])),
        service_types=(service_type,) if service_type else SERVICE_TYPES,
    )


def versioned(url: str) -> str:
    """The address of the v2 API, whether it was given with the version or without."""
    url = url.rstrip("/")
    return url if urlsplit(url).path.endswith("/v2") else f"{url}/v2"


def public(url: str) -> str:
    """An address without the user and password that may stand in it."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _merged(name: str, options: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The options as they count: the instance's own over its cloud's."""
    own = {key: value for key, value in options.items() if key != "type" and value is not None}
    unknown = sorted(set(own) - set(OPTIONS))
    if unknown:
        raise InvalidInput(f"{name}: unknown option {', '.join(unknown)}; a Mistral has {', '.join(OPTIONS)}")
    if not own.keys() & OWN:
        own = of_environment(environ) | own
    cloud = own.pop("cloud", None)
    if cloud == FROM_VARIABLES:
        own = of_environment({**environ, "OS_CLOUD": ""}) | own
    elif cloud is not None:
        try:
            entry = clouds.entry(str(cloud), environ)
        except InvalidInput as error:
            raise InvalidInput(f"{name}: {error.message}") from error
        own = {key: value for key, value in entry.items() if key in OPTIONS and value is not None} | own
    if not own.keys() & {"url", "auth_url"} and environ.get("OS_MISTRAL_URL"):
        own["url"] = environ["OS_MISTRAL_URL"]
    return own


def _account(name: str, found: Mapping[str, str]) -> Account | None:
    """Who asks Keystone; None where nobody does: without a Keystone, or where address and token were given."""
    kind = _kind(name, found)
    auth_url = found.get("auth_url")
    if kind is None or (kind is Kind.TOKEN and "url" in found):
        return None
    if auth_url is None:
        if kind is Kind.TOKEN:
            return None
        raise InvalidInput(f"{name}: an account needs the address of its Keystone; set the option auth_url, or cloud")
    proof = {key: found[key] for key in IDENTITY if key in found and key != "auth_type"}
    proof = _only(kind, proof)
    _complete(name, kind, proof)
    if find_spec("keystoneauth1") is None:
        raise InvalidInput(f"{name}: Keystone needs a library that is not there: pip install 'flowbridge[openstack]'")
    return Account(_keystone(_address(name, "auth_url", auth_url, "https://keystone:5000/v3")), kind, proof)


def _kind(name: str, found: Mapping[str, str]) -> Kind | None:
    said = found.get("auth_type")
    if said is not None:
        if said not in KINDS:
            raise InvalidInput(f"{name}: auth_type {said} is none that flowbridge has; it has {', '.join(KINDS)}")
        return KINDS[said]
    if found.keys() & {"application_credential_id", "application_credential_name"}:
        return Kind.APPLICATION_CREDENTIAL
    if found.keys() & {"username", "user_id"}:
        return Kind.PASSWORD
    if "token" in found:
        return Kind.TOKEN
    return Kind.PASSWORD if "auth_url" in found or found.keys() & set(IDENTITY) else None


def _only(kind: Kind, proof: Mapping[str, str]) -> dict[str, str]:
    """What belongs to a kind, and the domain in which Keystone has what has no other."""
    marks = {Kind.PASSWORD: "password", Kind.TOKEN: "token"}
    others = {mark for other, mark in marks.items() if other is not kind}
    kept = {key: value for key, value in proof.items() if key not in others}
    if kind is not Kind.APPLICATION_CREDENTIAL:
        kept = {key: value for key, value in kept.items() if not key.startswith("application_credential")}
    else:
        # Its project is fixed when it is made, and Keystone refuses another.
        kept = {key: value for key, value in kept.items() if not key.startswith("project")}
    if kind is Kind.TOKEN:
        kept = {key: value for key, value in kept.items() if not key.startswith("user")}
    for named, domain in (("username", "user_domain"), ("project_name", "project_domain")):
        if named in kept and not kept.keys() & {f"{domain}_id", f"{domain}_name"}:
            kept[f"{domain}_id"] = "default"
    return kept


def _complete(name: str, kind: Kind, proof: Mapping[str, str]) -> None:
    for choice in _wanted(kind, proof):
        if not proof.keys() & set(choice):
            either = " or ".join(choice)
            variables = " or ".join(f"OS_{option.upper()}" for option in choice)
            raise InvalidInput(
                f"{name}: {either} is missing for Keystone; set it where the rest of the account stands:"
                f" in the options, in clouds.yaml or secure.yaml, or as {variables}"
            )


def _wanted(kind: Kind, proof: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Of each of these one must be there."""
    if kind is Kind.TOKEN:
        return [("token",)]
    if kind is Kind.PASSWORD:
        return [("username", "user_id"), ("password",)]
    named = [("application_credential_id", "application_credential_name"), ("application_credential_secret",)]
    return named if "application_credential_id" in proof else [*named, ("username", "user_id")]


def _either(proof: Mapping[str, str], what: str) -> str:
    return proof.get(f"{what}_id") or proof.get(f"{what}_name") or proof.get(f"{what}name") or ""


def _keystone(url: str) -> str:
    """Keystone's v3 API; its address is often given without a version, or with that of the one before."""
    bare = url.removesuffix("/v2.0")
    return bare if urlsplit(bare).path.endswith("/v3") else f"{bare}/v3"


def _text(name: str, option: str, value: Any) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise InvalidInput(f"{name}: {option} must be text")


def _api_address(name: str, given: str) -> str:
    """The address that was given, with or without the version; not that of a thing behind it."""
    url = _address(name, "url", given, "https://mistral:8989/v2")
    api, _, behind = public(url).partition("/v2/")
    if behind and url != versioned(url):
        raise InvalidInput(f"{name}: the address {public(url)} goes on behind that of the API; give {api}/v2")
    return url


def _address(name: str, option: str, given: str, example: str) -> str:
    url = given.rstrip("/")
    if not _is_address(url):
        raise InvalidInput(f"{name}: the option {option} is no http or https address, such as {example}")
    return url


def _is_address(url: str) -> bool:
    """Whether it names a host and, if it names one, a port that can be."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _interface(name: str, given: str) -> str:
    interface = given.removesuffix("URL")
    if interface not in INTERFACES:
        raise InvalidInput(f"{name}: interface is {given}; it is one of {', '.join(INTERFACES)}")
    return interface


def _ca_file(name: str, given: str | None) -> str | None:
    if given is None:
        return None
    path = Path(given).expanduser()
    if not path.is_file():
        raise InvalidInput(f"{name}: ca_file {given} is not there; name a file with certificates, or leave it out")
    return str(path)


def _timeout(name: str, given: Any) -> float:
    try:
        timeout = float(given)
    except (TypeError, ValueError):
        timeout = 0.0
    if not 0 < timeout < math.inf:  # no comparison holds for nan
        raise InvalidInput(f"{name}: timeout is {given!r}; it is a number of seconds above 0")
    return timeout
