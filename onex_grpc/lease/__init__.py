"""Leases: the right to coordinate one workflow, its token, its checks and its renewal.

An orchestrator serves `LeaseServicer` and keeps its own leases with `LeaseKeeper`; every node
admits calls by `LeaseAdmission`.
"""
