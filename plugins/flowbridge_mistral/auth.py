"""The token that goes with each call, and the address in Keystone's catalog. Keystone is asked at the first call."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from flowbridge.deadline import left
from flowbridge.errors import EngineError, EngineRefused
from flowbridge_mistral import failures
from flowbridge_mistral.access import Access, Account, Kind, public, versioned

if TYPE_CHECKING:
    import requests
    from keystoneauth1.identity.v3 import Auth as Plugin
    from keystoneauth1.session import Session

#: How long a secret that Keystone refused is not shown to it again: it locks accounts that fail too often.
REFUSED_SECONDS = 30.0


class Credentials(Protocol):
    """What a client asks before each call. Every method may raise an `EngineError`; then nothing was sent."""

    def url(self, session: requests.Session) -> str:
        """The address of the v2 API."""
        ...

    def token(self, session: requests.Session) -> str | None:
        """The token to send, if any."""
        ...

    def renew(self, refused: str | None) -> bool:
        """Forget a token that the engine refused. False where there is no other to be had."""
        ...

    def advice(self, status: int) -> str:
        """What to check when the engine refuses with a 401 or 403."""
        ...


def credentials(name: str, access: Access) -> Credentials:
    """Those for an instance. Nothing is imported or connected yet."""
    return Keystone(name, access, access.account) if access.account else Fixed(access)


class Fixed:
    """An address and a token as they were given, or no token."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._url = access.url or ""

    def url(self, session: requests.Session) -> str:  # noqa: ARG002 - there is nobody to ask
        """As it was given."""
        return self._url

    def token(self, session: requests.Session) -> str | None:  # noqa: ARG002 - there is nobody to ask
        """As it was given."""
        return self._access.token

    def renew(self, refused: str | None) -> bool:  # noqa: ARG002 - there is no other
        """Never: there is nobody to ask for another."""
        return False

    def advice(self, status: int) -> str:
        """Where another token comes from."""
        if self._access.token is None:
            return "It wants credentials: set cloud, auth_url or token; cloud: envvars takes the OS_* variables."
        if status == 403:
            return "The token is good, but has no right to this: check its project and its roles."
        return "Check the option token: it may have expired. With cloud or auth_url flowbridge takes a new one itself."


class Keystone:
    """Tokens from a Keystone, taken when they are needed and taken anew shortly before they expire."""

    def __init__(self, name: str, access: Access, account: Account) -> None:
        self._access = access
        self._account = account
        self._where = f"{name}: Keystone ({public(account.auth_url)})"
        self._lock = threading.Lock()
        self._plugin: Plugin | None = None
        self._session: Session | None = None
        self._url = access.url
        self._refused: tuple[float, str] | None = None

    def url(self, session: requests.Session) -> str:
        """As it was given, otherwise from the catalog, which is asked once."""
        if self._url is None:
            _, catalog = self._ask(session)
            self._url = versioned(_endpoint(catalog, self._access, self._where))
        return self._url

    def token(self, session: requests.Session) -> str | None:
        """The one that is good now."""
        token, _ = self._ask(session)
        return token

    def renew(self, refused: str | None) -> bool:
        """The next token is a new one, also where another thread has taken it already."""
        with self._lock:
            plugin = self._plugin
            if plugin is None:
                return False
            known = getattr(plugin, "auth_ref", None)
            if known is not None and known.auth_token == refused:
                plugin.invalidate()
            return True

    def advice(self, status: int) -> str:
        """Keystone has accepted the account: what is left is its roles, and whether the two servers belong together."""
        if status == 403:
            return f"Keystone knows {self._account}, but it has no right to this: check its project and its roles."
        keystone = public(self._account.auth_url)
        return f"It refused a new token too: check that this Mistral trusts {keystone}, and what its own log says."

    def _ask(self, session: requests.Session) -> tuple[str, Sequence[Mapping[str, Any]]]:
        """Token and catalog: Keystone's last answer while it is good."""
        from keystoneauth1.exceptions import ClientException  # noqa: PLC0415 - only a Mistral behind a Keystone pays

        with self._lock:
            if self._refused and monotonic() < self._refused[0]:
                raise EngineRefused(self._refused[1])
            if self._session is None or self._session.session is not session:
                self._session = self._open(session)
            self._session.timeout = min(self._access.read_timeout, left() or self._access.read_timeout)
            if self._plugin is None:
                self._plugin = _plugin(self._account)
            try:
                found: Any = self._plugin.get_access(self._session)
                return str(found.auth_token), tuple(found.service_catalog.catalog or ())
            except ClientException as error:
                raise self._failure(error) from error
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise EngineRefused(f"{self._where} is no Keystone v3 API. Check auth_url or OS_AUTH_URL.") from error

    def _open(self, session: requests.Session) -> Session:
        from keystoneauth1.session import Session  # noqa: PLC0415 - as above

        return Session(
            session=session,
            verify=self._access.ca_file or True,
            timeout=self._access.read_timeout,
            redirect=False,  # a password is for this address and for no other
        )

    def _failure(self, error: Exception) -> EngineError:
        failure = failures.of_keystone(error, self._where, str(self._account))
        if isinstance(failure, EngineRefused):
            self._refused = (monotonic() + REFUSED_SECONDS, failure.message)
        return failure


def _plugin(account: Account) -> Plugin:
    from keystoneauth1.identity import v3  # noqa: PLC0415 - as above

    makers: Mapping[Kind, Any] = {
        Kind.PASSWORD: v3.Password,
        Kind.APPLICATION_CREDENTIAL: v3.ApplicationCredential,
        Kind.TOKEN: v3.Token,
    }
    plugin: Plugin = makers[account.kind](account.auth_url, **account.proof)
    return plugin


def _endpoint(catalog: Iterable[Mapping[str, Any]], access: Access, where: str) -> str:
    """The one address that fits. Raises `EngineRefused` with what there is where none or more than one does."""
    offered = [
        (str(service.get("type")), str(endpoint.get("interface")), str(endpoint.get("region")), str(endpoint["url"]))
        for service in catalog
        if service.get("type") in access.service_types
        for endpoint in service.get("endpoints", ())
        if endpoint.get("url")
    ]
    for wanted in access.service_types:
        fitting = {
            region: url
            for type, interface, region, url in offered
            if type == wanted and interface == access.interface and access.region in (None, region)
        }
        if len(set(fitting.values())) > 1:
            raise EngineRefused(
                f"{where} has a Mistral in several regions ({', '.join(sorted(fitting))}); name one with region or"
                " OS_REGION_NAME"
            )
        if fitting:
            return next(iter(fitting.values()))
    raise EngineRefused(_nothing(offered, access, where))


def _nothing(offered: Iterable[tuple[str, str, str, str]], access: Access, where: str) -> str:
    sought = f"{access.interface} endpoint of type {' or '.join(access.service_types)}"
    place = f" in region {access.region}" if access.region else ""
    there = sorted(f"{type} {interface} in {region}" for type, interface, region, _ in offered)
    hint = f"it has {', '.join(there)}" if there else "check the project, since a token without one has no catalog"
    return f"{where} has no {sought}{place} in its catalog; {hint}. Set region, interface or service_type, or the url."
