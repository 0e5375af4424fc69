"""The OpenAPI documents against a running gateway: its routes, its methods, its answers to whatever Schemathesis makes up."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import pytest_asyncio

from ebbgate.demo.http import request
from ebbgate.edge.openapi.documents import document
from tests.e2e.harness import ADMIN_TOKEN, ORIGIN, SERVER_KEY, Gateway, gateway
from tests.scale import SCALE

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEARER = f"Bearer {SERVER_KEY}"
TOKEN = f"Bearer {ADMIN_TOKEN}"
#: Requests that a full run makes at least (issue 6).
FULL = 20_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with gateway(tmp_path_factory.mktemp("openapi"), server={"gpc_well_known": "2026-01-01"}) as running:
        yield running
        await running.drained(120 * SCALE)


async def asked(served: Gateway, host: str) -> dict[str, Any]:
    path = f"/openapi.json?host={host}"
    status, headers, body = await request(served.admin, "GET", path, headers={"Authorization": TOKEN})
    assert (status, headers["content-type"]) == (200, "application/json")
    found = json.loads(body)
    assert isinstance(found, dict)
    return found


async def test_the_admin_host_serves_both_documents_to_who_has_a_token(served: Gateway) -> None:
    """They are the ones that the command prints, closed like everything there, and not on the public listener."""
    for host in ("collection", "admin"):
        assert await asked(served, host) == json.loads(json.dumps(document(host)))
    assert (await request(served.admin, "GET", "/openapi.json?host=collection", headers={}))[0] == 401
    assert (await request(served.admin, "GET", "/openapi.json?host=other", headers={"Authorization": TOKEN}))[0] == 404
    assert (await request(served.address, "GET", "/openapi.json", headers={"Authorization": TOKEN}))[0] == 404


async def test_methods_are_those_of_the_documents(served: Gateway) -> None:
    """Any other method is 405 with exactly the documented ones in Allow; the documented ones are never 405 or 404."""
    for host, address, own in (
        ("collection", served.address, {"Origin": ORIGIN}),
        ("admin", served.admin, {"Authorization": TOKEN}),
    ):
        for path, item in document(host)["paths"].items():
            if path == "/e/doctor":
                continue  # to who has no pass it is not there at all
            there = path.replace("{key}", "shop")
            for method in ("DELETE", "PUT", "PATCH", "TRACE"):
                status, headers, body = await request(address, method, there, headers=own)
                assert (status, json.loads(body)["code"]) == (405, "method"), (method, path)
                assert {m.strip().lower() for m in headers["allow"].split(",")} == set(item), path
            for method in item:
                status, _, body = await request(address, method.upper(), there, headers=own)
                assert status not in (404, 405), (method, path)
                assert method != "head" or body == b""


def example(operation: dict[str, Any]) -> tuple[str, list[tuple[str, bytes]]]:
    """(query, [(media type, body)]) of an operation's examples."""
    query = {p["name"]: p["example"] for p in operation.get("parameters", ()) if p.get("in") == "query" and "example" in p}
    content = operation.get("requestBody", {}).get("content", {})
    bodies = [
        (media, told["example"].encode() if isinstance(told["example"], str) else json.dumps(told["example"]).encode())
        for media, told in content.items()
        if "example" in told
    ]
    return urlencode(query, quote_via=quote), bodies or [("", b"")]


async def test_every_example_is_accepted(served: Gateway) -> None:
    """What the document shows as an example works as it stands; nobody starts from something that is refused."""
    tried = 0
    for path, item in document("collection")["paths"].items():
        for method, operation in item.items():
            if method == "options" or path in ("/e/doctor", "/e/ecapi/v1/events"):
                continue
            query, bodies = example(operation)
            for media, body in bodies:
                headers = {"Origin": ORIGIN, **({"Content-Type": media} if media else {})}
                target = f"{path.replace('{key}', 'shop')}?{query}"
                status, _, said = await request(served.address, method.upper(), target, headers=headers, body=body)
                assert status in (200, 202, 204), (method, target, said)
                assert str(status) in operation["responses"]
                tried += 1
    assert tried > 45
    purchase = {
        "event_type": "purchase",
        "timestamp": int(time.time()),
        "value": 12,
        "currency_code": "EUR",
    }  # its time must be near
    headers = {"Authorization": BEARER, "Content-Type": "application/json"}
    answered = await request(served.address, "POST", "/e/ecapi/v1/events", headers=headers, body=json.dumps([purchase]).encode())
    assert answered[0] == 200


