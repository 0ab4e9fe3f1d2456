"""The explanation page as a SMART app, for the tenants that are configured for it."""

from __future__ import annotations

import time
from dataclasses import replace

from cds_service.bootstrap.site import Site
from cds_service.hooks.invoke import HookDesk
from cds_service.queue import Dispatcher
from cds_service.security.egress import AllowList
from cds_service.security.keyring import KeyFile
from cds_service.settings import TenantSettings
from cds_service.smart import LaunchDoor, Launched, Registration, States


def launch_door(site: Site, desk: HookDesk, dispatcher: Dispatcher) -> LaunchDoor:
    """What the launch routes need; nothing is connected to before the first launch."""
    settings, redis = site.settings, dispatcher.transport.connection
    secrets = [secret.get_secret_value() for secret in settings.site_secrets]
    return LaunchDoor(
        base_url=settings.base_url,
        registrations=[registration(site, each) for each in settings.tenants if each.smart_app],
        states=States(secrets, redis, time.time),
        launched=Launched(desk, lambda sealed: dispatcher.opened(sealed).order),
        links=site.links,
        clock_s=time.time,
    )


def registration(site: Site, tenant: TenantSettings) -> Registration:
    """What we are at the EHR of a tenant that launches the page."""
    fhir, app = site.outside.fhir_allowance(tenant), tenant.smart_app
    others = [
        replace(fhir, name=f"{tenant.name}-login-{number}", base_url=base)
        for number, base in enumerate(app.endpoints)
    ]
    file = tenant.signing_key_file if app.confidential else None
    return Registration(tenant, fhir, AllowList.of(others), KeyFile(file).signing if file else None)
