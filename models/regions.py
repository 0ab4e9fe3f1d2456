"""Words that name a region of the body in the description of a study, as people write them.

The names are those of Body Part Examined (PS3.16 Annex L) and what stands for them in descriptions,
each one or more words in lower case. A word that often means something else ("arm" of a trial,
"back") is left out. Which of them are a model's own is said by its manifest.
"""

from __future__ import annotations

REGIONS = (
    *("spine", "cspine", "tspine", "lspine", "ctspine", "tlspine", "lsspine", "cervical"),
    *("thoracic", "lumbar", "lumbosacral", "sacrum", "coccyx", "whole spine", "neck", "chest"),
    *("thorax", "lung", "lungs", "ribs", "sternum", "clavicle", "scapula", "abdomen", "kub"),
    *("liver", "mrcp", "kidney", "kidneys", "renal", "pancreas", "spleen", "adrenal", "bowel"),
    *("enterography", "pelvis", "prostate", "uterus", "rectum", "bladder", "breast", "breasts"),
    *("mammo", "mammography", "heart", "cardiac", "aorta", "whole body", "wholebody"),
    *("babygram", "fetus", "fetal", "shoulder", "shoulders", "humerus", "elbow", "forearm"),
    *("wrist", "wrists", "hand", "hands", "finger", "thumb", "hip", "hips", "femur", "thigh"),
    *("knee", "knees", "tibia", "calf", "ankle", "ankles", "foot", "feet", "toe", "toes"),
    *("heel", "calcaneus", "extremity", "head", "brain", "skull", "teeth", "dental", "jaw"),
    *("mandible", "tmj", "orbit", "orbits", "sinus", "sinuses", "larynx", "thyroid", "knie"),
    *("schulter", "becken", "genou", "rachis", "bassin", "rodilla", "hombro", "columna"),
    *("ginocchio", "spalla", "colonna"),
)
