"""How an endpoint's connections are made: certificates, a proxy, headers for gateways, and their limits."""

import math
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from yarl import URL

from repertory.errors import ConfigError

SECRET_WORDS: Final = frozenset(
    {
        "authorization",
        "auth",
        "key",
        "apikey",
        "token",
        "secret",
        "password",
        "cookie",
        "credential",
        "credentials",
    }
)
OURS: Final = frozenset({"content-type", "content-length", "transfer-encoding", "connection", "host"})
NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
ABOVE_ZERO: Final = ("keep_alive", "max_body", "dns_ttl", "connect_timeout")


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How an endpoint's connections are made.

    A secret stands in an environment variable whose name is given here: settings are shown, logged and stored.

    Args:
        ca_file: PEM file of the authorities that vouch for the endpoint, instead of the system's.
        verify: Whether it must prove who it is. Only a loopback address may go without.
        client_certificate: PEM file by which we prove who we are, with the key in it or in ``client_key``.
        client_key: PEM file of its key.
        client_key_password_env: Variable with the password of that key; "" if it has none.
        proxy: Where connections go through: ``http://HOST[:PORT]``. TLS runs through it end to end (CONNECT).
        proxy_login_env: Variable with its ``USER:PASSWORD``; "" if it asks for none.
        headers: Sent with every request, for gateways.
        header_envs: Likewise, by the variable that holds the value: ``{"X-Gateway-Token": "GATEWAY_TOKEN"}``.
        keep_alive: Seconds that an idle connection is kept.
        max_body: Most bytes an answer's body may have, unpacked.
        dns_ttl: Seconds that a resolved address is kept.
        connect_timeout: Seconds to resolve the name and open a connection.
    """

    ca_file: Path | None = None
    verify: bool = True
    client_certificate: Path | None = None
    client_key: Path | None = None
    client_key_password_env: str = ""
    proxy: str = ""
    proxy_login_env: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    header_envs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    keep_alive: float = 15.0
    max_body: int = 16 * 2**20
    dns_ttl: float = 60.0
    connect_timeout: float = 10.0

    def __post_init__(self) -> None:
        for name in ABOVE_ZERO:
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"transport: {name} = {value}: expected a number above 0")
        if self.client_key is not None and self.client_certificate is None:
            raise ConfigError(
                "transport: client_key is given without client_certificate",
                hint="Name the certificate's PEM file too.",
            )
        if self.ca_file is not None and not self.verify:
            raise ConfigError(
                "transport: ca_file is given but verify = false, so nothing would be checked by it",
                hint="Leave one of them out.",
            )
        if self.proxy:
            _check_proxy(self.proxy)
        elif self.proxy_login_env:
            raise ConfigError("transport: proxy_login_env is given without proxy")
        for name in (*self.headers, *self.header_envs):
            _check_header_name(name)
        for name, value in self.headers.items():
            _check_plain_header(name, value)

    def check(self, base_url: str) -> None:
        """Raise ConfigError if an endpoint at ``base_url`` must not be reached in this way."""
        host = urlsplit(base_url).hostname or ""
        if not self.verify and not _is_loopback(host):
            raise ConfigError(
                f"transport: verify = false for {host}: anybody between here and there could take its place, read "
                "the key and answer in its name; only a loopback address may go without",
                hint="Name the authority it is certified by: ca_file = PEM-FILE",
            )

    def ssl_context(self, environment: Mapping[str, str]) -> ssl.SSLContext | None:
        """What TLS is made with; None for the usual. Reads files.

        Raises:
            ConfigError: A file is missing or is not what it should be, or the password's variable is not set.
        """
        if self.verify and self.ca_file is None and self.client_certificate is None:
            return None
        _check_file("ca_file", self.ca_file)
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"transport: ca_file = {str(self.ca_file)!r}: holds no certificates in PEM form: {error.strerror}"
            ) from None
        context.set_alpn_protocols(["http/1.1"])
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_certificate is not None:
            self._load_certificate(context, self.client_certificate, environment)
        return context

    def secret_headers(self, environment: Mapping[str, str]) -> dict[str, SecretStr]:
        """The headers whose values are in the environment.

        Raises:
            ConfigError: A variable is not set, or holds what no header may.
        """
        return {
            name: SecretStr(_line(f"header_envs.{name}", variable, environment))
            for name, variable in self.header_envs.items()
        }

    def proxy_url(self, environment: Mapping[str, str]) -> URL | None:
        """Where connections go through, login and all, so not to be shown; raises as ``secret_headers``."""
        if not self.proxy:
            return None
        url = URL(self.proxy)
        if not self.proxy_login_env:
            return url
        user, colon, password = _line("proxy_login_env", self.proxy_login_env, environment).partition(":")
        if not colon or not user:
            raise ConfigError(
                f"transport: proxy_login_env: the variable {self.proxy_login_env} does not hold USER:PASSWORD"
            )
        return url.with_user(user).with_password(password)

    def _load_certificate(
        self, context: ssl.SSLContext, certificate: Path, environment: Mapping[str, str]
    ) -> None:
        _check_file("client_certificate", certificate)
        _check_file("client_key", self.client_key)
        variable = self.client_key_password_env
        # Always one, or OpenSSL would ask for it at the terminal and hold up everything.
        password = _line("client_key_password_env", variable, environment) if variable else ""
        try:
            context.load_cert_chain(certificate, self.client_key, password)
        except (ssl.SSLError, OSError, ValueError):
            raise ConfigError(
                f"transport: client_certificate = {str(certificate)!r}: cannot be loaded with its key",
                hint="Give PEM files that belong together, and client_key_password_env if the key is encrypted.",
            ) from None


def _check_proxy(proxy: str) -> None:
    try:
        parts = urlsplit(proxy)
        known = parts.scheme == "http" and parts.hostname and parts.port != 0 and not parts.path.strip("/")
    except ValueError:  # of the port
        known = False
    if not known:
        shown = repr(proxy) if "@" not in proxy else "(not shown, it may hold a password)"
        raise ConfigError(
            f"transport: proxy = {shown}: expected http://HOST[:PORT]",
            hint="TLS to the endpoint runs through such a proxy end to end.",
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "transport: proxy holds a user name or password",
            hint="Give them in an environment variable: proxy_login_env = NAME, and USER:PASSWORD in it.",
        )


def _check_header_name(name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise ConfigError(f"transport: headers: {name!r} is no header's name")
    if name.lower() in OURS:
        raise ConfigError(f"transport: headers.{name}: is set by the transport itself", hint="Leave it out.")


def _check_plain_header(name: str, value: str) -> None:
    if SECRET_WORDS.intersection(re.split("[-_]", name.lower())):
        raise ConfigError(
            f"transport: headers.{name}: by its name a secret, which does not belong into a configuration",
            hint=f"Name the environment variable that holds it: header_envs = {{'{name}' = 'VARIABLE'}}",
        )
    if VALUE.fullmatch(value) is None:
        raise ConfigError(f"transport: headers.{name} = {value!r}: has characters that no header may have")


def _check_file(name: str, path: Path | None) -> None:
    if path is not None and not path.is_file():
        raise ConfigError(f"transport: {name} = {str(path)!r}: no such file")


def _line(name: str, variable: str, environment: Mapping[str, str]) -> str:
    """The value of an environment variable, fit for a header; never shown."""
    value = environment.get(variable, "")
    if not value or VALUE.fullmatch(value) is None:
        what = "is not set" if not value else "has characters that no header may have, such as a line break"
        raise ConfigError(
            f"transport: {name}: the environment variable {variable} {what}", hint=f"Run: export {variable}=..."
        )
    return value


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
