"""CDS Hooks 2.0.1, the service's side: discovery, invocation, feedback."""
