"""What delivery refuses or fails at."""


class DeliveryError(Exception):
    """Root of delivery's failures."""


class LinkDownError(DeliveryError):
    """The broker did not take a message, or can't be reached. Everything is asserted anew after the reconnect."""


class RefusedError(DeliveryError):
    """The broker answered with a refusal: the policy forbids it, or a limit of the broker is exceeded."""

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(
            f"the broker refused {topic!r}: {reason}; compare the controller's role in the broker's policy"
        )
        self.topic = topic
        self.reason = reason
