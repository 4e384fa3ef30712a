"""Token budgets: what keeps fewer of the tokens that an encoder gave, and still says the most with them."""
