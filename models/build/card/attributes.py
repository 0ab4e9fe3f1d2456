"""The names of the 31 source attributes, in the order and the groups of the rule."""

from __future__ import annotations

TITLES: dict[str, dict[str, str]] = {
    "Details and output": {
        "developer_and_contact": "Developer and contact",
        "funding_source": "Funding source",
        "output_value": "Value produced as output",
        "output_type": "Type of output",
    },
    "Purpose": {
        "intended_use": "Intended use",
        "intended_population": "Intended patient population",
        "intended_users": "Intended users",
        "decision_role": "Intended role in decisions",
    },
    "Cautions": {
        "cautioned_against": "Tasks, situations and populations cautioned against",
        "risks_and_limitations": "Known risks, inappropriate settings and uses, limitations",
    },
    "Development": {
        "training_criteria": "Inclusion and exclusion criteria of the training data",
        "sensitive_inputs": "Use of race, ethnicity, language, sex, gender identity, sexual "
        "orientation, date of birth, social determinants or health status as inputs",
        "training_representativeness": "Demographic representativeness of the training data",
        "relevance_to_setting": "Relevance of the training data to the deployed setting",
    },
    "Fairness": {
        "fairness_approach": "Approach to fairness",
        "bias_management": "Management of bias",
    },
    "External validation": {
        "external_data": "Data source and setting",
        "external_tester": "Who tested",
        "external_representativeness": "Demographic representativeness",
        "external_process": "Process",
    },
    "Performance": {
        "validity_internal": "Validity on internal data",
        "fairness_internal": "Fairness on internal data",
        "validity_external": "Validity on external data",
        "fairness_external": "Fairness on external data",
        "outcome_references": "References to evaluations of outcomes",
    },
    "Maintenance": {
        "validity_monitoring": "Monitoring of validity: process and frequency",
        "validity_local": "Validity on local data",
        "fairness_monitoring": "Monitoring of fairness: process and frequency",
        "fairness_local": "Fairness on local data",
    },
    "Updates": {
        "update_process": "Process and frequency of updates",
        "correction_frequency": "Frequency of corrections",
    },
}
