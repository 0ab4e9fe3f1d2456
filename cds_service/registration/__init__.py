"""Everything that an EHR's vendor asks for before a service is registered, made from the settings.

::

    facts      what is configured, as values      reasons   why each thing is asked for
    vendors    one vendor's form, filled in       plan      what to try, and what to expect
    text       the same values as Markdown        pictures  a card and its page in a browser
    pack       all of it as one folder
"""
