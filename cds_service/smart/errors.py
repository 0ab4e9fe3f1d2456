"""Why a launch does not end at a page: each with its HTTP status and one sentence for a person.

::

    LaunchError
    ├── BadLaunch        400  a parameter is missing, there twice, or of no possible form
    ├── UnknownServer    403  ``iss`` is not a FHIR server whose launches we accept
    ├── Denied           403  the EHR ended the login without a code
    ├── ForeignState     403  a state that we did not make, or brought back by another browser
    ├── StaleState       410  the login took too long
    ├── UsedState        409  the address was opened before
    ├── NotGranted       403  the code was refused, or what came for it names no patient or user
    ├── OtherPatient     403  the study is not one of the patient of this launch
    ├── NoBanner         403  the EHR wants the patient named here, and does not say who it is
    ├── NothingToShow    404  the patient has no study with an explanation
    └── ServerSilent     502  the EHR's server did not answer as it should
        └── QueueSilent  503  our own queue did not answer

No sentence quotes what was sent.
"""

from __future__ import annotations

from typing import ClassVar

from cds_service.errors import ServiceError

_AGAIN = "Open the page from the patient’s chart again."


class LaunchError(ServiceError):
    """Base class; `status` is the HTTP status of the page that says so."""

    kind: ClassVar[str] = "launch"
    status: ClassVar[int] = 400
    said: ClassVar[str] = ""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(sentence or self.said)


class BadLaunch(LaunchError):
    """Not a request of SMART App Launch."""

    kind = "launch-malformed"
    said = f"This is not a complete launch. {_AGAIN}"


class UnknownServer(LaunchError):
    """Another FHIR server than those that are configured."""

    kind, status = "launch-issuer", 403
    said = "This page cannot be launched from that server."


class Denied(LaunchError):
    """The login ended with an error (RFC 6749, 4.1.2.1)."""

    kind, status = "launch-denied", 403
    said = "The chart’s server did not allow the page to be opened."


class ForeignState(LaunchError):
    """Somebody else's state: the defence against a login that was begun for another."""

    kind, status = "launch-state", 403
    said = f"This launch was not begun in this window. {_AGAIN}"


class StaleState(LaunchError):
    """A state of ours that is too old."""

    kind, status = "launch-expired", 410
    said = f"The launch took too long. {_AGAIN}"


class UsedState(LaunchError):
    """A state of ours that came back before."""

    kind, status = "launch-replayed", 409
    said = f"This launch was used already. {_AGAIN}"


class NotGranted(LaunchError):
    """The token endpoint's answer is not one to rely on."""

    kind, status = "launch-not-granted", 403
    said = "The chart’s server did not grant what the page needs."


class OtherPatient(LaunchError):
    """The study and the launch are of two patients, or the study is not known here."""

    kind, status = "launch-patient", 403
    said = "This study is not one of the patient whose chart is open."


class NoBanner(LaunchError):
    """``need_patient_banner`` is true, and the Patient may not be read or says nothing."""

    kind, status = "launch-banner", 403
    said = "The page has to name the patient here, and the chart’s server did not say who it is."


class NothingToShow(LaunchError):
    """No analysis has ended for this patient."""

    kind, status = "launch-empty", 404
    said = "There is no AI result to explain for this patient."


class ServerSilent(LaunchError):
    """A server that we need did not answer, or not in the form of the specification."""

    kind, status = "launch-upstream", 502
    retryable = True
    said = f"The chart’s server did not answer. {_AGAIN}"


class QueueSilent(ServerSilent):
    """Redis did not answer, so that nothing can be said of replay or of studies."""

    kind, status = "launch-queue", 503
    said = f"The service is not ready. {_AGAIN}"
