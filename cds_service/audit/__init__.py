"""An audit trail of what is asked of FHIR servers: to a file, or to the server itself."""

from cds_service.audit.trail import FileTrail, ServerTrail, Trail, Watcher

__all__ = ["FileTrail", "ServerTrail", "Trail", "Watcher"]
