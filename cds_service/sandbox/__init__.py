"""A demo EHR, a demo archive and demo studies: the other side of the wire, for trying things out.

Not for patients: what is written here is in memory, and the people in it are invented.
"""
