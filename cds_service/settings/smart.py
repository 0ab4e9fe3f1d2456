"""The explanation page as a SMART app of one EHR."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class SmartApp(BaseModel):
    """Who we are where a user launches the page from the chart (SMART App Launch, EHR launch)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    client_id: str = ""
    """Our client id for users' logins, as it was registered with the addresses of launch and way
    back; empty: this EHR launches nothing. The only ``iss`` that may launch is `fhir_base`."""

    confidential: bool = False
    """Whether we prove who we are when a code is exchanged (private_key_jwt with
    `signing_key_file`); off, we are a public client, and PKCE alone binds the code to us."""

    scopes: tuple[str, ...] = (
        "launch",
        "openid",
        "fhirUser",
        "patient/ImagingStudy.rs",
        "patient/Patient.r",
    )
    """What to ask for. With ``openid`` an id_token must come back and is verified; the studies are
    read only where the launch names none, the Patient only where the EHR asks for a banner."""

    endpoints: tuple[str, ...] = ()
    """Bases below which the addresses of login, token and keys may lie, if they are on another
    origin than `fhir_base`: ``.well-known/smart-configuration`` only selects one."""

    def __bool__(self) -> bool:
        """Whether the page may be launched from this EHR."""
        return bool(self.client_id)
