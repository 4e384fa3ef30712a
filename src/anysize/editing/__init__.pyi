from anysize.editing.requests.request import EditRequest as EditRequest
from anysize.editing.shifts.weights import window_weights as window_weights
from anysize.editing.shifts.windows import windows as windows
