"""Durable state: leases, workflow and entity states, actions, intents, events. `open_store(url)` opens one."""
