"""Is this a CDS Hooks service? Checks from outside, of any service, each named by its requirement.

discovery -> one good call of each service -> what else a client may do -> findings

`catalogue.CHECKS` are the checks, `examination.Examination` is what each of them is given, and
`findings.examine` runs them. Nothing here knows of scanhook's own services.
"""
