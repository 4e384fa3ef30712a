from anysize.tokens.budget.frames import FrameRate as FrameRate
from anysize.tokens.budget.frames import Frames as Frames
from anysize.tokens.budget.grid import GridPool as GridPool
from anysize.tokens.budget.operator import Prefix as Prefix
from anysize.tokens.budget.operator import TokenBudget as TokenBudget
from anysize.tokens.budget.queries import MatryoshkaQueryTransformer as MatryoshkaQueryTransformer
