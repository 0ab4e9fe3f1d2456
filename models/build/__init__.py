"""How the shipped models are made (extra ``[build]``); never imported at run time."""
