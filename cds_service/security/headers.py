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
    if not (request.path == CORS_PATH or request.path.startswith(f"{CORS_PATH}/")) or not origins:
        return response
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin", "")
    if origin and (origin in origins or "*" in origins):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
        response.headers["Access-Control-Max-Age"] = "600"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response
