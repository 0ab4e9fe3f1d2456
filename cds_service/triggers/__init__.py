"""What starts an analysis before a hook asks.

::

    a FHIR server notifies     routes      POST or PUT /notifications/fhir/<tenant>
    an archive notifies        routes      POST /notifications/archive/<archive>
    nobody notifies            polling     scanhook poll: archives by date, FHIR servers by change
    studies of the past        backfill    scanhook backfill: days, with a cursor

    each of them  ->  notices.Notices.give  ->  a job of its own in the queue
    worker        ->  followup.FollowUp     ->  reads the chart, and orders the study as a hook does

A notification is a hint and never a fact: it says where to look. So one that comes twice, late or
out of order does no harm, and what one fails to say the next search finds.
"""
