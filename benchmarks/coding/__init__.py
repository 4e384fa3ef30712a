"""Clinical coding on RuCCoD."""
