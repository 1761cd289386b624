"""Uses all that the SDK offers, as the cases want it."""

import json
import random
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Callable, Literal

from gateway_plugin import (
    Body,
    BodyDecision,
    Chunk,
    ChunkResult,
    Config,
    Endpoint,
    GatewayError,
    Close,
    Message,
    MessageDecision,
    MessageResult,
    Outcome,
    Plugin,
    Reply,
    Request,
    Response,
    Sender,
    ServerSentEvent,
    Timer,
    described,
    export,
    problem,
    read_body,
    stream_body,
    stream_messages,
)
from gateway_plugin import bodies, crypto, documents, edits, files, http_client, log, metrics, secrets, sinks, tcp, upstreams
from gateway_plugin.selection import Selection, attribute, header, path_parameter
from gateway_plugin.store import Bucket, CompareAndSwap, Get, Increment, Set, SetTtl, Step

visits = Bucket("visits")


@dataclass
class Rule(Config):
    name: str
    weight: int = 1
    tags: list[str] = field(default_factory=lambda: ["none"])


@dataclass
class Limit(Config):
    burst: int = 5


@dataclass
class ErrandConfig(Config):
    mark: str
    count: int
    ratio: float
    loud: bool
    names: list[str]
    ages: dict[str, str]
    left_out: str = described("What is left out.", default='over "it"')
    rules: list[Rule] = field(default_factory=list)
    limits: dict[str, Limit] = field(default_factory=dict)
    large: int = 0


def why(run: Callable[[], object]) -> str:
    try:
        run()
    except GatewayError as error:
        return error.code
    return "none"


def code(run: Callable[[], object]) -> Reply:
    return Reply.json(200, {"error": why(run)})


def named(parameter: str, run: Callable[[], object]) -> str:
    """Whether the error of a wrong argument names its parameter."""
    try:
        run()
    except (TypeError, ValueError) as error:
        return "named" if str(error).startswith(f"{parameter} must be ") else str(error)
    return "no error"


def in_fours(chunk: Chunk) -> ChunkResult:
    """Sends groups of four bytes in brackets. The state is how many of them there were."""
    whole = len(chunk.bytes) if chunk.end else len(chunk.bytes) // 4 * 4
    groups = [chunk.bytes[at : min(at + 4, whole)] for at in range(0, whole, 4)]
    output = b"".join(b"[" + group + b"]" for group in groups)
    count = int(chunk.state) + len(groups)
    return ChunkResult(whole, output, min_bytes=4, state=str(count), trailers=chunk.trailers)


