"""Passing on: what a server behind the gateway is told, and what of its answer reaches the client."""

import asyncio
import json

import aiohttp
from aiohttp import web

from penstock.gateway.exchange import Exchange, Sink
from penstock.gateway.proxy import Upstream
from unit.builders import until
from unit.gateway.fakes import Answer, FakeClient

ANSWERED = {
    "access-control-allow-origin": "http://localhost:3000",
    "access-control-allow-credentials": "true",
    "x-content-type-options": "of-its-own",
    "x-kept": "1",
}


async def tell(request: web.Request) -> web.Response:
    """Answers with the headers that came."""
    return web.json_response({name.lower(): value for name, value in request.headers.items()}, headers=ANSWERED)


def pass_on(*headers: str, principal: str | None = None, credential: str | None = None) -> Answer:
    """One request on its way to a real server and back."""
    kept: list[Answer] = []

    async def main() -> None:
        application = web.Application()
        application.router.add_get("/x", tell)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            upstream = Upstream("server", session, f"http://{host}:{port}")

            def begin(exchange: Exchange) -> Sink:
                own = ((b"x-content-type-options", b"nosniff"),)
                return upstream.pass_on(exchange, "/x", principal, credential, own)

            client = FakeClient(begin=begin)
            await client.send("\r\n".join(["GET / HTTP/1.1", "Host: h", *headers, "", ""]).encode())
            await until(lambda: bool(client.transport.sent) and bool(client.answers("GET")))
            kept.extend(client.answers("GET"))
        await runner.cleanup()

    asyncio.run(main())
    (answer,) = kept
    return answer


def test_no_secret_of_the_client_is_passed_on() -> None:
    answer = pass_on(
        "Authorization: Bearer pst_x", "Cookie: penstock_session=s-1; theirs=2", "X-Penstock-Principal: me"
    )
    told = json.loads(answer.body)
    assert told["cookie"] == "theirs=2"
    assert "authorization" not in told
    assert "x-penstock-principal" not in told
    assert "cookie" not in json.loads(pass_on("Cookie: __Host-penstock_session=s-1").body)


def test_the_control_plane_is_told_who_asks_and_by_which_name() -> None:
    told = json.loads(pass_on(principal="ann", credential="d").body)
    assert (told["x-penstock-principal"], told["x-penstock-credential"], told["x-penstock-host"]) == ("ann", "d", "h")


def test_which_page_may_read_an_answer_is_not_for_the_server_to_say() -> None:
    answer = pass_on("Origin: http://localhost:3000")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-kept"] == "1"
    assert not [name for name in answer.headers if name.startswith("access-control-")]
