"""Results into FHIR servers as they are: `FhirWriter` for resources, `recall` to take them back."""
