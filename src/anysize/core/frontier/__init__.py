"""Quality and cost of every size: records, tables, plots and pages."""
