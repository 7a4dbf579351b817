"""The sample mesh: an order on its way from a line of a CSV file to SHIPPED, in four processes."""
