"""Actions: commands of a workflow's holder, each executed once and recorded with what it changed."""
