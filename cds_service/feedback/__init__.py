"""What clinicians did with our cards: kept without personal data, and obeyed.

::

    a card goes out       CardLedger.issued    which study, images and models it speaks of
    somebody answers it   CardLedger.note      once, whatever is repeated; counted by model version
    the next hook         CardLedger.told      what was overridden does not come back

The comment of an answer is free text and may name a patient: it is never kept.
"""

from cds_service.feedback.ledger import CardLedger
from cds_service.feedback.values import OUTCOMES, OVERRIDDEN, REASONS, Feedback, Tally

__all__ = ["OUTCOMES", "OVERRIDDEN", "REASONS", "CardLedger", "Feedback", "Tally"]
