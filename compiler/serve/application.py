"""
The way of a request: route, limits, body, handler, answer.

An RSGI application, one in each worker.
"""

import asyncio
import hmac
import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from compiler.errors import BuildError, ServeError, quote
from compiler.serve.answers import Answer, Headers, RequestError, json_answer
from compiler.serve.batching import LONG, Queue
from compiler.serve.bodies import Bodies
from compiler.serve.handlers import Call, Handler, answering, inferring, predicting
from compiler.serve.inference_v2 import SERVER, metadata, named_tensors
from compiler.serve.logs import Entry, RequestLog
from compiler.serve.metrics import OTHER, Row, Table
from compiler.serve.models import Served
from compiler.serve.pages import file_handler, page_handlers
from compiler.serve.settings import Settings
from compiler.serve.tensors import HEADER_LENGTH
from compiler.serve.wasm import WasmBuild, wasm_builds

CLIENT_GONE: Final = 499
"""The status of a request that nobody waits for any more: it is counted and logged, not sent."""

log = logging.getLogger("policyc.serve")


@dataclass(frozen=True)
class Route:
    """
    What is at an address.

    Attributes:
        handlers: by method.
        public: whether it is answered without a token.
        model: the name of the model that it asks; "" for none.
        requests: where requests for it are counted.
    """

    handlers: dict[str, Handler]
    public: bool = False
    model: str = ""
    requests: int = OTHER
    allow: str = field(init=False)

    def __post_init__(self) -> None:
        if "GET" in self.handlers:
            self.handlers.setdefault("HEAD", self.handlers["GET"])
        object.__setattr__(self, "allow", ", ".join(sorted({*self.handlers, "OPTIONS"})))


