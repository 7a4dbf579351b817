"""Workflows: the plan of their steps, their durable execution, what failures do, and recovery."""
