"""Deliver: the MQTT link, desired state and artifacts out, what boards report in."""
