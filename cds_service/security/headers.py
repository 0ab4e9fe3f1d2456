"""Headers of every answer, and CORS for browser clients on the CDS Hooks routes alone."""

from __future__ import annotations

from flask import Request, Response

ALWAYS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
HTTPS_ONLY = "max-age=31536000"

CORS_PATH = "/cds-services"


def secure(response: Response, *, https: bool) -> Response:
    """Set what a route has not set itself (the viewer has a wider Content-Security-Policy)."""
    for name, value in ALWAYS.items():
        response.headers.setdefault(name, value)
    if https:
        response.headers.setdefault("Strict-Transport-Security", HTTPS_ONLY)
    return response


def allow_origin(request: Request, response: Response, origins: tuple[str, ...]) -> Response:
    """Let the listed browser origins read the answer, errors included (CDS Hooks 2.0.1, CORS).

    No credentials: the token is in a header, and there are no cookies to send.
    """
    if (request.path == CORS_PATH or request.path.startswith(f"{CORS_PATH}/")) and origins:
        response.headers.add("Vary", "Origin")
        response.headers.update(for_origin(request.headers.get("Origin", ""), origins))
    return response


def for_origin(origin: str, origins: tuple[str, ...]) -> dict[str, str]:
    """The headers that let the pages of an origin read an answer; none unless it is listed."""
    if not origin or not (origin in origins or "*" in origins):
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Access-Control-Max-Age": "600",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
