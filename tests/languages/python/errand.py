"""Uses all that the SDK offers, as the cases want it."""

import json
import random
import time
import uuid
from dataclasses import dataclass
from typing import Callable

from gateway_plugin import (
    Body,
    BodyDecision,
    Chunk,
    ChunkResult,
    Config,
    GatewayError,
    Outcome,
    Plugin,
    Reply,
    Request,
    Response,
    described,
    export,
    problem,
    read_body,
    stream_body,
)
from gateway_plugin import bodies, crypto, edits, files, http_client, log, metrics, secrets, sinks
from gateway_plugin.store import Bucket

visits = Bucket("visits")


@dataclass
class ErrandConfig(Config):
    mark: str
    count: int
    ratio: float
    loud: bool
    names: list[str]
    ages: dict[str, str]
    left_out: str = described("What is left out.", default='over "it"')


def code(run: Callable[[], object]) -> Reply:
    try:
        run()
    except GatewayError as error:
        return Reply.json(200, {"error": error.code})
    return Reply.json(200, {"error": "none"})


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
        self.forgotten = edits.Edits(edits.remove_attribute("errand.two"))
        self.refused = edits.Edits(edits.set_response_header("connection", "close"), edits.set_attribute("errand.made"))

    def on_request(self, request: Request) -> Reply | BodyDecision | None:
        others = {"config": "configuration", "plan-forbidden": "plan_forbidden"}
        deed = getattr(self, others.get(request.path[1:], request.path[1:]) or "nothing", None)
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
        reply = code(lambda: self.refused.apply(request, None, "told"))
        return Reply.json(200, {**json.loads(reply.body), "made": request.attributes.get("errand.made")})

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
        refused = [json.loads(code(run).body)["error"] for run in runs]
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
        tampered, denied = [json.loads(code(run).body)["error"] for run in runs]
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
        told = {"status": answer.status, "from": dict(answer.headers)["x-from"], "body": answer.body.decode()}
        return Reply.json(200, told)

    def body(self, request: Request) -> BodyDecision:
        return read_body()

    def chunks(self, request: Request) -> BodyDecision:
        return stream_body("0")

    def clock(self, request: Request) -> Reply:
        return Reply.json(200, {"runs": time.time() > 1_700_000_000})

    def fail(self, request: Request) -> None:
        raise ValueError("as it was told")

    def problem(self, request: Request) -> Reply:
        return problem(403, 'not "you"')

    def on_request_body(self, request: Request, body: Body) -> None:
        bodies.replace_request(request, f"{body.text()}, read", body.trailers)

    def on_request_chunk(self, chunk: Chunk) -> ChunkResult:
        return in_fours(chunk)

    def on_response(self, request: Request, response: Response) -> BodyDecision | None:
        if request.path == "/response":
            response.headers["x-seen"] = str(response.status)
            response.status = 203
            del response.headers["x-gone"]
            response.headers.append("x-kept", "two")
            return read_body()
        if request.path == "/large":
            bodies.replace_response(response, bytes(300_000))
            return read_body()
        return stream_body("0") if request.path == "/chunks" else None

    def on_response_body(self, request: Request, response: Response, body: Body) -> None:
        if request.path == "/large":
            response.headers["x-length"] = str(len(body.bytes))
        else:
            bodies.replace_response(response, f"{body.text()}, read", body.trailers)

    def on_response_chunk(self, chunk: Chunk) -> ChunkResult:
        return in_fours(chunk)

    def on_complete(self, request: Request, response: Response | None, outcome: Outcome) -> None:
        if outcome.request_stream_state is not None and outcome.response_stream_state is not None:
            sent, received = outcome.request_stream_state.decode(), outcome.response_stream_state.decode()
            sinks.write("audit", f"{request.path} groups: {sent}, {received}")
            return
        status = response.status if response else None
        sinks.write("audit", f"{request.path} {status} {outcome.status} {outcome.upstream} {outcome.duration_us > 0}")