class Application:
    """
    What a worker answers.

    Args:
        settings: what the command line said.
        models: by name; the first one also answers at `/predict`.
        row: what counts this worker's requests; one of its own if not given.

    Raises:
        BuildError: if a folder of `settings.wasm` is no build of one of the models.
    """

    def __init__(self, settings: Settings, models: dict[str, Served], row: Row | None = None) -> None:
        self.settings = settings
        self.row = row or Table(len(models), 1).row(1)
        self.row.attach()
        self.read_token()
        self.ready = True
        self.stopping = False
        self.renewing = 0
        """Above 0 while connections are given up for others with another certificate."""
        self.waiting, self.most = 0, settings.max_waiting
        """Requests that are under way, and how many may be."""
        self.log: RequestLog | None = None
        self.bodies = Bodies(settings.max_body, settings.body_timeout)
        wasm_builds(settings.wasm, models)
        self.serve(models)

    def read_token(self) -> None:
        """
        Reads the file with the token, which requests must have from now on.

        Raises:
            ServeError: if there is none in it.
        """
        self.token = _token(self.settings)

    def serve(self, models: dict[str, Served]) -> None:
        """
        Answers for these models from now on; requests under way end with those before.
        """
        before = getattr(self, "queues", {})
        self.models = models
        self.queues = {name: self._queue(model) for name, model in models.items()}
        try:
            self.builds: dict[str, WasmBuild] = wasm_builds(self.settings.wasm, models)
        except BuildError as error:
            # A model that changed is worth more than its animation, which then asks this server.
            log.error("the page does without WebAssembly: %s", error)
            self.builds = {}
        self.routes = self._routes()
        for queue in before.values():
            if queue is not None:
                queue.close()

    def _queue(self, model: Served) -> Queue | None:
        """
        Where requests for a model wait; None for one that is computed at once, in less time than handing it over takes.
        """
        window = self.settings.batch_window_us
        if window is None and model.seconds < LONG:
            return None
        return Queue(model.endpoint, (window or 0) / 1e6, self.settings.max_batch, self.row.wait)

    def _routes(self) -> dict[str, Route]:
        routes = {
            "/v2/health/live": Route({"GET": lambda _: json_answer({"live": True})}, public=True),
            "/v2/health/ready": Route({"GET": self._readiness}, public=True),
            "/v2": Route({"GET": lambda _: json_answer(SERVER)}),
            "/metrics": Route({"GET": self._metrics}),
            "/openapi.json": Route({"GET": self._document}),
            "/models": Route({"GET": lambda _: json_answer({"models": [*map(self._described, self.models.values())]})}),
            **{path: Route({"GET": handler}, public=True) for path, handler in page_handlers().items()},
        }
        for number, model in enumerate(self.models.values()):
            model.endpoint.count = partial(self.row.predict, self.row.table.models[number])
            requests, queue = partial(self.row.table.requests, number), self.queues[model.name]
            predict = Route({"POST": predicting(model.endpoint, queue)}, model=model.name, requests=requests("predict"))
            routes[f"/models/{model.name}/predict"] = predict
            routes |= self._routes_of_page(model)
            if number == 0:
                routes["/predict"] = predict
            tensors = named_tensors(model.endpoint)
            place = f"/v2/models/{model.name}"
            routes[place] = Route({"GET": answering(metadata(model.name, tensors))}, model=model.name)
            routes[f"{place}/ready"] = Route({"GET": answering({"name": model.name, "ready": True})}, model=model.name)
            infer = {"POST": inferring(model.name, model.endpoint, tensors, queue)}
            routes[f"{place}/infer"] = Route(infer, model=model.name, requests=requests("infer"))
        return routes

    def _routes_of_page(self, model: Served) -> dict[str, Route]:
        """
        What the page reads of a model: its description, and its build for WebAssembly, if there is one.
        """
        place = f"/models/{model.name}"
        build = self.builds.get(model.name)
        files = {} if build is None else {name: file_handler(name, data) for name, data in build.files.items()}
        return {
            place: Route({"GET": lambda _: json_answer(self._described(model))}, model=model.name),
            **{f"{place}/wasm/{name}": Route({"GET": file}, model=model.name) for name, file in files.items()},
        }

    def _described(self, model: Served) -> dict[str, Any]:
        build = self.builds.get(model.name)
        return {**model.described(), **({"wasm": build.name} if build else {})}

    def _readiness(self, _: Call) -> Answer:
        ready = self.ready and not self.stopping
        return json_answer({"ready": ready}, 200 if ready else 503)

    def _document(self, _: Call) -> Answer:
        from compiler.serve.openapi import document

        return json_answer(document(self.models.values(), self.routes, bool(self.token)))

    async def _metrics(self, call: Call) -> Answer:
        """
        In a thread of its own: requests do not wait until the library is imported and all is written.
        """
        accept = call.headers.get("accept") or ""
        content, kind = await asyncio.get_running_loop().run_in_executor(None, self._exposition, accept)
        return 200, [("content-type", kind)], content

    def _exposition(self, accept: str) -> tuple[bytes, str]:
        from compiler.serve.exposition import Identity, exposition

        return exposition(self.row.table, [Identity(**model.identity) for model in self.models.values()], accept)

    async def __call__(self, scope: Any, proto: Any) -> None:
        """
        One request of RSGI.
        """
        begin = self.row.begin()
        method, path, headers = scope.method, scope.path, scope.headers
        route = self.routes.get(path)
        size, status = 0, CLIENT_GONE
        self.waiting += 1
        try:
            if route is None:
                if self.token:  # what there is instead is not for everybody
                    self._authorize(headers.get("authorization"))
                raise self._unknown(path)
            handler = route.handlers.get(method)
            if handler is None:
                status, more, content = self._other_method(route, method)
            else:
                if self.waiting - len(self.bodies.slow) > self.most and not route.public:
                    raise RequestError(503, "there are too many requests: ask again", headers=[("retry-after", "1")])
                if self.token and not route.public:
                    self._authorize(headers.get("authorization"))
                body = await self.bodies.read(headers, proto) if method == "POST" else b""
                size = len(body)
                answer = handler(Call(headers, body))
                status, more, content = answer if isinstance(answer, tuple) else await answer
        except RequestError as refused:
            status, more, content = refused.answer()
        except Exception:
            # Nothing that a client sends may lead here: the log has what is needed to mend it.
            log.exception("a request for %a failed", path)
            status, more, content = RequestError(500, "internal error; the server's log says more").answer()
        finally:
            self.waiting -= 1
            self.row.answer(OTHER if route is None else route.requests, status, begin)
        if self.settings.cors:
            more = more + self._cross_origin(headers.get("origin"))
        if self.stopping or self.renewing:
            more = [*more, ("connection", "close")]
        proto.response_bytes(status, more, b"" if method == "HEAD" else content)
        if self.log is not None:
            model, sent = "" if route is None else route.model, headers.get("x-request-id") or ""
            spent = (time.perf_counter_ns() - begin) / 1e3
            entry = Entry(time.time(), scope.client, method, path, status, size, len(content), spent, model, sent)
            self.log.add(entry)

    def _unknown(self, path: str) -> RequestError:
        parts = path.split("/")
        parts = parts[1:] if parts[:2] == ["", "v2"] else parts
        if len(parts) > 2 and parts[1] == "models" and parts[2] not in self.models:
            return RequestError(404, f"there is no model {parts[2][:80]!a}; there are {', '.join(self.models)}")
        return RequestError(404, f"there is nothing at {path[:80]!a}; /docs says what there is")

    def _other_method(self, route: Route, method: str) -> Answer:
        if method != "OPTIONS":
            raise RequestError(
                405, f"{method[:20]} is not for this address: {route.allow} are", headers=[("allow", route.allow)]
            )
        return 204, [("allow", route.allow)], b""

    def _authorize(self, given: str | None) -> None:
        scheme, _, token = (given or "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self.token):
            message = "expected the header `Authorization: Bearer TOKEN` with this server's token"
            raise RequestError(401, message, headers=[("www-authenticate", "Bearer")])

    def _cross_origin(self, origin: str | None) -> Headers:
        allowed = self.settings.cors
        if origin is None or not ("*" in allowed or origin in allowed):
            return [("vary", "origin")]
        return [
            ("access-control-allow-origin", "*" if "*" in allowed else origin),
            ("access-control-allow-methods", "GET, POST, OPTIONS"),
            ("access-control-allow-headers", f"authorization, content-type, {HEADER_LENGTH}"),
            ("access-control-expose-headers", f"x-shape, x-dtype, retry-after, {HEADER_LENGTH}"),
            ("access-control-max-age", "600"),
            ("vary", "origin"),
        ]


def _token(settings: Settings) -> bytes:
    if settings.token_file is None:
        return b""
    where = quote(str(settings.token_file))
    try:
        token = settings.token_file.read_bytes().strip()
    except OSError as error:
        raise ServeError(where, f"can't be read: {error.strerror}") from None
    if not token:
        raise ServeError(where, "is empty: expected a token, without which nobody is answered")
    if not all(ord("!") <= byte <= ord("~") for byte in token.replace(b" ", b"")):
        raise ServeError(where, "expected a token of one line of ASCII, as a header may have, found other characters")
    return token
