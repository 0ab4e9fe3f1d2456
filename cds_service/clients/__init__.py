"""The only code of scanhook that opens an outgoing HTTP connection."""
