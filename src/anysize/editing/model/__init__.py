"""An edited language model, the deltas that it consists of, and what edits one."""