@export
class Errand(Plugin[ErrandConfig]):
    name = "errand"
    config = ErrandConfig

    def __init__(self, config: ErrandConfig) -> None:
        self.settings = config
        self.planned = edits.Edits(
            edits.set_header("x-set"),
            edits.remove_response_header("x-gone"),
            edits.append_response_header("x-kept", "two"),
            edits.set_response_header("x-unset"),
            edits.default_response_header("x-own", "ours"),
            edits.default_response_header("x-new"),
            edits.join_response_header("vary", "x-given"),
        )
        self.selection = Selection(
            path="path", user=header("x-user"), plan=attribute("errand.plan"), rest=path_parameter("rest"), status="response_status"
        )
        self.forgotten = edits.Edits(edits.remove_attribute("errand.two"))
        self.refused = edits.Edits(edits.set_response_header("connection", "close"), edits.set_attribute("errand.made"))

    def active_phases(self) -> list[Literal["request", "response", "completion"]]:
        return ["request", "response", "completion"]

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("/served/{id}", method="GET", about="serve")]

    def openapi(self) -> dict[str, Any]:
        return {"openapi": "3.1.0", "info": {"title": "errand", "version": "1"}, "paths": {"/served/{id}": {"get": {"responses": {}}}}}

    def timers(self) -> list[Timer]:
        return [Timer("count", 60_000), Timer("broken", 86_400_000)]

    def on_timer(self, name: str) -> None:
        if name == "broken":
            raise RuntimeError("as it was told")
        http_client.send("users", f"/{name}")
        visits.increment("runs")

    def on_request(self, request: Request) -> Reply | BodyDecision | None:
        if request.path.startswith("/served/"):
            return Reply.json(200, {"route": request.route, "id": request.path_parameter("id")})
        others = {"config": "configuration", "selection": "selection_"}
        deed = getattr(self, others.get(request.path[1:], request.path[1:]).replace("-", "_") or "nothing", None)
        return deed(request) if deed else None

    def configuration(self, request: Request) -> Reply:
        s = self.settings
        told = {"mark": s.mark, "count": s.count, "ratio": s.ratio, "loud": s.loud, "names": s.names}
        return Reply.json(200, {**told, "age": s.ages["ann"], "left": s.left_out})

    def parts(self, request: Request) -> Reply:
        missing = request.headers.get("x-missing") or request.path_parameter("other") or request.attributes.get("none")
        told = {
            "method": request.method,
            "scheme": request.scheme,
            "authority": request.authority,
            "path": request.path,
            "query": request.query,
            "original": request.original_target,
            "protocol": request.protocol,
            "client": request.client_address,
            "route": request.route,
            "twice": ",".join(request.headers.get_all("x-twice")),
            "rest": request.path_parameter("rest"),
            "missing": missing or "none",
        }
        return Reply.json(200, told)

    def headers(self, request: Request) -> Reply:
        lines = [f"{name}={value};" for name, value in request.headers if len(name) == 3]
        return Reply.json(200, {"lines": "".join(lines)})

    def edit(self, request: Request) -> None:
        request.method = "PUT"
        request.target = "/edited?by=plugin"
        del request.headers["x-gone"]
        request.headers.append("x-kept", "two")
        request.headers["x-set"] = "grüße"
        request.attributes["errand.note"] = "told"
        request.headers["x-note"] = request.attributes.get("errand.note") or ""

    def plan(self, request: Request) -> None:
        self.planned.apply(request, None, "grüße", None, "ours")

    def plan_forbidden(self, request: Request) -> Reply:
        error = why(lambda: self.refused.apply(request, None, "told"))
        return Reply.json(200, {"error": error, "made": request.attributes.get("errand.made")})

    def forbidden(self, request: Request) -> Reply:
        return code(lambda: request.headers.__setitem__("content-length", "1"))

    def copy(self, request: Request) -> None:
        value = request.headers.get("x-given")
        request.headers["x-copy"] = "missing" if value is None else value

    def text(self, request: Request) -> Reply:
        given = request.headers["x-given"]
        log.info(given, given=given)
        sinks.write("audit", given)
        metrics.add("errands", 1, kind=given)
        request.attributes["errand.text"] = given
        visits.set(given, "kept", ttl_ms=60_000)
        runs: list[Callable[[], object]] = [
            lambda: request.headers.__setitem__(given, "x"),
            lambda: setattr(request, "method", given),
            lambda: http_client.send(given),
            lambda: secrets.get(given),
        ]
        refused = [why(run) for run in runs]
        told = {
            "text": request.attributes.get("errand.text"),
            "kept": (visits.get(given) or b"").decode(),
            "found": request.headers.get(given) or request.path_parameter(given) or "none",
            "refused": "none" not in refused,
        }
        return Reply.json(200, told)

    def random(self, request: Request) -> Reply:
        return Reply.json(200, {"number": random.random(), "uuid": str(uuid.uuid4())})

    def store(self, request: Request) -> Reply:
        before = visits.get("last") or b"none"
        visits.set("last", "kept", ttl_ms=60_000)
        after = visits.get("last") or b""
        visits.delete("last")
        return Reply.json(200, {"before": before.decode(), "sum": visits.increment("sum", 5), "after": after.decode()})

    def take(self, request: Request) -> Reply:
        verdict = visits.take("quota", limit=2, period_ms=60_000)
        return Reply.json(200, {"allowed": verdict.allowed, "remaining": verdict.remaining})

    def denied(self, request: Request) -> Reply:
        return code(lambda: Bucket("others").get("x"))

    def secret(self, request: Request) -> Reply:
        return Reply.json(200, {"secret": secrets.get("key").decode(), "file": files.get("list").decode()})

    def tell(self, request: Request) -> Reply:
        log.info("told", number=7)
        sinks.write("audit", "told")
        metrics.add("errands", 2, kind="told")
        metrics.observe("errand_seconds", 0.5)
        return Reply(204)

    def crypto(self, request: Request) -> Reply:
        key = crypto.Secret("key")
        signature = crypto.sign("HS256", key, "told")
        derived = crypto.derive_key("sha256", key, salt="salt", info="errand", length=16)
        sealed = crypto.encrypt("aes128-gcm", derived, "told", "errand")
        runs: list[Callable[[], object]] = [
            lambda: crypto.decrypt("aes128-gcm", derived, sealed, "another"),
            lambda: crypto.sign("HS256", crypto.Secret("others"), "told"),
        ]
        tampered, denied = map(why, runs)
        told = {
            "signature": signature.hex(),
            "valid": crypto.verify("HS256", key, "told", signature),
            "forged": crypto.verify("HS256", b"another", "told", signature),
            "opened": crypto.decrypt("aes128-gcm", derived, sealed, "errand").decode(),
            "tampered": tampered,
            "derived": derived.hex(),
            "digest": crypto.digest("sha256", "told").hex(),
            "random": len(crypto.random_bytes(16)),
            "denied": denied,
        }
        return Reply.json(200, told)

    def gauge(self, request: Request) -> Reply:
        metrics.set_gauge("errand_level", 2.5, kind="set")
        metrics.add_to_gauge("errand_level", -1, kind="added")
        return Reply(204)

    def forget(self, request: Request) -> Reply:
        request.attributes["errand.one"] = "1"
        request.attributes["errand.two"] = "2"
        del request.attributes["errand.one"]
        self.forgotten.apply(request, None)
        left = [request.attributes.get(key) or "none" for key in ("errand.one", "errand.two")]
        return Reply.json(200, {"left": ",".join(left), "trace": request.trace_parent or "none"})

    def call(self, request: Request) -> Reply:
        answer = http_client.send("users", "/u?x=1", method="POST", headers={"x-a": "b"}, body="hello")
        told = {"status": answer.status, "from": answer.header("X-From"), "body": answer.text()}
        return Reply.json(200, told)

    def values(self, request: Request) -> Reply:
        s = self.settings
        rules = [f"{rule.name} {rule.weight} {'+'.join(rule.tags)}" for rule in s.rules]
        limits = [f"{name} {limit.burst}" for name, limit in s.limits.items()]
        return Reply.json(200, {"rules": rules, "limits": limits, "large": str(s.large), "next": str(s.large + 1)})

    def all(self, request: Request) -> None:
        for value in request.headers.get_all_bytes("x-given"):
            request.headers.append("x-copy", value)
        first = request.headers.get_bytes("x-given")
        request.headers["x-first"] = "missing" if first is None else first.hex()

    def parallel(self, request: Request) -> Reply:
        users, other = (http_client.start(upstream, headers={"x-a": ["b", "c"]}) for upstream in ("users", "other"))
        http_client.start("users").cancel()
        statuses = [call.wait().status for call in (other, users)]
        return Reply.json(200, {"statuses": statuses, "again": why(users.wait), "denied": why(lambda: http_client.start("none"))})

    def batch(self, request: Request) -> Reply:
        visits.set("word", "text")
        done, total, missing, word = visits.batch([Set("n", "1", ttl_ms=60_000), Increment("m", 5), Get("none"), Increment("word")])
        told = {"set": done or "done", "sum": total, "missing": missing or "none", "word": word.code}
        return Reply.json(200, {**told, "kept": (visits.get("n") or b"").decode()})

    def swap_value(self, request: Request) -> Reply:
        created = visits.compare_and_swap("swapped", None, "one", ttl_ms=60_000).swapped
        refused = (visits.compare_and_swap("swapped", "another", "two").present or b"none").decode()
        changed = visits.compare_and_swap("swapped", "one", "two").swapped
        deleted = visits.compare_and_swap("swapped", "two", None).swapped
        missing = (visits.compare_and_swap("swapped", "two", "three").present or b"none").decode()
        told = {"created": created, "refused": refused, "changed": changed, "deleted": deleted, "missing": missing}
        return Reply.json(200, {**told, "left": (visits.get("swapped") or b"none").decode()})

    def set_ttl(self, request: Request) -> Reply:
        missing = visits.set_ttl("lasting", 60_000)
        visits.set("lasting", "kept")
        told = {"missing": missing, "shorter": visits.set_ttl("lasting", 60_000), "forever": visits.set_ttl("lasting", None)}
        return Reply.json(200, {**told, "kept": (visits.get("lasting") or b"").decode()})

    def lease(self, request: Request) -> Reply:
        first, second = (visits.acquire("place", limit=1, ttl_ms=60_000) for _ in range(2))
        lease = first.lease or ""
        renewed = visits.renew("place", lease, 60_000)
        visits.release("place", lease)
        again = visits.acquire("place", limit=1, ttl_ms=60_000).lease is not None
        ended = visits.renew("place", lease, 60_000)
        told = {"first": first.lease is not None, "second": second.lease is not None, "holders": second.holders}
        return Reply.json(200, {**told, "renewed": renewed, "again": again, "ended": ended})

    def lease_local(self, request: Request) -> Reply:
        first, second = (visits.acquire("place", limit=1, ttl_ms=60_000, scope="local").lease is not None for _ in range(2))
        return Reply.json(200, {"first": first, "second": second})

    def batch_swap(self, request: Request) -> Reply:
        visits.set("word", "text")
        swapped, different, exists, missing = visits.batch(
            [CompareAndSwap("batched", None, "one", ttl_ms=60_000), CompareAndSwap("word", "other", "new"), SetTtl("word", 60_000), SetTtl("none")]
        )
        told = {"swapped": swapped.swapped, "present": different.present.decode(), "exists": exists, "missing": missing}
        return Reply.json(200, {**told, "kept": (visits.get("batched") or b"").decode()})

    def timed(self, request: Request) -> Reply:
        return Reply.json(200, {"runs": int(visits.get("runs") or b"0")})

    def take_all(self, request: Request) -> Reply:
        steps = [Step("minute", limit=2, period_ms=60_000), Step("day", limit=9, period_ms=86_400_000, counting="sliding")]
        minute, day = visits.take_all("ann", steps)
        [local] = visits.take_all("ann", [Step("large", limit=4_000_000_000, period_ms=60_000)], scope="local")
        told = {"allowed": [minute.allowed, day.allowed], "remaining": minute.remaining, "local": local.remaining}
        return Reply.json(200, told)

    def select(self, request: Request) -> None:
        upstreams.select(request, "other")

    def select_denied(self, request: Request) -> Reply:
        return code(lambda: upstreams.select(request, "none"))

    def password(self, request: Request) -> Reply:
        of = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
        right, wrong = (crypto.verify_password(of, password, remember_ms=1000) for password in ("U*U", "U*V"))
        malformed = why(lambda: crypto.verify_password("none", "U*U"))
        return Reply.json(200, {"right": right, "wrong": wrong, "malformed": malformed})

    def document(self, request: Request) -> Reply:
        source = documents.Source("keys", "/keys")
        found = documents.get(source)
        assert found is not None
        again = documents.get(source, found.version) or "none"
        denied = why(lambda: documents.get(documents.Source("none")))
        return Reply.json(200, {"json": found.json(), "again": again, "denied": denied})

    def selection_(self, request: Request) -> Reply:
        request.attributes["errand.plan"] = "gold"
        values = self.selection.read(request)
        return Reply.json(200, {name: value or "none" for name, value in values.items()})

    def lines(self, request: Request) -> Reply:
        connection = tcp.send("lines", "PING\n")
        line = b""
        while not line.endswith(b"\n"):
            line += connection.receive()
        connection.release()
        return Reply.json(200, {"line": line.decode(), "again": why(connection.release)})

    def later(self, request: Request) -> Reply:
        """What functions import was imported when the component was built."""
        import colorsys
        from datetime import datetime

        import errand_later

        told = {"module": colorsys.rgb_to_hsv(1, 0, 0), "time": datetime.strptime("2026", "%Y").year, "own": errand_later.VALUE}
        try:
            __import__("turtle")
        except ModuleNotFoundError as error:
            told["absent"] = str(error)
        return Reply.json(200, {**told, "latin": "é".encode("latin-1").hex()})

    def arguments(self, request: Request) -> Reply:
        wrong: Any = object()
        large: Any = 2**64
        runs: dict[str, tuple[str, Callable[[], object]]] = {
            "header": ("value", lambda: request.headers.__setitem__("x-a", wrong)),
            "name": ("name", lambda: request.headers.get(wrong)),
            "method": ("method", lambda: setattr(request, "method", wrong)),
            "attribute": ("value", lambda: request.attributes.__setitem__("errand.a", wrong)),
            "ttl": ("ttl_ms", lambda: visits.set("a", "b", ttl_ms=-1)),
            "key": ("key", lambda: visits.get(wrong)),
            "by": ("by", lambda: visits.increment("a", large)),
            "limit": ("limit", lambda: visits.take("a", limit=large, period_ms=1)),
            "period": ("period_ms", lambda: visits.take("a", limit=1, period_ms=wrong)),
            "scope": ("scope", lambda: visits.take_all("a", [], scope=wrong)),
            "timeout": ("timeout_ms", lambda: http_client.send("users", timeout_ms=wrong)),
            "body": ("body", lambda: http_client.send("users", body=wrong)),
            "algorithm": ("algorithm", lambda: crypto.sign(wrong, crypto.Secret("key"), "a")),
            "secret": ("key", lambda: crypto.sign("HS256", wrong, "a")),
            "value": ("value", lambda: metrics.observe("errand_seconds", wrong)),
            "label": ("the label kind", lambda: metrics.add("errands", 1, kind=wrong)),
            "upstream": ("name", lambda: upstreams.select(request, wrong)),
            "request": ("request", lambda: upstreams.select(wrong, "other")),
        }
        return Reply.json(200, {name: named(*run) for name, run in runs.items()})

    def status(self, request: Request) -> Reply:
        status: Any = "200"
        return Reply(status)

    def text_result(self, request: Request) -> Any:
        return "told"

    def exit(self, request: Request) -> None:
        raise SystemExit(1)

    def account(self, request: Request) -> BodyDecision:
        return read_body()

    def swap(self, request: Request) -> BodyDecision:
        return read_body()

    def flip(self, request: Request) -> BodyDecision:
        return read_body()

    def body(self, request: Request) -> BodyDecision:
        return read_body()

    def chunks(self, request: Request) -> BodyDecision:
        return stream_body("0")

    def clock(self, request: Request) -> Reply:
        return Reply.json(200, {"runs": time.time() > 1_700_000_000})

    def fail(self, request: Request) -> None:
        raise ValueError("as it was told\nforged")

    def problem(self, request: Request) -> Reply:
        return problem(403, 'not "you"')

    def on_request_body(self, request: Request, body: Body) -> None:
        if request.path == "/account":
            count = visits.increment("account")
            user = http_client.send("users", "/u")
            upstreams.select(request, "other")
            bodies.replace_request(request, json.dumps({"count": count, "status": user.status, "text": body.text()}))
        elif request.path == "/flip":
            changed = bytearray(body.bytes)
            changed[0] = 33
            bodies.replace_request(request, changed)
        elif request.path == "/swap":
            bodies.replace_request(request, memoryview(body.bytes)[1:])
        else:
            bodies.replace_request(request, f"{body.text()}, read", body.trailers)

    def on_request_chunk(self, chunk: Chunk) -> ChunkResult:
        return in_fours(chunk)

    def on_response(self, request: Request, response: Response) -> BodyDecision | MessageDecision | None:
        if request.path == "/response":
            response.headers["x-seen"] = str(response.status)
            response.status = 203
            del response.headers["x-gone"]
            response.headers.append("x-kept", "two")
            return read_body()
        if request.path == "/large":
            bodies.replace_response(response, bytes(300_000))
            return read_body()
        if request.path == "/events" or response.status == 101:
            return stream_messages("0")
        return stream_body("0") if request.path == "/chunks" else None

    def on_response_body(self, request: Request, response: Response, body: Body) -> None:
        if request.path == "/large":
            response.headers["x-length"] = str(len(body.bytes))
        else:
            bodies.replace_response(response, f"{body.text()}, read", body.trailers)

    def on_response_chunk(self, chunk: Chunk) -> ChunkResult:
        return in_fours(chunk)

    def on_message(self, message: Message, sender: Sender, state: bytes) -> MessageResult | None:
        """Adds the sender and the number of messages to texts and events, and does what some of them say."""
        count = str(int(state) + 1)
        if isinstance(message, bytes):
            return MessageResult([message + b"\x00\xff"], state=count)
        text = message.data if isinstance(message, ServerSentEvent) else message

        def like(text: str) -> Message:
            return ServerSentEvent(text, message.id, message.name) if isinstance(message, ServerSentEvent) else text

        if text == "pass":
            return MessageResult(state=count)
        if text == "drop":
            return MessageResult([], state=count)
        if text == "two":
            return MessageResult([like("1"), like("2")], state=count)
        if text == "reply":
            return MessageResult([], replies=[f"reply to the {sender}"], state=count)
        if text == "close":
            return MessageResult(close=Close(4000, "as it was told"), state=count)
        if text == "fail":
            raise ValueError("as it was told")
        return MessageResult([like(f"{text}\n{sender} {count}")], state=count)

    def on_complete(self, request: Request, response: Response | None, outcome: Outcome) -> None:
        if outcome.message_state is not None:
            sinks.write("audit", f"{request.path} messages: {outcome.message_state.decode()}")
            return
        if outcome.request_stream_state is not None and outcome.response_stream_state is not None:
            sent, received = outcome.request_stream_state.decode(), outcome.response_stream_state.decode()
            sinks.write("audit", f"{request.path} groups: {sent}, {received}")
            return
        status = response.status if response else None
        sinks.write("audit", f"{request.path} {status} {outcome.status} {outcome.upstream} {outcome.duration_us > 0}")
