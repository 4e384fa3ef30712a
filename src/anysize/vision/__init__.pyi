from anysize.vision.rasa.probing import position_probe_r2 as position_probe_r2
from anysize.vision.rasa.probing import spatial_entropy as spatial_entropy
from anysize.vision.rasa.removing import RASA as RASA
