"""Watching whether the fast graph of a model still says what the exact one says.

::

    a study ends        ShadowLane.offer     a share of studies is queued once more, as backfill
    nothing else waits  ShadowRun            both precisions, compared; nothing is kept or written
    each comparison     ShadowLedger.note    counted by model and class; above the limit the model
                                             runs in fp32 on every worker, until it is cleared

`ShadowRun` is not among the names here: it loads the models' runtime, and the web process has no
need of that.
"""

from cds_service.shadow.lane import ShadowLane, is_shadow
from cds_service.shadow.ledger import ModelName, ShadowLedger, Watched

__all__ = ["ModelName", "ShadowLane", "ShadowLedger", "Watched", "is_shadow"]
