"""Which of the made is admitted, passes the gate and is chosen. Pure."""
