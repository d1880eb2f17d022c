"""Certificates made for one test, and a proxy: what a connection of an endpoint may have to go through."""

import asyncio
import datetime
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """One that certifies servers at 127.0.0.1 and their clients; its files are in ``folder``."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.ca_file.write_bytes(_pem(self._certificate("authority", self.key, authority=True)))

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def certified(self, name: str, password: bytes | None = None) -> tuple[Path, Path]:
        """Files of a new certificate and of its key, encrypted if there is a password."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(_pem(self._certificate(name, key, authority=False)))
        how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
        return certificate, key_file

    def server(self, *, client: bool = False) -> ssl.SSLContext:
        """What a server at 127.0.0.1 speaks TLS with; ``client`` has it ask for the client's certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca_file)
        context.load_cert_chain(*self.certified("server"))
        if client:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _certificate(self, name: str, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        its = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .add_extension(own, critical=False)
            .add_extension(its, critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())


class Proxy:
    """An HTTP proxy that knows CONNECT and nothing else; an async context manager.

    Attributes:
        asked: The head of each request it got, as it came.
        answer: What it says to them; the tunnel is opened if that is a 200.
    """

    def __init__(self, answer: str = "200 Connection established") -> None:
        self.answer = answer
        self.asked: list[str] = []
        self._tunnels: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._tunnel, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tunnels.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head)
            writer.write(f"HTTP/1.1 {self.answer}\r\n\r\n".encode())
            if self.answer.startswith("200"):
                host, _, port = head.split()[1].rpartition(":")
                onward, back = await asyncio.open_connection(host, int(port))
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pour(reader, back))
                    both.create_task(_pour(onward, writer))
        except asyncio.CancelledError:
            pass  # the test is over; nobody waits for this task but `__aexit__`
        finally:
            writer.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
