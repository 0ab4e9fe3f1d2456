"""A demo EHR, a demo archive and demo studies: the other side of the wire, for trying things out.

Not for patients: what is written here is in memory, and the people in it are invented.
"""

from cds_service.sandbox.serving import Sandbox, SandboxPlan, serve
from cds_service.sandbox.walk import Walk, WalkRow, walk

__all__ = ["Sandbox", "SandboxPlan", "Walk", "WalkRow", "serve", "walk"]
