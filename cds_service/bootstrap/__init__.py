"""The composition root: settings in, running parts out.

The only package that knows every concrete class. Nothing is built at import; the web process and
the worker's child each build what they need, once. `site` is what both share, `web` and `worker`
are the two thin doors.
"""

from cds_service.bootstrap.site import Site

__all__ = ["Site"]
