"""The contract battery, for anyone's nested model: ``check_nested_model(model, example)``."""

from anysize.core.model.battery import check_nested_model

__all__ = ["check_nested_model"]
