"""The last resort of the collection host: a bug becomes a 500 with an id, in the answer and in the log, and nothing else shows."""

from __future__ import annotations

import asyncio
import io
import json

from ebbgate import log
from ebbgate.edge.guard import Guard
from ebbgate.edge.problems import Message, Receive, Scope, Send
from ebbgate.edge.serving import address, listen, served

CANARY = "canary@example.org"
HTTP: Scope = {"type": "http", "method": "POST", "path": "/", "headers": []}


async def nothing() -> Message:
    """A body that is empty."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def test_a_bug_is_an_answer_with_an_id_that_the_log_knows() -> None:
    """500 as problem JSON; the id in its hint stands in the log beside file and line; no value stands in either."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError(CANARY)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    out = io.StringIO()
    log.configure("json", out)
    await Guard(broken)(HTTP, nothing, send)
    told, entry = json.loads(sent[1]["body"]), json.loads(out.getvalue())
    assert (sent[0]["status"], told["code"]) == (500, "internal")
    assert told["hint"].endswith(entry["error_id"])
    assert (entry["event"], entry["kind"]) == ("request.failed", "ValueError")
    assert entry["where"].startswith("test_guard.py:")
    assert CANARY not in out.getvalue() + json.dumps(told)


async def test_a_bug_in_the_middle_of_an_answer_ends_the_connection() -> None:
    """What has begun is not followed by a second answer: the server cuts the connection, and the log knows why."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError(CANARY)

    out = io.StringIO()
    log.configure("json", out)
    sock = listen("127.0.0.1", 0, what="test")
    async with served(Guard(broken), sock):
        host, _, port = address(sock).rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"\r\n\r\nhalf")
    assert json.loads(out.getvalue().splitlines()[0])["event"] == "request.failed"
    assert CANARY not in out.getvalue()
