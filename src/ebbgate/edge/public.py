"""The collection host: what the internet can reach. Routes are listed here and nowhere else; all else is 404."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeAlias

import msgspec
from starlette.routing import Route, Router

from ebbgate.edge.consent import ConsentEndpoint
from ebbgate.edge.dialects import Dialects
from ebbgate.edge.doctor import DoctorEndpoint
from ebbgate.edge.events import EventsEndpoint
from ebbgate.edge.guard import Guard
from ebbgate.edge.limits import RateLimit
from ebbgate.edge.problems import JSON, MethodNotAllowed, Receive, Scope, Send, answer, answer_problem
from ebbgate.edge.status import StatusEndpoint, WellKnownGpc
from ebbgate.edge.tag import TagEndpoint
from ebbgate.errors import RequestError

App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def not_found(scope: Scope, receive: Receive, send: Send) -> object:
    """404 as problem JSON."""
    return answer_problem(
        send, RequestError("nothing is served here", status=HTTPStatus.NOT_FOUND, code="not_found", hint="see the README's routes")
    )


class Health:
    """`/healthz`: the process answers. `/readyz`: it may also take events, or says what keeps it from it."""

    def __init__(self, problems: Callable[[], list[str]] | None = None) -> None:
        self._problems = problems

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 or 503, 405."""
        if scope["method"] not in ("GET", "HEAD"):
            await answer_problem(send, MethodNotAllowed("GET", "HEAD"))
            return
        problems = self._problems() if self._problems else []
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        await answer(send, status, msgspec.json.encode({"ok": not problems, "problems": problems}), [JSON])


def public_app(
    prefix: str,
    events: EventsEndpoint,
    consent: ConsentEndpoint,
    status: StatusEndpoint,
    dialects: Dialects,
    doctor: DoctorEndpoint,
    ready: Callable[[], list[str]],
    *,
    gpc_since: str | None = None,
    limits: RateLimit | None = None,
) -> Guard:
    """The ASGI app of the collection host under a path prefix such as `/e`. `gpc_since`: date of /.well-known/gpc.json."""
    well_known = [Route("/.well-known/gpc.json", endpoint=WellKnownGpc(gpc_since))] if gpc_since else []
    router = Router(
        routes=[
            Route(f"{prefix}/v1/events", endpoint=events),
            Route(f"{prefix}/consent", endpoint=consent),
            Route(f"{prefix}/status", endpoint=status),
            Route(f"{prefix}/t.js", endpoint=TagEndpoint()),
            Route(f"{prefix}/doctor", endpoint=doctor),
            *well_known,
            Route("/healthz", endpoint=Health()),
            Route("/readyz", endpoint=Health(ready)),
            # The last one below the prefix: it knows its own paths and says 404 for all others.
            Route(f"{prefix}/{{path:path}}", endpoint=dialects),
        ],
        redirect_slashes=False,
        default=not_found,  # type: ignore[arg-type]  # an ASGI app that returns its coroutine
    )
    app = Exact(router)
    return Guard(limits.before(app) if limits else app)


class Exact:
    """Routes of fixed paths by one look into a dictionary; all others by the router, which tries its patterns one by one."""

    def __init__(self, router: Router) -> None:
        self._endpoints: dict[str, App] = {r.path: r.app for r in router.routes if isinstance(r, Route) and "{" not in r.path}
        self.router = router

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The endpoint's own coroutine."""
        return self._endpoints.get(scope["path"], self.router)(scope, receive, send)
