"""The explanation page as a SMART app (SMART App Launch 2.2, EHR launch).

::

    EHR -> /smart/launch -> EHR's login -> /smart/callback -> a signed page of this patient's study

Nothing is kept on the way: the state that travels is sealed, the browser holds the PKCE verifier,
and the access token lives for one request.
"""

from cds_service.smart.registration import Registration
from cds_service.smart.routes import LaunchDoor, smart_blueprint
from cds_service.smart.state import States
from cds_service.smart.studies import Launched

__all__ = ["LaunchDoor", "Launched", "Registration", "States", "smart_blueprint"]
