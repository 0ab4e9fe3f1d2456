"""What a hospital must be able to read of a model: the source attributes and the CHAI card.

The 31 source attributes are those of 45 CFR 170.315(b)(11)(iv)(B) (ONC HTI-1). Each is required
and none may be empty; `UNKNOWN` is a permitted answer, and is shown as such. `Chai` holds the
fields of the CHAI Applied Model Card that neither these nor the manifest's other keys hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UNKNOWN = "unknown"


@dataclass(frozen=True)
class SourceAttributes:
    """The 31 source attributes in the rule's order; every value is a text for a person."""

    # details and output
    developer_and_contact: str
    funding_source: str
    output_value: str
    output_type: str
    # purpose
    intended_use: str
    intended_population: str
    intended_users: str
    decision_role: str
    # cautioned out-of-scope use
    cautioned_against: str
    risks_and_limitations: str
    # development and input features
    training_criteria: str
    sensitive_inputs: str
    training_representativeness: str
    relevance_to_setting: str
    # fairness in development
    fairness_approach: str
    bias_management: str
    # external validation
    external_data: str
    external_tester: str
    external_representativeness: str
    external_process: str
    # measures of performance
    validity_internal: str
    fairness_internal: str
    validity_external: str
    fairness_external: str
    outcome_references: str
    # maintenance and monitoring
    validity_monitoring: str
    validity_local: str
    fairness_monitoring: str
    fairness_local: str
    # updates and corrections
    update_process: str
    correction_frequency: str


@dataclass(frozen=True)
class KeyMetric:
    """One of the card's key metrics: what was wanted, what came out, and what that means."""

    kind: Literal["usefulness", "fairness", "safety"]
    goal: str
    result: str
    interpretation: str
    test: str
    data: str
    validation: str


@dataclass(frozen=True)
class Chai:
    """The rest of the CHAI Applied Model Card; `release_date` is YYYY-MM-DD or "unknown"."""

    release_date: str
    regulatory_approval: str
    summary: str
    keywords: tuple[str, ...]
    how_to_use: str
    biases: str
    clinical_risk_level: str
    # trust ingredients: facts of the system
    model_type: str
    foundation_models: str
    input_data_source: str
    data_types: str
    development_data: str
    bias_mitigation: str
    security: str
    # trust ingredients: transparency
    third_parties: str
    stakeholders_consulted: str
    key_metrics: tuple[KeyMetric, ...]
    # resources
    publications: str
    clinical_trials: str
    reimbursement: str
    patient_consent: str
