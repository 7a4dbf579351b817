"""Actions: commands of a workflow's holder, executed once and recorded with what they changed."""
