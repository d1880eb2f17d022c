"""An endpoint that bills: every answer it made, also those whose client was gone by then. Its bill is the truth.

Runs as a process of its own, ``python -m benchmarks.billing_endpoint``: it prints its port and ends when standard
input closes. It is no general HTTP server.

    POST /calls     {"number", "accounts", "prompt", "max_tokens"}: an answer with its usage, or status 500
    POST /refusals  {"account"}: notes how much has been billed to it by now, the first time
    GET /bill       {"billed": {account: nano-dollars}, "refused": {account: billed by then}, "answers", ...}
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import orjson

from benchmarks.budget_load import Answer, answer


@dataclass(slots=True)
class Bill:
    """What has been billed so far."""

    billed: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    answers: int = 0
    failures: int = 0

    def add(self, accounts: list[str], answer: Answer) -> None:
        """Bill one answer to all accounts that pay for it."""
        self.answers += not answer.failed
        self.failures += answer.failed
        for account in accounts:
            self.billed[account] = self.billed.get(account, 0) + answer.cost


class BillingEndpoint(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    def __init__(self, bill: Bill) -> None:
        self._bill = bill
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].lower()
        _, _, length = head.partition(b"content-length:")
        size = end + 4 + int(length.partition(b"\r\n")[0] or 0)
        if len(self._received) < size:
            return
        body, self._received = self._received[end + 4 : size], self._received[size:]
        match head.split(b" ", 2)[1]:
            case b"/calls":
                self._generate(orjson.loads(body))
            case b"/refusals":
                account = orjson.loads(body)["account"]
                self._bill.refused.setdefault(account, self._bill.billed.get(account, 0))
                self._reply(200, {})
            case _:
                self._reply(200, asdict(self._bill))

    def _generate(self, call: dict[str, object]) -> None:
        number, prompt, max_tokens, accounts = (
            call[key] for key in ("number", "prompt", "max_tokens", "accounts")
        )
        assert isinstance(number, int)
        assert isinstance(prompt, str)
        assert isinstance(max_tokens, int)
        assert isinstance(accounts, list)
        made = answer(number, len(prompt), max_tokens)
        asyncio.get_running_loop().call_later(made.seconds, self._finish, accounts, made)

    def _finish(self, accounts: list[str], made: Answer) -> None:
        self._bill.add(accounts, made)
        usage = {"input_tokens": made.input_tokens, "output_tokens": made.output_tokens}
        self._reply(500 if made.failed else 200, usage)

    def _reply(self, status: int, content: Mapping[str, object]) -> None:
        if not self._transport.is_closing():
            body = orjson.dumps(content)
            head = f"HTTP/1.1 {status} \r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode() + body)


@contextmanager
def billing_endpoint() -> Iterator[int]:
    """A billing endpoint in a process of its own; yields its port."""
    command = [sys.executable, "-m", "benchmarks.billing_endpoint"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    bill = Bill()
    server = await loop.create_server(lambda: BillingEndpoint(bill), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
