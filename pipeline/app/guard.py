"""Who may talk to the page: this machine's browser on this page, or the holder of the token.

Another site open in the same browser can send requests to a local server, and by DNS rebinding even
under a name of its own. So the name that was asked for must be one of ours, a request that another page
caused is refused, and beyond loopback every request needs the token. The headers keep the page itself
from loading, sending or being framed anywhere else.
"""

import ipaddress
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_COOKIE = "affectline"
_SAFE_METHODS = ("GET", "HEAD")

_CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self' ws://{host}",  # older Safari does not take 'self' for web sockets
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_loopback(host: str) -> bool:
    """Whether an address or name to bind to can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware that refuses strangers and puts the headers on every answer.

    Args:
        app: what to guard.
        host: the address bound to; its name is one that may be asked for.
        token: needed for every request, None on loopback.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None) -> None:
        self._app = app
        self._token = token
        self._names = {"localhost", host.lower()}
        if token is not None:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.update(_HEADERS)
                policy = _CONTENT_SECURITY_POLICY.format(host=headers.get("host", ""))
                answer["Content-Security-Policy"] = policy
            await send(message)

        await (self._app if refusal is None else refusal)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return _refused(421, "This server does not answer under that name; use the address it printed.")
        if not _is_same_origin(scope, headers, hosts[0]):
            return _refused(403, "Another site's page may not use this one.")
        if self._token is None or self._holds_token(headers):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["type"] == "http" and scope["path"] == "/" and self._matches(given):
            # The token leaves the address, so that it is in no history and no screenshot.
            answer = RedirectResponse("/", 303)
            answer.set_cookie(_COOKIE, given, httponly=True, samesite="strict")
            return answer
        return _refused(401, "Open the page by the address with the token that the server printed.")

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if name is None:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # No name was looked up to get here, so none can have been rebound.
        return self._token is not None or address.is_loopback

    def _holds_token(self, headers: Headers) -> bool:
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._matches(bearer.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(_COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._matches(cookie.value)

    def _matches(self, given: str) -> bool:
        assert self._token is not None
        return secrets.compare_digest(given.encode(), self._token.encode())


def _is_same_origin(scope: Scope, headers: Headers, host: str) -> bool:
    """Whether our own page, a person, or no browser at all caused the request."""
    origin = headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc == host
    site = headers.get("sec-fetch-site", "none")
    if site in ("none", "same-origin"):
        return True
    # A link elsewhere may open the page, and nothing more.
    opens = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return scope["type"] == "http" and scope["method"] in _SAFE_METHODS and opens


def _refused(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)