async def schemathesis(folder: Path, host: str, address: str, *arguments: str) -> dict[str, Any]:
    """Run it over a document and return its report.

    Two things are not checked. Dialects leave out what does not fit instead of refusing it, and times must be near now, which no
    schema can say: so neither is "invalid data is refused", nor "valid data is accepted" beyond the examples above.
    """
    _write(folder, document(host))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", "document.json", "--url", f"http://{address}", "--checks", "all",
        "--exclude-checks", ",".join(["positive_data_acceptance", "negative_data_rejection", *_apart(arguments)]),
        "--warnings", "off", "--no-shrink", "--continue-on-failure", "--report", "json", "--report-json-path", "report.json",
        *(a for a in arguments if not a.startswith("apart:")),
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    text = said.decode(errors="replace")
    assert process.returncode == 0, text[-6000:]
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert isinstance(report, dict)
    assert report["complete"], text[-3000:]
    assert (report["failures"], report["errors"]) == ([], [])
    return report


def _write(folder: Path, whole: dict[str, Any]) -> None:
    folder.mkdir()
    (folder / "document.json").write_text(json.dumps(whole), encoding="utf-8")


def _apart(arguments: tuple[str, ...]) -> list[str]:
    return [a.removeprefix("apart:") for a in arguments if a.startswith("apart:")]


@pytest.mark.timeout(3600)
async def test_every_answer_conforms_to_its_document(served: Gateway, tmp_path: Path) -> None:
    """Schemathesis finds no 5xx, and no status, header, type or body that the documents do not have.

    Over both hosts, as a page and as the site's server; in a long run with all its phases, at least 20,000 requests.
    """
    long = SCALE > 1
    seed = str(random.SystemRandom().randrange(2**31) if long else 20_261_122)
    how = ["--seed", seed, *([] if long else ["--phases", "examples,fuzzing"])]
    elsewhere = ["--exclude-path", "/e/doctor"] if long else []
    each = ("8", "8", "40") if long else ("2", "2", "4")
    runs = [
        schemathesis(tmp_path / "page", "collection", served.address, "-H", f"Origin: {ORIGIN}", "-n", each[0], *elsewhere, *how),
        # It takes the Referer that it makes up beside the valid key for the credentials.
        schemathesis(tmp_path / "server", "collection", served.address, "-H", f"Authorization: {BEARER}", "-n", each[1],
                     "--include-method", "POST", "apart:ignored_auth", *how),
        schemathesis(tmp_path / "admin", "admin", served.admin, "-H", f"Authorization: {TOKEN}", "-n", each[2], *how),
    ]  # fmt: skip
    if long:  # the one path that is not there for who has no pass, whatever the method
        runs.append(schemathesis(tmp_path / "doctor", "collection", served.address, "--include-path", "/e/doctor", "-n", "50",
                                 "apart:unsupported_method", "--phases", "examples,coverage,fuzzing", *how))  # fmt: skip
    reports = [await run for run in runs]
    made = sum(report["test_cases"]["generated"] for report in reports)
    assert made >= (FULL if long else 500), made
    assert all(report["operations"]["tested"] == report["operations"]["selected"] > 0 for report in reports)
    assert b'"level":"error"' not in served.log.replace(b" ", b"")
    assert (await served.get("/readyz"))[0] == 200
    print(f"schemathesis: {[r['test_cases']['generated'] for r in reports]} requests, seed {seed}")
