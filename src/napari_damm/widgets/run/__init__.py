"""A running job behind a widget: its thread, what it tells, the time left."""
