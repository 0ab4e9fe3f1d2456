"""Gives an archive what it can keep of a result: made, stored, and seen to be there.

It begins when the study's record has ended, so that no result waits for it or is lost with it.
"""
