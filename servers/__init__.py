"""The sample mesh: an order's way from a line of a CSV file to SHIPPED, in four server processes."""
