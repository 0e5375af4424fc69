"""One HTTP/1.1 request over a fresh connection, for the sample visitors and the shop's own front: they are not destinations."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

_LIMIT = 1 << 20


async def request(
    address: str, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float = 10
) -> tuple[int, dict[str, str], bytes]:
    """(status, lower-case headers, body) of `method path` at `host:port`. Raises OSError or TimeoutError."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            head = {"Host": address, "Connection": "close", "Content-Length": str(len(body)), **headers}
            text = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in head.items()) + "\r\n"
            writer.write(text.encode("latin-1") + body)
            await writer.drain()
            raw = await reader.read(_LIMIT)
            while more := await reader.read(_LIMIT):
                raw += more
        finally:
            writer.close()
    top, _, content = raw.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    found = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split(" ")[1]), found, content
