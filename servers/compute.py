"""The COMPUTE node of the sample mesh: from the text of a line to a priced order."""
