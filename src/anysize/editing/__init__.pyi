from anysize.editing.deltas.delta import Delta as Delta
from anysize.editing.deltas.delta import composed as composed
from anysize.editing.editor import Editor as Editor
from anysize.editing.methods import MuKE as MuKE
from anysize.editing.model.model import EditedLM as EditedLM
from anysize.editing.requests.request import EditRequest as EditRequest
