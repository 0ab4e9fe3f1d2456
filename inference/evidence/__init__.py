"""What an answer rests on (`gathered`), and what of it an archive can keep as DICOM objects.

::

    what an archive keeps        PS3.3      made by
    measurement report (SR)      A.35.13    measurement_report    TID 1500, PRELIMINARY, UNVERIFIED
    outline (SEG)                A.51       segmentation          binary, at the image's own size
    map                          A.75       parametric_map        float, at the image's own size
    key image                    A.8.1      secondary_capture     with its caption burned in

`objects` names them, `source` reads the images that they refer to, `making` makes them. The four
makers import highdicom, which takes half a second: only a worker that stores evidence does that.
"""
